//! Launches that are no longer wanted while they are being started. A child that hangs before its program is
//! not waited for then.

use std::collections::BTreeSet;

use tokio::sync::watch;

use tenantd_core::supervisor::event::LaunchId;

/// The launches of all tenants that are no longer wanted. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Unwanted(watch::Sender<BTreeSet<LaunchId>>);

impl Unwanted {
    /// A launch is no longer wanted.
    pub(crate) fn add(&self, launch: LaunchId) {
        self.0.send_modify(|launches| {
            launches.insert(launch);
        });
    }

    /// A launch is over, or runs.
    pub(crate) fn forget(&self, launch: LaunchId) {
        self.0.send_if_modified(|launches| launches.remove(&launch));
    }

    /// Waits until a launch is not wanted. Cancel-safe.
    pub(crate) async fn told(&self, launch: LaunchId) {
        let mut launches = self.0.subscribe();
        // The channel is open as long as this exists.
        let _told = launches.wait_for(|all| all.contains(&launch)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_launch_that_is_meant_is_told() {
        let unwanted = Unwanted::default();
        let (first, second) = (LaunchId(1), LaunchId(2));
        unwanted.add(first);
        unwanted.told(first).await;
        let other = async {
            unwanted.told(second).await;
            "second"
        };
        let told = tokio::select! {
            biased;
            told = other => told,
            () = std::future::ready(()) => "nobody",
        };
        assert_eq!(told, "nobody");
        unwanted.forget(first);
        unwanted.add(second);
        unwanted.told(second).await;
    }
}
