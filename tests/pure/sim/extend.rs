//! Programs that ask for more time to become ready or to stop.

use std::time::Duration;

use tenantd_core::supervisor::LIMIT_TIMES;
use tenantd_core::supervisor::checkpoint::{Checkpoint, Ending, Readying, State};
use tenantd_core::supervisor::event::{Event, LaunchId};
use tenantd_core::supervisor::time::Moment;

use super::invariant::{Invariant, Violation, check};
use super::world::{Occurrence, World};

/// By how much a deadline may be later than a program asked for.
const ROUNDED: Duration = Duration::from_millis(250);

/// The limit that a program asks to have extended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Limits {
    /// By how much.
    by: Option<Duration>,
    /// The state without its deadline, the deadline, and the latest one.
    limit: Option<(State, Moment, Moment)>,
}

impl World {
    /// The program may say that it is stopping, and ask for more time, more than once.
    pub(super) fn maybe_extend(&mut self, launch: LaunchId) {
        if !self.faults_over && self.random.chance(10) {
            let event = Event::SaysStopping { launch };
            self.schedule(30_000, Occurrence::Event(event));
        }
        for _ in 0..3 {
            if self.faults_over || !self.random.chance(20) {
                return;
            }
            let by = Duration::from_secs(*self.random.pick(&[0, 1, 15, 400, u64::MAX]));
            let event = Event::Extend { launch, by };
            self.schedule(30_000, Occurrence::Event(event));
        }
    }

    /// The limit that an event is about.
    pub(super) fn limits(&self, event: &Event) -> Limits {
        let Event::Extend { launch, by } = event else {
            return Limits::default();
        };
        let tenant = self.checker.launches.get(launch);
        let found = tenant.and_then(|tenant| {
            let (policy, checkpoint) = (
                self.checker.policy(tenant)?,
                self.supervisor.checkpoint(tenant)?,
            );
            let Checkpoint { state, since, .. } = checkpoint;
            let (state, deadline, limit) = match state {
                State::Up {
                    launch,
                    ready: Readying::Before(at) | Readying::Unknown(at),
                } => {
                    let ready = Readying::Ready;
                    (State::Up { launch, ready }, at, policy.ready_within)
                }
                State::Stopping {
                    launch,
                    ending: Ending::Own { until: at } | Ending::Grace { kill_at: at },
                    after,
                } => {
                    let until = Moment::ZERO;
                    let state = State::Stopping {
                        launch,
                        ending: Ending::Killed { until },
                        after,
                    };
                    (state, at, policy.grace)
                }
                _ => return None,
            };
            // The commands before the program do not ask.
            let asks = !self.phases.is_command(*launch);
            asks.then_some((state, deadline, since + limit * LIMIT_TIMES))
        });
        Limits {
            by: Some(*by),
            limit: found,
        }
    }
}

impl Limits {
    /// After the event, only the deadline may be later: as late as asked for, but not too late.
    pub(super) fn check(&self, now: Moment, after: &Limits) -> Result<(), Violation> {
        let wanted = self.by.map_or(now, |by| now + by);
        let holds = match (&self.limit, &after.limit) {
            (None, None) => true,
            (Some((was, before, most)), Some((is, after, _))) => {
                let least = (*before).max(wanted.min(*most));
                was == is
                    && *after >= least
                    && *after <= least + ROUNDED
                    && *after <= (*before).max(*most)
            }
            (Some(_), None) | (None, Some(_)) => false,
        };
        check(holds, Invariant::ExtendedToLimit, || {
            format!("{self:?}, {after:?} at {now:?}")
        })
    }
}

/// Deadlines that are nearer, too far away, not as late as asked for, or gone.
pub(super) fn violations() -> Vec<Result<(), Violation>> {
    let at = |seconds| Moment::ZERO + Duration::from_secs(seconds);
    let limit = |seconds| Limits {
        by: Some(Duration::from_secs(60)),
        limit: Some((State::Down, at(seconds), at(100))),
    };
    vec![
        limit(10).check(at(5), &limit(9)),
        limit(10).check(at(5), &limit(10)),
        limit(10).check(at(5), &limit(90)),
        limit(90).check(at(50), &limit(110)),
        limit(10).check(at(5), &Limits::default()),
    ]
}
