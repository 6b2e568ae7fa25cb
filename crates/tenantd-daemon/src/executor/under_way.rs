//! Counts the tasks that change the host. The supervisor detaches or executes another program once
//! none is left, or after a time limit.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;

use crate::clock;

/// The number of running tasks. Clones share one count.
#[derive(Debug, Clone, Default)]
pub(crate) struct UnderWay(Rc<Running>);

#[derive(Debug, Default)]
struct Running {
    count: Cell<usize>,
    none: Notify,
}

/// One task, from [`UnderWay::begin`] until this is dropped.
#[derive(Debug)]
#[must_use = "the task counts as ended once this is dropped"]
pub(crate) struct Task(Rc<Running>);

impl UnderWay {
    /// Counts one more task.
    pub(crate) fn begin(&self) -> Task {
        self.0.count.set(self.0.count.get() + 1);
        Task(Rc::clone(&self.0))
    }

    /// Whether no task is running.
    pub(crate) fn is_none(&self) -> bool {
        self.0.count.get() == 0
    }

    /// Waits until no task is running, not longer than this. Returns whether none is.
    pub(crate) async fn none_within(&self, limit: Duration) -> bool {
        let none = async {
            while !self.is_none() {
                self.ended().await;
            }
        };
        timeout(limit, none).await.is_ok()
    }

    /// Waits until the last one has ended; once it may also return because that was so before. Not each task reports
    /// its end to the loop, which looks then.
    async fn ended(&self) {
        self.0.none.notified().await;
    }
}

/// Waits this long, or for ever; or until no task is left, if the end of this process waits for that.
pub(crate) async fn pause(wait: Option<Duration>, awaited: Option<UnderWay>) {
    let ended = async {
        match &awaited {
            Some(under_way) => under_way.ended().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = clock::pause(wait) => {}
        () = ended => {}
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        let left = self.0.count.get() - 1;
        self.0.count.set(left);
        if left == 0 {
            self.0.none.notify_one();
        }
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
        // The loop, which may wait from now on.
        under_way.ended().await;
    }

    #[tokio::test]
    async fn the_end_of_the_last_task_wakes_up_who_waits() {
        let under_way = UnderWay::default();
        let (first, last) = (under_way.begin(), under_way.begin());
        let mut waits = Box::pin(under_way.ended());
        let now = Duration::ZERO;
        assert!(timeout(now, &mut waits).await.is_err());
        drop(first);
        assert!(timeout(now, &mut waits).await.is_err());
        drop(last);
        assert!(timeout(now, &mut waits).await.is_ok());
    }
}
