//! When the thread of the children looks through all of them.
//!
//! SIGCHLD tells of one child, and as long as it is pending, of no other one (signal(7)). So the thread takes care of the
//! child that it is told of, and looks for others later. The kernel goes through all children for that, so it takes the
//! longer the more tenants there are: the thread looks so seldom that it takes a small part of its time. If children
//! end faster than it takes care of them, looks take half of it.

use std::time::{Duration, Instant};

/// The time from a signal to the look. Other signals may follow, and most children are reaped by their owners
/// meanwhile.
const LATER: Duration = Duration::from_millis(10);

/// After a look that found nothing, the thread does something else for this many times as long. After one that found
/// children to take care of, for the shorter the more they were: what is left of them fills the host until the next look.
const PAUSES: u32 = 50;

/// That many children halve the pause.
const HALVING: u32 = 8;

/// How long a look may take: other work waits for it.
pub(super) const LOOK_MAX: Duration = Duration::from_millis(10);

/// How far a look went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// Through all children; so many of them had changed.
    Complete { changes: u32 },
    /// As far as one that may be about to be registered.
    Left,
    /// Until its time was over.
    More,
}

/// When to look next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// Once there is a signal.
    Signalled,
    At(Instant),
    /// Once this thread is woken: the last look has found a child that may be about to be registered.
    Woken,
}

/// The looks of the thread of the children.
#[derive(Debug)]
pub(super) struct Looks {
    next: Next,
    /// Not before this.
    earliest: Instant,
}

impl Looks {
    /// The first one is due: there may be children of the program before an upgrade.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            next: Next::At(now),
            earliest: now,
        }
    }

    /// A signal told of a child, and perhaps there are others.
    pub(super) fn signalled(&mut self, now: Instant) {
        if self.next == Next::Signalled {
            self.next = Next::At(self.earliest.max(now + LATER));
        }
    }

    /// The thread was woken, perhaps since all children are registered now.
    pub(super) fn woken(&mut self, now: Instant) {
        if self.next == Next::Woken {
            self.next = Next::At(self.earliest.max(now));
        }
    }

    /// The time until the next look; `None` if that depends on what happens.
    pub(super) fn pause(&self, now: Instant) -> Option<Duration> {
        match self.next {
            Next::At(time) => Some(time.saturating_duration_since(now)),
            Next::Signalled | Next::Woken => None,
        }
    }

    /// The thread has looked.
    pub(super) fn looked(&mut self, look: Look, [begun, ended]: [Instant; 2]) {
        let took = ended.saturating_duration_since(begun);
        let pauses = match look {
            Look::Complete { changes } => (PAUSES / (1 + changes / HALVING)).max(1),
            Look::Left => PAUSES,
            Look::More => 1,
        };
        self.earliest = ended + took * pauses;
        self.next = match look {
            Look::Complete { .. } => Next::Signalled,
            Look::Left => Next::Woken,
            Look::More => Next::At(self.earliest),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    const COMPLETE: Look = Look::Complete { changes: 0 };

    #[test]
    fn without_a_signal_there_is_no_look() {
        let now = Instant::now();
        let mut looks = Looks::new(now);
        assert_eq!(looks.pause(now), Some(Duration::ZERO));
        looks.looked(COMPLETE, [now, now + MS]);
        looks.woken(now + MS);
        assert_eq!(looks.pause(now + 1000 * MS), None);
    }

    #[test]
    fn a_look_follows_the_first_of_several_signals() {
        let now = Instant::now();
        let mut looks = Looks::new(now);
        looks.looked(COMPLETE, [now, now]);
        looks.signalled(now);
        looks.signalled(now + 9 * MS);
        assert_eq!(looks.pause(now + 9 * MS), Some(MS));
        assert_eq!(looks.pause(now + 20 * MS), Some(Duration::ZERO));
    }

    #[test]
    fn long_looks_are_seldom() {
        let now = Instant::now();
        let mut looks = Looks::new(now);
        looks.looked(COMPLETE, [now, now + 2 * MS]);
        looks.signalled(now + 2 * MS);
        assert_eq!(looks.pause(now + 2 * MS), Some(100 * MS));
    }

    #[test]
    fn the_more_a_look_found_the_sooner_is_the_next() {
        let now = Instant::now();
        let pause = |changes| {
            let mut looks = Looks::new(now);
            looks.looked(Look::Complete { changes }, [now, now + 2 * MS]);
            looks.signalled(now + 2 * MS);
            looks.pause(now + 2 * MS).unwrap()
        };
        assert_eq!([0, 7, 8].map(pause), [100 * MS, 100 * MS, 50 * MS]);
        assert_eq!(
            pause(10_000),
            LATER,
            "not sooner than other signals are awaited"
        );
    }

    #[test]
    fn a_child_that_may_be_registered_later_is_looked_for_once_it_could_be() {
        let now = Instant::now();
        let mut looks = Looks::new(now);
        looks.looked(Look::Left, [now, now + MS]);
        looks.signalled(now + MS);
        assert_eq!(looks.pause(now + MS), None);
        looks.woken(now + 11 * MS);
        assert_eq!(looks.pause(now + 11 * MS), Some(40 * MS));
    }

    #[test]
    fn a_look_that_took_too_long_is_continued_after_other_work() {
        let now = Instant::now();
        let mut looks = Looks::new(now);
        looks.looked(Look::More, [now, now + LOOK_MAX]);
        looks.signalled(now + LOOK_MAX);
        assert_eq!(looks.pause(now + LOOK_MAX), Some(LOOK_MAX));
    }
}
