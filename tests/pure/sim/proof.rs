//! Shows for each invariant that its check can fail, with hand-written traces.

mod want;

use std::time::Duration;

use tenantd_core::name::TenantName;
use tenantd_core::plan::model::{Policy, RestartPolicy};
use tenantd_core::plan::phase::Phase;
use tenantd_core::stage::{Failure, Stage};
use tenantd_core::supervisor::action::{Action, Answer};
use tenantd_core::supervisor::event::{Event, LaunchId, TenantRequest, Verb};
use tenantd_core::supervisor::time::Moment;
use tenantd_core::supervisor::view::{StateWord, Unapplied, View, Want};
use tenantd_core::supervisor::{Limits, Step};

use super::checker::Checker;
use super::invariant::{Invariant, Violation};
use super::live::LiveSettings;
use super::plans::{Plans, Revision};

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
        phase: Phase::Main,
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
        forced: None,
        offline: None,
    }
}

pub(super) struct Trace(pub(super) Checker);

impl Trace {
    /// A tenant that has only been planned.
    pub(super) fn planned(delay: Duration) -> Self {
        let one = std::num::NonZeroU32::MIN;
        let mut checker = Checker::new(Limits {
            restarts_per_second: one,
            burst: one,
        });
        let policy = policy(delay);
        checker.event(
            Moment::ZERO,
            &Event::Planned {
                tenant: tenant(),
                policy: policy.into(),
                found: None,
            },
        );
        Trace(checker)
    }

    /// A tenant with a running first launch.
    fn up(delay: Duration) -> Self {
        let mut trace = Self::planned(delay);
        let provision = Action::Provision { tenant: tenant() };
        trace.handles(&Event::Reloaded, vec![provision]).unwrap();
        let provisioned = Event::Provisioned { tenant: tenant() };
        trace.handles(&provisioned, vec![launch(1)]).unwrap();
        let launched = Event::Launched {
            launch: LaunchId(1),
        };
        trace.handles(&launched, vec![]).unwrap();
        trace
    }

    /// Handles an event with these actions.
    fn handles(&mut self, event: &Event, actions: Vec<Action>) -> Result<(), Violation> {
        let expected = self.0.event(Moment::ZERO, event);
        self.0.step(Moment::ZERO, &expected, &step(actions))
    }

    /// Answers a request to stop, with these actions.
    fn answers(&mut self, answer: &Answer, actions: Vec<Action>) -> Result<(), Violation> {
        let (tenant, verb) = (tenant(), Verb::Stop);
        self.0
            .on_answer(&TenantRequest { tenant, verb }, answer, &step(actions))
    }
}

fn step(actions: Vec<Action>) -> Step {
    Step {
        changed: vec![],
        actions,
        transitions: vec![],
    }
}

