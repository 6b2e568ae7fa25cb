//! What is done after an adoption, or when an operator asks for it, and waited for by what must not be done meanwhile.

use std::cell::Cell;
use std::rc::Rc;

use tokio::sync::Notify;

/// How many times it is being done.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    under_way: Cell<u32>,
    done: Notify,
}

/// Dropping it ends the work.
#[derive(Debug)]
pub(crate) struct ClosedGate(Rc<Gate>);

impl Gate {
    /// Waits until it is done. Cancel-safe.
    pub(crate) async fn wait(&self) {
        loop {
            let done = self.done.notified();
            if self.under_way.get() == 0 {
                return;
            }
            done.await;
        }
    }

    /// It begins.
    pub(crate) fn begin(self: &Rc<Self>) -> ClosedGate {
        self.under_way.update(|count| count + 1);
        ClosedGate(Rc::clone(self))
    }
}

impl Drop for ClosedGate {
    fn drop(&mut self) {
        self.0.under_way.update(|count| count - 1);
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
        // Twice at the same time.
        let (first, second) = (gate.begin(), gate.begin());
        drop(first);
        assert_ne!(gate.under_way.get(), 0);
        drop(second);
        gate.wait().await;
    }
}
