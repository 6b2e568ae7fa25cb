//! Shows for each law that its check can fail, with hand-written traces.

use std::time::Duration;

use tenantd_core::name::TenantName;
use tenantd_core::plan::model::{Policy, RestartPolicy};
use tenantd_core::stage::{Failure, Stage};
use tenantd_core::supervisor::action::{Action, Answer};
use tenantd_core::supervisor::event::{Event, LaunchId, TenantRequest, Verb};
use tenantd_core::supervisor::time::Moment;
use tenantd_core::supervisor::view::{StateWord, Unapplied, View, Want};
use tenantd_core::supervisor::{Limits, Step};

use super::law::{Broken, Law};
use super::laws::Laws;
use super::live::Lives;
use super::plans::{Paper, Plans};

fn policy(delay: Duration) -> Policy {
    let default = Policy::default();
    Policy {
        grace: Duration::from_secs(5),
        restart: RestartPolicy {
            delay,
            delay_max: Duration::from_secs(30),
            healthy_after: Duration::from_secs(60),
            strikes: 3,
            window: Duration::from_secs(100),
            ..default.restart
        },
        ready_within: Duration::from_secs(20),
        ..default
    }
}

fn tenant() -> TenantName {
    "acme".parse().unwrap()
}

fn launch(id: u64) -> Action {
    Action::Launch {
        tenant: tenant(),
        launch: LaunchId(id),
    }
}

fn kill(id: u64) -> Action {
    Action::Kill {
        tenant: tenant(),
        launch: LaunchId(id),
    }
}

fn emptied(id: u64) -> Event {
    Event::Emptied {
        launch: LaunchId(id),
    }
}

fn view(want: Want, state: StateWord) -> View {
    View {
        name: tenant(),
        want,
        state,
        launch: None,
        restarts: 0,
        since: Moment::ZERO,
        ready: None,
        until: None,
        why: None,
        unapplied: None,
    }
}

struct Trace(Laws);

impl Trace {
    /// A tenant that has been planned, and nothing more.
    fn planned(delay: Duration) -> Self {
        let one = std::num::NonZeroU32::MIN;
        let mut laws = Laws::new(Limits {
            restarts_per_second: one,
            burst: one,
        });
        let policy = policy(delay);
        laws.event(
            Moment::ZERO,
            &Event::Planned {
                tenant: tenant(),
                policy: policy.into(),
                found: None,
            },
        );
        Trace(laws)
    }

    /// A tenant whose first launch runs.
    fn up(delay: Duration) -> Self {
        let mut trace = Self::planned(delay);
        let provision = Action::Provision { tenant: tenant() };
        trace.hears(&Event::Hurry, vec![provision]).unwrap();
        let provisioned = Event::Provisioned { tenant: tenant() };
        trace.hears(&provisioned, vec![launch(1)]).unwrap();
        let launched = Event::Launched {
            launch: LaunchId(1),
        };
        trace.hears(&launched, vec![]).unwrap();
        trace
    }

    /// Answers an event with these actions.
    fn hears(&mut self, event: &Event, actions: Vec<Action>) -> Result<(), Broken> {
        let heard = self.0.event(Moment::ZERO, event);
        self.0.step(Moment::ZERO, &heard, &step(actions))
    }

    /// Answers a request to stop, with these actions.
    fn answers(&mut self, answer: &Answer, actions: Vec<Action>) -> Result<(), Broken> {
        let (tenant, verb) = (tenant(), Verb::Stop);
        self.0
            .answered(&TenantRequest { tenant, verb }, answer, &step(actions))
    }
}

fn step(actions: Vec<Action>) -> Step {
    Step {
        changed: vec![],
        actions,
        transitions: vec![],
    }
}

/// Breaks a law, possibly in several ways.
fn breaks(law: Law) -> Vec<Result<(), Broken>> {
    let second = Duration::from_secs(1);
    let release = || vec![Action::Release { tenant: tenant() }];
    let mut up = Trace::up(second);
    let mut planned = Trace::planned(second);
    match law {
        Law::OneLaunch => vec![up.hears(&Event::Hurry, vec![launch(2)])],
        Law::FreshLaunch => vec![up.hears(&emptied(1), vec![launch(1)])],
        Law::ProvisionFirst => vec![planned.hears(&Event::Hurry, vec![launch(1)])],
        Law::ProvisionOnce => {
            let provision = Action::Provision { tenant: tenant() };
            vec![up.hears(&emptied(1), vec![provision])]
        }
        Law::ReleaseLast => vec![up.hears(&Event::Hurry, release())],
        Law::ReleaseOnce => vec![planned.hears(&Event::Hurry, release())],
        Law::SignalTheLiving => vec![
            up.hears(&Event::Hurry, vec![kill(2)]),
            up.hears(&emptied(1), vec![kill(1)]),
        ],
        Law::NoIsNothing => {
            let reason = "no".to_owned();
            vec![
                up.answers(&Answer::AlreadySo, vec![kill(1)]),
                up.answers(&Answer::Refused { reason }, release()),
            ]
        }
        Law::StaleIsNothing => {
            let stale = up.0.event(Moment::ZERO, &emptied(2));
            let before = [view(Want::Up, StateWord::Up)];
            let after = [view(Want::Up, StateWord::Waiting)];
            vec![
                up.0.changed(&stale, &before, after.into_iter()),
                up.hears(&emptied(2), vec![kill(1)]),
            ]
        }
        Law::Backoff => vec![up.hears(&emptied(1), vec![launch(2)])],
        Law::Budget => {
            let mut trace = Trace::up(Duration::ZERO);
            trace.hears(&emptied(1), vec![launch(2)]).unwrap();
            vec![trace.hears(&emptied(2), vec![launch(3)])]
        }
        Law::WaitForSomething => {
            let words = [StateWord::Down, StateWord::Waiting, StateWord::Releasing];
            words
                .map(|word| up.0.shows(&[view(Want::Up, word)], None))
                .into()
        }
        Law::DueIsDone => vec![Laws::done(Moment(5), Some(Moment(5)))],
        Law::EndAsWanted => vec![
            Laws::end(&[view(Want::Down, StateWord::Failed)], false),
            Laws::end(&[view(Want::Up, StateWord::Waiting)], false),
            Laws::end(&[view(Want::Down, StateWord::Stuck)], true),
        ],
        Law::Finish => vec![Laws::finishes(true, false), Laws::finishes(false, true)],
        Law::GoesOn => breaks_over_a_death(),
        Law::ApplyToTheRunning | Law::AppliedIsConfirmed | Law::ApplyAgain => breaks_live(law),
        Law::Rest => vec![Laws::rests(20_000)],
        Law::OneHolder | Law::AsPlanned | Law::Forgotten => breaks_plans(law),
    }
}

