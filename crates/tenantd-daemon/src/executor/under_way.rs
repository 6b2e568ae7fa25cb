//! Counts the tasks that change the host. The supervisor detaches or executes another program once
//! none is left, or after a time limit.

use std::cell::Cell;
use std::rc::Rc;

/// The number of running tasks. Clones share one count.
#[derive(Debug, Clone, Default)]
pub(crate) struct UnderWay(Rc<Cell<usize>>);

/// One task, from [`UnderWay::begin`] until this is dropped.
#[derive(Debug)]
#[must_use = "the task counts as ended once this is dropped"]
pub(crate) struct Task(Rc<Cell<usize>>);

impl UnderWay {
    /// Counts one more task.
    pub(crate) fn begin(&self) -> Task {
        self.0.set(self.0.get() + 1);
        Task(Rc::clone(&self.0))
    }

    /// Whether no task is running.
    pub(crate) fn is_none(&self) -> bool {
        self.0.get() == 0
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_counts_until_it_ends_or_is_cancelled() {
        let under_way = UnderWay::default();
        assert!(under_way.is_none());
        let (ends, cancelled) = (under_way.begin(), under_way.begin());
        let local = tokio::task::LocalSet::new();
        local
            .run_until(async {
                let ending = tokio::task::spawn_local(async move { drop(ends) });
                let waits = tokio::task::spawn_local(async move {
                    let _cancelled = cancelled;
                    std::future::pending::<()>().await;
                });
                ending.await.unwrap();
                assert!(!under_way.is_none());
                waits.abort();
                waits.await.unwrap_err();
            })
            .await;
        assert!(under_way.is_none());
    }
}
