//! How long the loop's thread is kept at a stretch, with 500 tenants, 20 subscribers and `status`
//! asked for in a loop.
//!
//! What is measured is how long something that happens has to wait for its turn of the loop, as an
//! exit or a signal would. The clock is that of the thread's own processor time, so that other
//! processes of the machine are not measured.

use std::cell::Cell;
use std::rc::Rc;

use rustix::time::{ClockId, clock_gettime};
use tenantd_api::client::watch::{Subscription, Watched};
use tokio::task::{spawn_local, yield_now};

use super::watch::{Model, Shared};
use super::*;

const TENANTS: u32 = 500;
const SUBSCRIBERS: usize = 20;
const STATUSES: usize = 3;
const EVENTS: u32 = 100;

/// Five milliseconds are for the program as it is installed; without optimisation it takes some times
/// as long. One reply in one piece takes hundreds.
const STRETCH_MAX: Duration = match cfg!(debug_assertions) {
    true => Duration::from_millis(40),
    false => Duration::from_millis(5),
};

fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(
        time.tv_sec.try_into().unwrap(),
        time.tv_nsec.try_into().unwrap(),
    )
}

/// What happens in other processes: on another thread, in the same test host.
async fn elsewhere<F: Future<Output = ()>>(act: impl FnOnce() -> F + Send + 'static) {
    let done = tokio::task::spawn_blocking(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.unwrap().block_on(act());
    });
    done.await.unwrap();
}

#[test]
fn the_loop_is_not_kept_by_those_who_watch_and_ask() {
    with_server(|app, incoming| async move {
        let model = Model::new(&app, TENANTS as usize);
        let longest = Rc::new(Cell::new(Duration::ZERO));
        let (happen, happenings) = mpsc::channel(1);
        let shared = Rc::clone(&model);
        spawn_local(go_round(shared, incoming, happenings, Rc::clone(&longest)));
        let probe = spawn_local(async move {
            while happen.send(processor_time()).await.is_ok() {
                yield_now().await;
            }
        });
        let watchers: Vec<_> = (0..SUBSCRIBERS)
            .map(|_| {
                let app = app.clone();
                spawn_local(elsewhere(move || async move {
                    let mut subscription = Subscription::open(&app, &[]).await.unwrap();
                    let mut told = 0;
                    while told < EVENTS {
                        match subscription.next().await.unwrap() {
                            Watched::Snapshot(snapshot) => {
                                told += snapshot.tenants.iter().map(|t| t.restarts).sum::<u32>();
                            }
                            Watched::Event(_) => told += 1,
                        }
                    }
                }))
            })
            .collect();
        let asked = app.clone();
        let asking = spawn_local(elsewhere(move || async move {
            for _ in 0..STATUSES {
                let mut connection = Connection::open(&asked).await.unwrap();
                let status = connection.status(&[]).await.unwrap();
                assert_eq!(status.tenants.len(), TENANTS as usize);
            }
        }));
        for number in 0..EVENTS {
            model.borrow_mut().restart(&tenant(&format!("t{number}")));
            yield_now().await;
        }
        for watcher in watchers {
            watcher.await.unwrap();
        }
        asking.await.unwrap();
        probe.abort();
        let longest = longest.get();
        eprintln!("longest wait for a turn of the loop: {longest:?}");
        assert!(longest < STRETCH_MAX, "{longest:?}");
    });
}

/// The loop: it takes what comes in turns, and notes how long each happening has waited for its own.
async fn go_round(
    model: Shared,
    mut incoming: mpsc::Receiver<Request>,
    mut happenings: mpsc::Receiver<Duration>,
    longest: Rc<Cell<Duration>>,
) {
    loop {
        tokio::select! {
            Some(ask) = incoming.recv() => model.borrow_mut().answer(ask),
            Some(sent) = happenings.recv() => {
                longest.set(longest.get().max(processor_time() - sent));
            }
        }
    }
}