/// Violates an invariant, possibly in several ways.
fn violations(invariant: Invariant) -> Vec<Result<(), Violation>> {
    let second = Duration::from_secs(1);
    let release = || vec![Action::Release { tenant: tenant() }];
    let mut up = Trace::up(second);
    let mut planned = Trace::planned(second);
    match invariant {
        Invariant::OneLaunch => vec![up.handles(&Event::Hurry, vec![launch(2)])],
        Invariant::UniqueLaunch => vec![up.handles(&emptied(1), vec![launch(1)])],
        Invariant::ProvisionFirst => vec![planned.handles(&Event::Hurry, vec![launch(1)])],
        Invariant::ProvisionOnce => {
            let provision = Action::Provision { tenant: tenant() };
            vec![up.handles(&emptied(1), vec![provision])]
        }
        Invariant::ReleaseLast => vec![up.handles(&Event::Hurry, release())],
        Invariant::ReleaseOnce => vec![planned.handles(&Event::Hurry, release())],
        Invariant::AbandonUnexecuted => {
            vec![up.handles(&Event::Hurry, vec![super::ends::abandon()])]
        }
        Invariant::SignalRunningLaunch => vec![
            up.handles(&Event::Hurry, vec![kill(2)]),
            up.handles(&emptied(1), vec![kill(1)]),
        ],
        Invariant::KilledAfterGrace => kill_violations(),
        Invariant::ForcedKillSaid => super::ends::violations(),
        Invariant::RefusalDoesNothing => refusal_violations(),
        Invariant::MainEndsLaunch => vec![up.handles(&main_exited(), vec![])],
        Invariant::StaleDoesNothing => stale_violations(),
        Invariant::Backoff => vec![up.handles(&emptied(1), vec![launch(2)])],
        Invariant::Budget => {
            let mut trace = Trace::up(Duration::ZERO);
            trace.handles(&emptied(1), vec![launch(2)]).unwrap();
            vec![trace.handles(&emptied(2), vec![launch(3)])]
        }
        Invariant::NoTenantHangs => {
            let words = [StateWord::Down, StateWord::Waiting, StateWord::Releasing];
            words
                .map(|word| up.0.check_views(&[view(Want::Up, word)], None))
                .into()
        }
        Invariant::DeadlinesHandled
        | Invariant::WantedStateReached
        | Invariant::ShutdownCompletes
        | Invariant::ComesToRest => rest_violations(invariant),
        Invariant::StateResumed => resume_violations(),
        Invariant::WantIsRequested
        | Invariant::ExitedIsOver
        | Invariant::NotAliveIsEnded
        | Invariant::StopsByItself
        | Invariant::OfflineAlone => want::violations(invariant),
        Invariant::ExtendedToLimit => super::extend::violations(),
        Invariant::ApplyToRunningLaunch
        | Invariant::AppliedIfConfirmed
        | Invariant::RefusedIsRetried => live_violations(invariant),
        Invariant::InitFirst
        | Invariant::InitOnce
        | Invariant::ConcludedOnce
        | Invariant::BeforeEachStart => super::phases::proof::violations(invariant),
        Invariant::OneHolder | Invariant::AsPlanned | Invariant::RemovedAfterRelease => {
            plan_violations(invariant)
        }
    }
}

/// SIGKILL without the stop signal, and before the grace is over.
fn kill_violations() -> Vec<Result<(), Violation>> {
    let terminate = Action::Terminate {
        tenant: tenant(),
        launch: LaunchId(1),
    };
    let mut up = Trace::up(Duration::from_secs(1));
    let mut asked = Trace::up(Duration::from_secs(1));
    asked.handles(&Event::Reloaded, vec![terminate]).unwrap();
    vec![
        up.handles(&Event::Reloaded, vec![kill(1)]),
        asked.handles(&Event::Reloaded, vec![kill(1)]),
    ]
}

/// A request without effect that has one.
fn refusal_violations() -> Vec<Result<(), Violation>> {
    let mut up = Trace::up(Duration::from_secs(1));
    let reason = "no".to_owned();
    let refused = Answer::Refused { reason };
    let was = view(Want::Up, StateWord::Failed);
    let is = view(Want::Down, StateWord::Failed);
    vec![
        up.answers(&Answer::AlreadySo, vec![kill(1)]),
        up.answers(&refused, vec![Action::Release { tenant: tenant() }]),
        Checker::check_refused(&refused, Some(&was), Some(&is)),
    ]
}

/// A late event that changes a tenant, or causes an action.
fn stale_violations() -> Vec<Result<(), Violation>> {
    let mut up = Trace::up(Duration::from_secs(1));
    let stale = up.0.event(Moment::ZERO, &emptied(2));
    let before = [view(Want::Up, StateWord::Up)];
    let after = [view(Want::Up, StateWord::Waiting)];
    vec![
        up.0.check_unchanged(&stale, &before, after.into_iter()),
        up.handles(&emptied(2), vec![kill(1)]),
    ]
}

/// Violates an invariant about coming to rest.
fn rest_violations(invariant: Invariant) -> Vec<Result<(), Violation>> {
    match invariant {
        Invariant::DeadlinesHandled => vec![Checker::check_deadlines(Moment(5), Some(Moment(5)))],
        Invariant::WantedStateReached => vec![
            Checker::end(&[view(Want::Down, StateWord::Failed)], false),
            Checker::end(&[view(Want::Up, StateWord::Waiting)], false),
            Checker::end(&[view(Want::Down, StateWord::Stuck)], true),
        ],
        Invariant::ShutdownCompletes => vec![
            Checker::check_finished(true, false),
            Checker::check_finished(false, true),
        ],
        Invariant::ComesToRest => vec![Checker::check_rest(20_000)],
        _ => Vec::new(),
    }
}

