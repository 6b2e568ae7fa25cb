//! Launches that are no longer wanted while they are being started. A child that hangs before its program is
//! not waited for then.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use tokio::sync::Notify;

use tenantd_core::supervisor::event::LaunchId;

/// The launches of all tenants that are being started. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Unwanted(Rc<RefCell<BTreeMap<LaunchId, Rc<Notify>>>>);

/// A launch that is being started. Dropping this ends that: its program runs, or it has failed.
#[derive(Debug)]
pub(crate) struct Starting {
    launch: LaunchId,
    told: Rc<Notify>,
    all: Unwanted,
}

impl Unwanted {
    /// A launch begins.
    pub(crate) fn begin(&self, launch: LaunchId) -> Starting {
        let told = Rc::new(Notify::new());
        self.0.borrow_mut().insert(launch, Rc::clone(&told));
        Starting {
            launch,
            told,
            all: self.clone(),
        }
    }

    /// A launch is no longer wanted. Without effect if it is over, or runs.
    pub(crate) fn add(&self, launch: LaunchId) {
        if let Some(told) = self.0.borrow().get(&launch) {
            told.notify_one();
        }
    }
}

impl Starting {
    /// Waits until the launch is not wanted. Cancel-safe.
    pub(crate) async fn unwanted(&self) {
        self.told.notified().await;
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        self.all.0.borrow_mut().remove(&self.launch);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_launch_that_is_meant_is_told() {
        let unwanted = Unwanted::default();
        let (first, second) = (LaunchId(1), LaunchId(2));
        let (one, two) = (unwanted.begin(first), unwanted.begin(second));
        // Before it waits, too.
        unwanted.add(first);
        one.unwanted().await;
        let other = async {
            two.unwanted().await;
            "second"
        };
        let told = tokio::select! {
            biased;
            told = other => told,
            () = std::future::ready(()) => "nobody",
        };
        assert_eq!(told, "nobody");
        unwanted.add(second);
        two.unwanted().await;
    }

    #[tokio::test]
    async fn nothing_is_kept_of_a_launch_that_is_told_too_late() {
        let unwanted = Unwanted::default();
        let first = LaunchId(1);
        drop(unwanted.begin(first));
        unwanted.add(first);
        assert!(unwanted.0.borrow().is_empty());
    }
}
