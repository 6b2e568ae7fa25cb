//! The paths between states.

use std::num::NonZeroU32;
use std::time::Duration;

use super::{World, policy, situation, word};
use crate::plan::model::{Policy, Readiness, RestartPolicy, RestartWhen};
use crate::supervisor::event::{Event, Exit};
use crate::supervisor::view::{StateWord, Want};
use crate::supervisor::{Cause, KILL_LIMIT, Limits, STUCK_TRIES, Step, Supervisor};

#[test]
fn delays_count_from_the_start_and_double_until_giving_up() {
    let mut world = situation("up");
    let started = world.now;
    world.now = started + Duration::from_millis(300);
    let world = world.ended(Exit::Status(1));
    assert_eq!(world.view().until, Some(started + Duration::from_secs(1)));
    let mut world = world;
    assert_eq!(word(&world.wait().actions[0]), "launch");
    assert_eq!(world.view().restarts, 1);
    let mut world = world.launched().ended(Exit::Status(1));
    assert_eq!(world.view().until, Some(started + Duration::from_secs(3)));
    world.wait();
    let world = world.launched().ended(Exit::Status(1));
    assert_eq!(world.view().state, StateWord::Failed);
    assert_eq!(
        world.view().why.unwrap().to_string(),
        "exited with status 1"
    );
    assert_eq!(world.supervisor.next_deadline(), None);
}

#[test]
fn a_healthy_launch_restarts_at_once_and_clears_the_strikes() {
    let healthy_after = Duration::from_secs(10);
    let restart = RestartPolicy {
        healthy_after,
        ..policy().restart
    };
    let mut world = World::new(Policy {
        restart,
        ..policy()
    })
    .provisioned()
    .launched();
    // Without the request, this many strikes within the window would make it failed.
    for _ in 0..9 {
        world.now = world.now + healthy_after;
        world = world.ended(Exit::Signal(9));
        assert_eq!(world.view().state, StateWord::Launching);
        world = world.launched();
    }
    assert_eq!(world.view().restarts, 9);
}

#[test]
fn hurrying_ends_current_and_future_graces() {
    let mut world = situation("stopping");
    assert_eq!(word(&world.handle(Event::Hurry).actions[0]), "kill");
    assert_eq!(world.handle(Event::Hurry), Step::default());
    let mut world = situation("launching, unwanted");
    assert_eq!(world.handle(Event::Hurry), Step::default());
    let launch = world.launch();
    let step = world.handle(Event::Launched { launch });
    assert_eq!(step.actions.iter().map(word).collect::<Vec<_>>(), ["kill"]);
}

#[test]
fn a_new_policy_applies_from_the_next_decision() {
    let mut world = situation("up");
    let tenant = world.name();
    let policy = Policy {
        autostart: false,
        grace: Duration::from_secs(77),
        ..policy()
    };
    let step = world.handle(Event::Planned {
        tenant,
        policy: policy.into(),
        found: None,
    });
    assert_eq!(step, Step::default());
    let stopped_at = world.now;
    let mut world = world.requested(crate::supervisor::event::Verb::Stop);
    world.wait();
    assert_eq!(world.now, stopped_at + Duration::from_secs(77));
}

#[test]
fn the_restart_policy_depends_on_the_exit() {
    use RestartWhen::{Always, Never, OnFailure};
    for (when, exit, state, want) in [
        (Always, Exit::Status(0), StateWord::Waiting, Want::Up),
        (OnFailure, Exit::Status(0), StateWord::Releasing, Want::Up),
        (OnFailure, Exit::Status(3), StateWord::Waiting, Want::Up),
        (OnFailure, Exit::Unknown, StateWord::Waiting, Want::Up),
        (Never, Exit::Status(0), StateWord::Releasing, Want::Up),
        (Never, Exit::Signal(9), StateWord::Failed, Want::Up),
    ] {
        let restart = RestartPolicy {
            when,
            ..policy().restart
        };
        let world = World::new(Policy {
            restart,
            ..policy()
        });
        let view = world.provisioned().launched().ended(exit).view();
        assert_eq!((view.state, view.want), (state, want), "{when:?} {exit:?}");
    }
}

#[test]
fn readiness_times_out_and_is_kept_once_reached() {
    let slow = || {
        World::new(Policy {
            ready: Readiness::Tcp(80),
            ..policy()
        })
    };
    let mut world = slow().provisioned().launched();
    assert_eq!(world.view().ready, Some(false));
    let launch = world.launch();
    let step = world.handle(Event::Ready { launch });
    assert_eq!(step.transitions[0].cause, Cause::Ready);
    assert_eq!(world.view().ready, Some(true));
    assert_eq!(world.supervisor.next_deadline(), None);

    let mut world = slow().provisioned().launched();
    let step = world.wait();
    assert_eq!(word(&step.actions[0]), "terminate");
    assert_eq!(
        step.transitions[0].cause.to_string(),
        "cannot confirm readiness on port 80: no connection accepted within 20 s"
    );
    let launch = world.launch();
    assert_eq!(world.handle(Event::Ready { launch }), Step::default());
    let world = world.ended(Exit::Status(0));
    // Exit status 0, but still a strike. Its delay is already over.
    assert_eq!(world.view().state, StateWord::Launching);
    assert_eq!(world.view().restarts, 1);

    let ready = Readiness::Lived(Duration::from_secs(60));
    let mut world = World::new(Policy { ready, ..policy() })
        .provisioned()
        .launched();
    world.wait();
    assert_eq!(world.view().ready, Some(true));
}