/// Violates an invariant about plans.
fn plan_violations(invariant: Invariant) -> Vec<Result<(), Violation>> {
    let mut plans = Plans::default();
    let revision = |network| Revision {
        address: 1,
        network,
        launch: 0,
    };
    let provision = |tenant: &str| Action::Provision {
        tenant: tenant.parse().unwrap(),
    };
    plans.planned.insert(tenant(), revision(1));
    plans.planned.insert("beta".parse().unwrap(), revision(1));
    plans.action(&provision("acme")).unwrap();
    let up = [view(Want::Up, StateWord::Up)];
    match invariant {
        Invariant::OneHolder => vec![plans.action(&provision("beta"))],
        Invariant::AsPlanned => {
            plans.action(&launch(1)).unwrap();
            plans.planned.remove("beta");
            plans.planned.insert(tenant(), revision(2));
            vec![plans.action(&launch(2)), plans.end(&up)]
        }
        Invariant::RemovedAfterRelease => {
            let forgotten = plans.action(&Action::Remove { tenant: tenant() });
            let shown = plans.end(&[]);
            plans.planned.clear();
            vec![forgotten, shown, plans.end(&up)]
        }
        _ => Vec::new(),
    }
}

/// Violates an invariant about live changes.
fn live_violations(invariant: Invariant) -> Vec<Result<(), Violation>> {
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
    match invariant {
        Invariant::ApplyToRunningLaunch => {
            let twice = vec![apply(1), apply(1)];
            vec![
                up.handles(&Event::Hurry, vec![apply(2)]),
                up.handles(&Event::Hurry, twice),
                up.handles(&emptied(1), vec![apply(1)]),
            ]
        }
        Invariant::AppliedIfConfirmed => {
            let mut settings = LiveSettings::default();
            settings.on_action(&launch(1));
            settings.on_done(LaunchId(1));
            settings.check_views(&[is_up(None)]).unwrap();
            settings.edit(&tenant(), 1);
            settings.event(&Event::Planned {
                tenant: tenant(),
                policy: policy(Duration::ZERO).into(),
                found: None,
            });
            let unrequested = up.0.check_views(&[is_up(Some(Unapplied::Underway))], None);
            up.handles(&Event::Hurry, vec![apply(1)]).unwrap();
            vec![
                settings.check_views(&[is_up(None)]),
                unrequested,
                up.0.check_views(&[is_up(None)], None),
                up.0.check_views(&[refused()], None),
            ]
        }
        Invariant::RefusedIsRetried => {
            let expected = up.0.event(Moment::ZERO, &Event::Reloaded);
            vec![
                Checker::check_reloaded(&expected, &[refused()], &Step::default()),
                LiveSettings::end(&[refused()]),
            ]
        }
        _ => Vec::new(),
    }
}

/// Ways in which the next supervisor fails to resume.
fn resume_violations() -> Vec<Result<(), Violation>> {
    let check_resumed = |was: StateWord, is, alive| {
        Checker::check_resumed(&view(Want::Up, was), &view(Want::Up, is), alive)
    };
    let up = view(Want::Up, StateWord::Up);
    let restarted = View {
        restarts: 1,
        ..up.clone()
    };
    vec![
        check_resumed(StateWord::Up, StateWord::Waiting, true),
        check_resumed(StateWord::Failed, StateWord::Provisioning, false),
        check_resumed(StateWord::Down, StateWord::Up, false),
        check_resumed(StateWord::Waiting, StateWord::Failed, false),
        Checker::check_resumed(&up, &view(Want::Down, StateWord::Up), true),
        Checker::check_resumed(&up, &restarted, true),
        Checker::check_resumed(&up, &view(Want::Up, StateWord::Releasing), true),
        Checker::check_added_again(&view(Want::Down, StateWord::Stopping), true),
        Checker::check_added_again(&view(Want::Up, StateWord::Up), false),
    ]
}

#[test]
fn each_invariant_detects_its_violation() {
    for invariant in Invariant::ALL {
        for result in violations(invariant) {
            let violation = result.expect_err(&format!("{invariant:?} cannot be violated"));
            assert_eq!(violation.invariant, invariant, "{}", violation.cause);
        }
    }
}

fn main_exited() -> Event {
    Event::MainExited {
        launch: LaunchId(1),
        exit: tenantd_core::supervisor::event::Exit::Status(0),
        others: true,
    }
}
