//! Blocking work of live changes and of launches, side by side.

use std::sync::mpsc;
use std::time::Duration;

use tokio::task::LocalSet;

use super::*;

/// Far more than anything here takes: past it, the test has failed.
const LIMIT: Duration = Duration::from_secs(10);

/// There are more changes than threads, and none of them ends.
#[test]
fn live_changes_that_take_long_leave_threads_for_launches() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(3)
        .build()
        .unwrap();
    let (begun, begins) = mpsc::channel();
    let (ends, changes): (Vec<mpsc::Sender<()>>, Vec<_>) = (0..5)
        .map(|_| {
            let (end, ended) = mpsc::channel::<()>();
            let begun = begun.clone();
            let change = blocking_change(move || {
                let _sent = begun.send(());
                // An error: the sender is dropped, which ends it.
                let _ended = ended.recv();
                Ok(())
            });
            (end, change)
        })
        .unzip();
    LocalSet::new().block_on(&runtime, async {
        let changes: Vec<_> = changes.into_iter().map(spawn_local).collect();
        // It comes after all of them.
        tokio::task::yield_now().await;
        let launch = tokio::time::timeout(LIMIT, blocking(|| Ok(())));
        launch.await.expect("a thread is free").unwrap();
        // Two that run, and no third.
        let two = blocking(move || {
            let two = [begins.recv(), begins.recv()].iter().all(Result::is_ok);
            Ok((two, begins.try_recv().is_err(), begins))
        });
        let (two, no_third, begins) = two.await.unwrap();
        assert!(two && no_third);
        // When those end, the others follow.
        drop(ends);
        for change in changes {
            tokio::time::timeout(LIMIT, change)
                .await
                .unwrap()
                .unwrap()
                .unwrap();
        }
        assert_eq!(begins.try_iter().count(), 3);
    });
}