#[test]
fn only_a_daemonizing_program_may_outlive_its_first_process() {
    let exited = |daemonizes, exit| {
        let mut world = World::new(Policy {
            daemonizes,
            ..policy()
        })
        .provisioned()
        .launched();
        let launch = world.launch();
        let step = world.handle(Event::Exited {
            launch,
            exit,
            others: true,
            said: String::new(),
        });
        let state = world.view().state;
        world.handle(Event::Emptied { launch });
        assert_eq!(world.view().state, StateWord::Waiting);
        (step.actions.iter().map(word).collect::<Vec<_>>(), state)
    };
    assert_eq!(exited(true, Exit::Status(0)), (vec![], StateWord::Up));
    assert_eq!(
        exited(true, Exit::Status(1)),
        (vec!["terminate"], StateWord::Stopping)
    );
    assert_eq!(
        exited(false, Exit::Status(0)),
        (vec!["terminate"], StateWord::Stopping)
    );
}

#[test]
fn what_a_program_leaves_has_its_grace() {
    let mut world = situation("up");
    let launch = world.launch();
    world.handle(Event::Exited {
        launch,
        exit: Exit::Signal(9),
        others: true,
        said: String::new(),
    });
    let began = world.now;
    let step = world.wait();
    assert_eq!(step.actions.iter().map(word).collect::<Vec<_>>(), ["kill"]);
    assert_eq!(world.now.since(began), policy().grace);
    world.handle(Event::Emptied { launch });
    // Its restart delay is over by now.
    assert_eq!(world.view().state, StateWord::Launching);
}

#[test]
fn a_stop_signals_then_kills_then_reports() {
    let mut world = situation("stopping");
    let (launch, exit) = (world.launch(), Exit::Signal(15));
    let step = world.handle(Event::Exited {
        launch,
        exit,
        others: true,
        said: String::new(),
    });
    assert_eq!(
        word(&step.actions[0]),
        "terminate",
        "those left behind are asked too"
    );
    assert_eq!(word(&world.wait().actions[0]), "kill");
    let killed_at = world.now;
    world.wait();
    assert_eq!(world.now, killed_at + KILL_LIMIT);
    assert_eq!(world.view().state, StateWord::Stuck);
    for _ in 0..STUCK_TRIES {
        assert_eq!(word(&world.wait().actions[0]), "kill");
    }
    assert_eq!(world.supervisor.next_deadline(), None);
    let step = world.handle(Event::Emptied { launch });
    assert_eq!(word(&step.actions[0]), "release");
}

#[test]
fn a_release_is_retried_and_then_left_to_the_operator() {
    let mut world = situation("stuck, network");
    for _ in 0..STUCK_TRIES {
        assert_eq!(word(&world.wait().actions[0]), "release");
        world = world.unreleased();
    }
    assert_eq!(world.supervisor.next_deadline(), None);
    assert!(!world.supervisor.is_finished());
    world.handle(Event::Shutdown);
    assert!(
        !world.supervisor.is_finished(),
        "a shutdown tries once more"
    );
    let tenant = world.name();
    world.handle(Event::Released { tenant });
    assert!(world.supervisor.is_finished());
}

#[test]
fn unexpected_events_change_nothing() {
    let mut world = situation("waiting");
    let over = crate::supervisor::event::LaunchId(1);
    let tenant = world.name();
    for event in [
        Event::Launched { launch: over },
        Event::Ready { launch: over },
        Event::Emptied { launch: over },
        Event::Provisioned {
            tenant: tenant.clone(),
        },
        Event::Released { tenant },
    ] {
        let before = world.view();
        assert_eq!(world.handle(event), Step::default());
        assert_eq!(world.view(), before);
    }
}

#[test]
fn thousands_due_together_start_in_order_as_the_budget_allows() {
    let one = |n: u32| NonZeroU32::new(n).unwrap();
    let limits = Limits {
        restarts_per_second: one(100),
        burst: one(500),
    };
    let mut supervisor = Supervisor::new(limits);
    let now = crate::supervisor::time::Moment::ZERO;
    let names: Vec<crate::name::TenantName> = (0..3_000)
        .map(|n| format!("t{n}").parse().unwrap())
        .collect();
    for tenant in &names {
        let tenant = tenant.clone();
        supervisor.handle(
            now,
            Event::Planned {
                tenant: tenant.clone(),
                policy: policy().into(),
                found: None,
            },
        );
        supervisor.handle(
            now,
            Event::Provisioned {
                tenant: tenant.clone(),
            },
        );
        let launch = supervisor.tenant(&tenant).unwrap().launch.unwrap();
        let why = super::why(crate::stage::Stage::Exec);
        supervisor.handle(now, Event::LaunchFailed { launch, why });
    }
    let due = supervisor.next_deadline().unwrap();
    assert_eq!(due, now + Duration::from_secs(1));
    let mut launched = Vec::new();
    while let Some(now) = supervisor.next_deadline() {
        let step = supervisor.handle_deadline(now);
        assert!(now > due || step.transitions.len() == 500);
        launched.extend(
            step.transitions
                .into_iter()
                .map(|transition| transition.tenant),
        );
    }
    assert_eq!(launched, names);
}

#[test]
fn a_tenant_is_small() {
    // Part of the 6 KB that a tenant may cost the daemon; names and reasons are additional.
    let size = size_of::<crate::supervisor::Slot>();
    assert!(size <= 512, "{size} bytes");
    println!("{size} bytes a tenant");
}
