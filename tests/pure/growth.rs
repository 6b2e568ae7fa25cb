//! Growth: an event of one tenant costs the supervisor the same whether there are a hundred tenants or thousands.
//!
//! The processor time of this thread is measured, which other programs do not change, and the least of several rounds
//! in turn. A walk over all tenants at each event would make it thirty times as much; searches may double it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tenantd_core::name::TenantName;
use tenantd_core::plan::effect::Effect;
use tenantd_core::plan::model::Policy;
use tenantd_core::supervisor::action::Action;
use tenantd_core::supervisor::event::{Event, Exit};
use tenantd_core::supervisor::time::Moment;
use tenantd_core::supervisor::{Limits, Supervisor};

const FEW: usize = 100;
const MANY: usize = 3_000;
const ROUNDS: usize = 5;

/// How much more an event may cost with many tenants.
const GROWTH_MAX: f64 = 6.0;

fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap();
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap())
}

struct World {
    supervisor: Supervisor,
    names: Vec<TenantName>,
    now: Moment,
    events: usize,
}

impl World {
    fn new(count: usize) -> Self {
        let names = (0..count).map(|number| format!("t{number}").parse().unwrap());
        Self {
            supervisor: Supervisor::new(Limits::default()),
            names: names.collect(),
            now: Moment::ZERO + Duration::from_secs(1_000),
            events: 0,
        }
    }

    /// Handles an event, and those that follow because the host does at once what it is asked for.
    fn handle(&mut self, event: Event) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            self.events += 1;
            self.now = self.now + Duration::from_micros(1);
            let step = self.supervisor.handle(self.now, event);
            assert!(
                self.supervisor
                    .next_deadline()
                    .is_none_or(|at| at > self.now)
            );
            events.extend(step.actions.into_iter().flat_map(done));
        }
    }

    /// Starts all, gives each the address of its neighbour, and stops all. Returns the microseconds of processor time
    /// for each event while addresses change hands: each release is awaited by another tenant.
    fn live(&mut self) -> f64 {
        let policy = Arc::new(Policy::default());
        for tenant in self.names.clone() {
            let policy = Arc::clone(&policy);
            let found = None;
            self.handle(Event::Planned {
                tenant,
                policy,
                found,
            });
        }
        for (at, tenant) in self.names.clone().into_iter().enumerate() {
            let others = vec![self.names[(at + 1) % self.names.len()].clone()];
            self.handle(Event::Awaits { tenant, others });
        }
        let (begun, before) = (processor_time(), self.events);
        for tenant in self.names.clone() {
            let policy = Arc::clone(&policy);
            self.handle(Event::Replanned {
                tenant,
                policy,
                effect: Effect::Reprovision,
                apply: false,
            });
        }
        let taken = processor_time() - begun;
        let events = u32::try_from(self.events - before).unwrap();
        for tenant in self.names.clone() {
            self.handle(Event::Removed { tenant });
        }
        assert_eq!(self.supervisor.tenants().count(), 0, "all are removed");
        taken.as_secs_f64() * 1e6 / f64::from(events)
    }
}

fn done(action: Action) -> Vec<Event> {
    match action {
        Action::Provision { tenant } => vec![Event::Provisioned { tenant }],
        Action::Launch { launch, .. } => vec![Event::Launched { launch }, Event::Ready { launch }],
        Action::Terminate { launch, .. } => {
            let exit = Exit::Status(0);
            let said = String::new();
            let exited = Event::Exited {
                launch,
                exit,
                others: false,
                said,
            };
            vec![exited, Event::Emptied { launch }]
        }
        Action::Release { tenant } => vec![Event::Released { tenant }],
        Action::Remove { .. } => Vec::new(),
        other => panic!("{other:?} is not expected"),
    }
}

#[test]
fn an_event_does_not_cost_more_with_more_tenants() {
    let (mut few, mut many) = (f64::MAX, f64::MAX);
    for _ in 0..ROUNDS {
        few = few.min(World::new(FEW).live());
        many = many.min(World::new(MANY).live());
    }
    let growth = many / few;
    println!("{few:.2} µs with {FEW} tenants, {many:.2} µs with {MANY}");
    assert!(growth < GROWTH_MAX, "{growth:.1} times as much");
}
