//! Programs that end by themselves and are not restarted.

use super::*;
use crate::plan::effect::Effect;
use crate::plan::model::{RestartWhen, StopSignal, SuccessExit};
use crate::supervisor::Cause;
use crate::supervisor::checkpoint::{Checkpoint, Fate, Found, Resources};
use crate::supervisor::view::Why;

fn when(when: RestartWhen) -> Policy {
    Policy {
        restart: RestartPolicy {
            when,
            success: vec![
                SuccessExit::Status(143),
                SuccessExit::Signal(StopSignal {
                    number: 2,
                    name: "SIGINT".to_owned(),
                }),
            ],
            ..policy().restart
        },
        ..policy()
    }
}

fn released(mut world: World) -> (World, Step) {
    let tenant = world.name();
    let step = world.handle(Event::Released { tenant });
    (world, step)
}

/// A tenant whose program has ended with status 0.
fn exited() -> World {
    let world = World::new(when(RestartWhen::OnFailure)).provisioned();
    released(world.launched().ended(Exit::Status(0))).0
}

#[test]
fn what_is_wanted_stays_and_the_exit_is_shown() {
    for exit in [Exit::Status(0), Exit::Status(143), Exit::Signal(2)] {
        for policy in [RestartWhen::OnFailure, RestartWhen::Never] {
            let mut world = World::new(when(policy)).provisioned().launched();
            let launch = world.launch();
            world.handle(Event::Exited {
                launch,
                exit,
                others: false,
                said: String::new(),
            });
            let step = world.handle(Event::Emptied { launch });
            assert_eq!(step.transitions[0].cause, Cause::NotRestarted(exit));
            assert_eq!(world.view().state, StateWord::Releasing);
            let (world, step) = released(world);
            assert_eq!(step.transitions[0].to, StateWord::Exited);
            let view = world.view();
            assert_eq!((view.want, view.state), (Want::Up, StateWord::Exited));
            assert_eq!(view.why, Some(Why::Exit(exit)));
            assert_eq!(world.supervisor.next_deadline(), None);
        }
    }
    for exit in [Exit::Status(3), Exit::Signal(15), Exit::Unknown] {
        let world = World::new(when(RestartWhen::OnFailure)).provisioned();
        let state = world.launched().ended(exit).view().state;
        assert_eq!(state, StateWord::Waiting, "{exit:?}");
    }
}

#[test]
fn an_operator_starts_or_stops_it() {
    for verb in [Verb::Start, Verb::Restart] {
        let mut world = exited();
        let (answer, actions) = world.submit(verb);
        assert_eq!(answer, Answer::Accepted);
        assert_eq!(actions.iter().map(word).collect::<Vec<_>>(), ["provision"]);
        assert_eq!(world.view().why, None);
    }
    let mut world = exited();
    let (answer, actions) = world.submit(Verb::Stop);
    assert_eq!((answer, actions.len()), (Answer::Accepted, 0));
    assert_eq!(world.view().want, Want::Down);
    assert_eq!(world.view().state, StateWord::Down);
    // While it is being released, too.
    let world = World::new(when(RestartWhen::Never))
        .provisioned()
        .launched();
    let world = world.ended(Exit::Status(0)).requested(Verb::Start);
    let (world, _) = released(world);
    assert_eq!(world.view().state, StateWord::Provisioning);
}

#[test]
fn a_reload_leaves_it_unless_the_policy_now_restarts_it() {
    let replanned = |policy: Policy, effect| {
        let mut world = exited();
        let tenant = world.name();
        world.handle(Event::Replanned {
            tenant,
            policy: policy.into(),
            effect,
            apply: false,
        });
        world.view().state
    };
    for effect in [Effect::Live, Effect::Relaunch, Effect::Reprovision] {
        let same = when(RestartWhen::OnFailure);
        assert_eq!(replanned(same, effect), StateWord::Exited);
        let always = when(RestartWhen::Always);
        assert_eq!(replanned(always, effect), StateWord::Provisioning);
    }
    let mut world = exited();
    let tenant = world.name();
    let step = world.handle(Event::Removed { tenant });
    assert_eq!(
        step.actions.iter().map(word).collect::<Vec<_>>(),
        ["remove"]
    );
}

fn resumed(policy: Policy, checkpoint: Checkpoint) -> View {
    let mut supervisor = Supervisor::new(Limits::default());
    let tenant: TenantName = "acme".parse().unwrap();
    let found = Found {
        checkpoint,
        fate: Fate::Over(Exit::Unknown),
        resources: Resources::None,
        outdated: None,
        applied: true,
    };
    let now = Moment::ZERO + Duration::from_secs(9_000);
    supervisor.handle(
        now,
        Event::Planned {
            tenant: tenant.clone(),
            policy: policy.into(),
            found: Some(Box::new(found)),
        },
    );
    supervisor.tenant(&tenant).unwrap()
}

#[test]
fn it_survives_the_supervisor() {
    let world = exited();
    let checkpoint = world.supervisor.checkpoint(&world.name()).unwrap();
    assert_eq!(checkpoint.want, Want::Down);
    assert!(checkpoint.requested && !checkpoint.is_nothing());
    for autostart in [true, false] {
        let policy = Policy {
            autostart,
            ..when(RestartWhen::OnFailure)
        };
        assert_eq!(resumed(policy, checkpoint.clone()), world.view());
    }
    let view = resumed(when(RestartWhen::Always), checkpoint);
    assert_eq!((view.want, view.state), (Want::Up, StateWord::Provisioning));
}

/// The next supervisor after a full stop starts what is wanted up, unless it exited.
#[test]
fn a_shutdown_shows_it_down_and_its_record_keeps_it() {
    let mut world = exited();
    world.handle(Event::Shutdown);
    assert_eq!(world.view().state, StateWord::Down);
    assert!(world.supervisor.is_finished());
    let checkpoint = world.supervisor.checkpoint(&world.name()).unwrap();
    assert_eq!(checkpoint.exited, Some(Exit::Status(0)));
}

#[test]
fn never_also_holds_for_what_cannot_be_executed() {
    for (stage, errno) in [(Stage::Exec, libc::EACCES), (Stage::Program, libc::ENOENT)] {
        let mut world = World::new(when(RestartWhen::Never)).provisioned();
        let launch = world.launch();
        let why = Failure::errno(stage, "/x", errno);
        world.handle(Event::LaunchFailed { launch, why });
        assert_eq!(world.view().state, StateWord::Failed, "{stage:?}");
    }
    // What passes has nothing to do with the program.
    let mut world = World::new(when(RestartWhen::Never)).provisioned();
    let launch = world.launch();
    let why = Failure::errno(Stage::Clone, "", libc::EAGAIN);
    world.handle(Event::LaunchFailed { launch, why });
    assert_eq!(world.view().state, StateWord::Waiting);
}
