//! Limits the time in which the loop's thread does not look at what has arrived.
//!
//! A *stretch* is the time between two polls of the loop's future. Between them the thread also runs
//! the tasks that are ready, and looks for events of the kernel. The loop, the tasks that act on the
//! host and those that talk with clients have [`Stretch::LIMIT`] each. What is left is done in the
//! next stretch, after everything else that has arrived meanwhile. So a signal or the exit of a
//! program does not have to wait for a thousand restarts, nor for twenty clients that watch them,
//! and the clients do not have to wait for the restarts.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use tenantd_core::supervisor::time::Moment;

use crate::clock;

/// The target of the log lines about long stretches, for
/// `TENANTD_LOG=info,tenantd::stretch=debug`.
const LOG: &str = "tenantd::stretch";

/// Stretches of more processor time than this are logged.
const LONG: Duration = Duration::from_millis(2);

/// The tasks that share one part of a stretch.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Part {
    /// Those that act on the host.
    Host,
    /// Those that talk with clients.
    Clients,
}

/// The current stretch. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stretch(Rc<Parts>);

#[derive(Debug, Default)]
struct Parts {
    /// The end of the loop's part; None while no loop runs, and then nothing has a limit.
    until: Cell<Option<Moment>>,
    /// Wakes the loop, so that it begins the next stretch.
    main: RefCell<Option<Waker>>,
    shares: [Share; 2],
}

/// The part of some tasks.
#[derive(Debug, Default)]
struct Share {
    used: Cell<Duration>,
    /// The tasks that wait for the next stretch. They are not in the queue of the runtime meanwhile:
    /// there, a thousand of them would be in the way of all others.
    waiting: RefCell<VecDeque<Waker>>,
}

impl Share {
    fn is_used_up(&self) -> bool {
        self.used.get() >= Stretch::LIMIT
    }

    /// Wakes the task that waits longest. Returns whether others wait.
    fn wake_next(&self) -> bool {
        let next = self.waiting.borrow_mut().pop_front();
        if let Some(waker) = next {
            waker.wake();
        }
        !self.waiting.borrow().is_empty()
    }
}

impl Stretch {
    /// How long each part is. What is under way then is completed: one input of the loop, one step
    /// of a task.
    const LIMIT: Duration = Duration::from_millis(1);

    fn begin(&self, main: &Waker) {
        self.0.until.set(Some(clock::now() + Self::LIMIT));
        self.0.main.replace(Some(main.clone()));
        for share in &self.0.shares {
            share.used.set(Duration::ZERO);
            // The task that is woken wakes the next one; it may have been cancelled, though.
            if share.wake_next() {
                main.wake_by_ref();
            }
        }
    }

    /// Whether the loop has to leave the rest for the next stretch.
    pub(crate) fn is_over(&self) -> bool {
        let until = self.0.until.get();
        until.is_some_and(|until| clock::now() >= until)
    }

    /// Runs the loop: each poll of its future begins a stretch.
    pub(crate) async fn run<F: Future>(&self, main: F) -> F::Output {
        let mut main = pin!(main);
        let mut log = Log::default();
        let output = std::future::poll_fn(|context| {
            log.next();
            self.begin(context.waker());
            main.as_mut().poll(context)
        });
        let output = output.await;
        // No stretch begins any more, so that no task waits for one.
        self.0.until.set(None);
        for share in &self.0.shares {
            while share.wake_next() {}
        }
        output
    }

    /// Runs a task: it waits for the next stretch once its part of this one is used up.
    pub(crate) async fn share<F: Future>(&self, part: Part, task: F) -> F::Output {
        let mut task = pin!(task);
        let share = &self.0.shares[part as usize];
        std::future::poll_fn(|context| {
            if self.0.until.get().is_some() && share.is_used_up() {
                share
                    .waiting
                    .borrow_mut()
                    .push_back(context.waker().clone());
                self.begin_another();
                return Poll::Pending;
            }
            let begun = clock::now();
            let polled = task.as_mut().poll(context);
            share.used.set(share.used.get() + clock::now().since(begun));
            if !share.is_used_up() {
                share.wake_next();
            }
            polled
        })
        .await
    }

    fn begin_another(&self) {
        if let Some(main) = &*self.0.main.borrow() {
            main.wake_by_ref();
        }
    }
}

/// Logs each long stretch, if that log is asked for.
#[derive(Debug, Default)]
struct Log {
    begun: Option<Duration>,
}

impl Log {
    /// Ends a stretch and begins the next one.
    fn next(&mut self) {
        // The processor time costs a system call, so it is measured only if the log is enabled.
        if !tracing::enabled!(target: LOG, tracing::Level::DEBUG) {
            return;
        }
        let now = processor_time();
        if let Some(begun) = self.begun.replace(now) {
            let stretch = now.saturating_sub(begun);
            if stretch > LONG {
                let microseconds = stretch.as_micros();
                tracing::debug!(target: LOG, microseconds, "long stretch");
            }
        }
    }
}

/// The processor time that this thread has used.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::from_secs(seconds)
        + Duration::from_nanos(u64::try_from(time.tv_nsec).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use tokio::task::{LocalSet, spawn_local, yield_now};

    use super::*;

    /// Keeps the thread for this long.
    fn work(duration: Duration) {
        let until = clock::now() + duration;
        while clock::now() < until {}
    }

    #[test]
    fn tasks_yield_to_the_loop_at_the_end_of_a_stretch() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let order = Rc::new(RefCell::new(Vec::new()));
        let stretch = Stretch::default();
        let seen = Rc::clone(&order);
        let main = stretch.clone();
        LocalSet::new().block_on(&runtime, async move {
            for number in 0..3 {
                let (stretch, seen) = (stretch.clone(), Rc::clone(&seen));
                spawn_local(async move {
                    let task = async {
                        seen.borrow_mut().push(format!("task {number}"));
                        work(Stretch::LIMIT);
                    };
                    stretch.share(Part::Clients, task).await;
                });
            }
            main.run(async {
                while seen
                    .borrow()
                    .iter()
                    .filter(|one| one.starts_with("task"))
                    .count()
                    < 3
                {
                    seen.borrow_mut().push("loop".to_owned());
                    yield_now().await;
                }
            })
            .await;
        });
        let expected = ["loop", "task 0", "loop", "task 1", "loop", "task 2"];
        assert_eq!(*order.borrow(), expected);
    }

    #[test]
    fn tasks_do_not_wait_without_a_loop() {
        let stretch = Stretch::default();
        work(Stretch::LIMIT);
        assert!(!stretch.is_over());
    }
}
