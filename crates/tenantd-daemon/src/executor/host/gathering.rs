//! The end of all tenants: their network namespaces are closed at the same moment.
//!
//! For each network namespace that the kernel destroys, it looks through all that live (`unhash_nsid` of
//! `net/core/net_namespace.c`). Those that are destroyed together are not among them, so ten thousand that end one after
//! the other take fifty million steps more than ten thousand that end together.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep_until};

/// How long no other tenant may have come before those that wait continue. A program that takes long to end keeps no other
/// longer than that.
const QUIET: Duration = Duration::from_millis(250);

/// How long the first one waits at most.
const LONGEST: Duration = Duration::from_secs(10);

/// Tenants that wait until their network namespaces are closed together.
#[derive(Debug, Default)]
pub(crate) struct Gathering {
    /// How many have not come yet; `None` if not all tenants end.
    expected: Cell<Option<usize>>,
    waiting: Cell<usize>,
    /// When the last one came.
    last: Cell<Option<Instant>>,
    continues: Notify,
}

impl Gathering {
    /// All tenants end from now on, of whom so many have a network namespace.
    pub(crate) fn begin(&self, count: usize) {
        self.expected.set(Some(count));
    }

    /// Whether all tenants end.
    pub(crate) fn is_of_all(&self) -> bool {
        self.expected.get().is_some()
    }

    /// Waits for the others, if all tenants end.
    pub(crate) async fn meet(self: &Rc<Self>) {
        let Some(expected) = self.expected.get() else {
            return;
        };
        let expected = expected.saturating_sub(1);
        self.expected.set(Some(expected));
        self.last.set(Some(Instant::now()));
        let continues = self.continues.notified();
        self.waiting.update(|waiting| waiting + 1);
        if expected == 0 {
            return self.let_continue();
        }
        if self.waiting.get() == 1 {
            spawn_local(Rc::clone(self).until_quiet());
        }
        continues.await;
    }

    fn let_continue(&self) {
        self.waiting.set(0);
        self.continues.notify_waiters();
    }

    async fn until_quiet(self: Rc<Self>) {
        let begun = Instant::now();
        while self.waiting.get() > 0 {
            let last = self.last.get().unwrap_or(begun);
            let until = (last + QUIET).min(begun + LONGEST);
            if Instant::now() >= until {
                return self.let_continue();
            }
            sleep_until(until).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};

    use futures_util::future::join_all;
    use tokio::task::LocalSet;

    use super::*;

    fn is_ready(future: std::pin::Pin<&mut impl Future>) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        future.poll(&mut context).is_ready()
    }

    fn of(count: usize) -> Rc<Gathering> {
        let gathering = Rc::new(Gathering::default());
        gathering.begin(count);
        gathering
    }

    #[tokio::test]
    async fn a_tenant_waits_for_no_other_unless_all_end() {
        let gathering = Rc::new(Gathering::default());
        assert!(!gathering.is_of_all());
        assert!(is_ready(pin!(gathering.meet())));
    }

    #[tokio::test]
    async fn all_continue_when_the_last_one_has_come() {
        let test = async {
            let gathering = of(3);
            let mut two = pin!(join_all([gathering.meet(), gathering.meet()]));
            assert!(!is_ready(two.as_mut()));
            assert!(is_ready(pin!(gathering.meet())));
            assert!(is_ready(two));
            // One that was not expected.
            assert!(is_ready(pin!(gathering.meet())));
        };
        LocalSet::new().run_until(test).await;
    }

    #[tokio::test]
    async fn one_that_does_not_come_keeps_no_other() {
        let test = async {
            let gathering = of(3);
            let begun = Instant::now();
            join_all([gathering.meet(), gathering.meet()]).await;
            assert!(begun.elapsed() >= QUIET);
            assert!(is_ready(pin!(gathering.meet())), "it is the last one");
        };
        LocalSet::new().run_until(test).await;
    }
}
