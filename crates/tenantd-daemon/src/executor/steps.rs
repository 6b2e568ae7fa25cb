//! Which launches and ends of launches of a tenant have begun: for work on another thread that is about one launch.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A count for one tenant.
#[derive(Debug, Clone, Default)]
pub(crate) struct Steps(Arc<AtomicU64>);

impl Steps {
    /// A launch of the tenant begins, or is to end.
    pub(crate) fn begin(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    /// Whether none has begun since now.
    pub(crate) fn none_since(&self) -> impl Fn() -> bool + Send + Sync + use<> {
        let (count, now) = (Arc::clone(&self.0), self.0.load(Ordering::SeqCst));
        move || count.load(Ordering::SeqCst) == now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_begins_later_is_seen() {
        let steps = Steps::default();
        steps.begin();
        let none_since = steps.none_since();
        assert!(none_since());
        steps.clone().begin();
        assert!(!none_since());
        assert!(steps.none_since()());
    }
}
