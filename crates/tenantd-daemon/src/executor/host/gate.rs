//! What is done once after an adoption, and waited for by what must not be done meanwhile.

use std::cell::Cell;
use std::rc::Rc;

use tokio::sync::Notify;

/// Whether it is being done.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    under_way: Cell<bool>,
    done: Notify,
}

/// Dropping it ends the work.
pub(crate) struct Closed(Rc<Gate>);

impl Gate {
    /// Waits until it is done. Cancel-safe.
    pub(crate) async fn wait(&self) {
        loop {
            let done = self.done.notified();
            if !self.under_way.get() {
                return;
            }
            done.await;
        }
    }

    /// It begins.
    pub(crate) fn begin(self: &Rc<Self>) -> Closed {
        self.under_way.set(true);
        Closed(Rc::clone(self))
    }
}

impl Drop for Closed {
    fn drop(&mut self) {
        self.0.under_way.set(false);
        self.0.done.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_waits_continues_once_the_work_is_done() {
        let gate = Rc::new(Gate::default());
        gate.wait().await;
        let closed = gate.begin();
        let early = tokio::select! {
            biased;
            () = gate.wait() => true,
            () = std::future::ready(()) => false,
        };
        assert!(!early);
        let waiting = gate.wait();
        let ends = async { drop(closed) };
        tokio::join!(waiting, ends);
    }
}