/// Breaks a law about what is planned.
fn breaks_plans(law: Law) -> Vec<Result<(), Broken>> {
    let mut plans = Plans::default();
    let paper = |network| Paper {
        address: 1,
        network,
        launch: 0,
    };
    let provision = |tenant: &str| Action::Provision {
        tenant: tenant.parse().unwrap(),
    };
    plans.planned.insert(tenant(), paper(1));
    plans.planned.insert("beta".parse().unwrap(), paper(1));
    plans.action(&provision("acme")).unwrap();
    let up = [view(Want::Up, StateWord::Up)];
    match law {
        Law::OneHolder => vec![plans.action(&provision("beta"))],
        Law::AsPlanned => {
            plans.action(&launch(1)).unwrap();
            plans.planned.remove("beta");
            plans.planned.insert(tenant(), paper(2));
            vec![plans.action(&launch(2)), plans.end(&up)]
        }
        Law::Forgotten => {
            let forgotten = plans.action(&Action::Remove { tenant: tenant() });
            let shown = plans.end(&[]);
            plans.planned.clear();
            vec![forgotten, shown, plans.end(&up)]
        }
        _ => Vec::new(),
    }
}

/// Breaks a law about live changes.
fn breaks_live(law: Law) -> Vec<Result<(), Broken>> {
    let mut up = Trace::up(Duration::from_secs(1));
    let apply = |id| Action::Apply {
        tenant: tenant(),
        launch: LaunchId(id),
    };
    let is_up = |unapplied| View {
        launch: Some(LaunchId(1)),
        unapplied,
        ready: Some(true),
        ..view(Want::Up, StateWord::Up)
    };
    let why = Failure::errno(Stage::Limits, "", libc::EPERM);
    let refused = || is_up(Some(Unapplied::Refused(why.clone())));
    match law {
        Law::ApplyToTheRunning => {
            let twice = vec![apply(1), apply(1)];
            vec![
                up.hears(&Event::Hurry, vec![apply(2)]),
                up.hears(&Event::Hurry, twice),
                up.hears(&emptied(1), vec![apply(1)]),
            ]
        }
        Law::AppliedIsConfirmed => {
            let mut lives = Lives::default();
            lives.begins(&launch(1));
            lives.done(LaunchId(1));
            lives.shows(&[is_up(None)]).unwrap();
            lives.edit(&tenant(), 1);
            lives.event(&Event::Planned {
                tenant: tenant(),
                policy: policy(Duration::ZERO).into(),
                found: None,
            });
            let unasked = up.0.shows(&[is_up(Some(Unapplied::Underway))], None);
            up.hears(&Event::Hurry, vec![apply(1)]).unwrap();
            vec![
                lives.shows(&[is_up(None)]),
                unasked,
                up.0.shows(&[is_up(None)], None),
                up.0.shows(&[refused()], None),
            ]
        }
        Law::ApplyAgain => {
            let heard = up.0.event(Moment::ZERO, &Event::Reloaded);
            vec![
                Laws::reloaded(&heard, &[refused()], &Step::default()),
                Lives::end(&[refused()]),
            ]
        }
        _ => Vec::new(),
    }
}

/// Ways in which the next supervisor fails to resume.
fn breaks_over_a_death() -> Vec<Result<(), Broken>> {
    let goes_on =
        |was: StateWord, is, lives| Laws::goes_on(&view(Want::Up, was), &view(Want::Up, is), lives);
    let up = view(Want::Up, StateWord::Up);
    let restarted = View {
        restarts: 1,
        ..up.clone()
    };
    vec![
        goes_on(StateWord::Up, StateWord::Waiting, true),
        goes_on(StateWord::Failed, StateWord::Provisioning, false),
        goes_on(StateWord::Down, StateWord::Up, false),
        goes_on(StateWord::Waiting, StateWord::Failed, false),
        Laws::goes_on(&up, &view(Want::Down, StateWord::Up), true),
        Laws::goes_on(&up, &restarted, true),
        Laws::goes_on(&up, &view(Want::Up, StateWord::Releasing), true),
        Laws::came_back(&view(Want::Down, StateWord::Stopping), true),
        Laws::came_back(&view(Want::Up, StateWord::Up), false),
    ]
}

#[test]
fn each_law_detects_its_violation() {
    for law in Law::ALL {
        for result in breaks(law) {
            let broken = result.expect_err(&format!("{law:?} cannot be broken"));
            assert_eq!(broken.law, law, "{}", broken.by);
        }
    }
}
