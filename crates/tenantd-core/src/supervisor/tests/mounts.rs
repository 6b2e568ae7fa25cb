//! A mount of a running launch is lost.

use std::time::Duration;

use super::{World, policy, situation, word};
use crate::plan::model::{Policy, RestartPolicy, RestartWhen};
use crate::stage::{Failure, Stage};
use crate::supervisor::event::{Event, Exit, Verb};
use crate::supervisor::view::{StateWord, Want};
use crate::supervisor::{Cause, Step};

fn lost(world: &mut World) -> Step {
    let launch = world.launch();
    let why = Failure::detail(
        Stage::Mounted,
        "/var/lib/redis",
        "it was removed on the host",
    );
    world.handle(Event::MountLost { launch, why })
}

#[test]
fn a_lost_mount_ends_the_launch_and_starts_another_with_the_reason() {
    let mut world = situation("up");
    world.now = world.now + Duration::from_secs(5);
    let step = lost(&mut world);
    assert_eq!(
        step.actions.iter().map(word).collect::<Vec<_>>(),
        ["terminate"]
    );
    assert!(matches!(&step.transitions[0].cause, Cause::Failed(_)));
    let why = world.view().why.unwrap().to_string();
    assert!(
        why.starts_with("cannot keep the mount at /var/lib/redis: it was removed"),
        "{why}"
    );
    // More events of the same burst change nothing.
    assert_eq!(lost(&mut world), Step::default());
    let world = world.ended(Exit::Status(0));
    assert_eq!(world.view().state, StateWord::Launching);
    assert_eq!(world.view().restarts, 1);
}

#[test]
fn a_lost_mount_is_a_strike_unless_the_launch_was_healthy() {
    let mut world = situation("up");
    for _ in 0..2 {
        lost(&mut world);
        world = world.ended(Exit::Status(0));
        world.wait();
        world = world.launched();
    }
    lost(&mut world);
    let world = world.ended(Exit::Status(0));
    assert_eq!(world.view().state, StateWord::Failed);
    let mut world = situation("up");
    for _ in 0..9 {
        world.now = world.now + policy().restart.healthy_after;
        lost(&mut world);
        world = world.ended(Exit::Status(0));
        assert_eq!(world.view().state, StateWord::Launching);
        world = world.launched();
    }
}

#[test]
fn a_program_that_is_not_restarted_fails_with_the_reason() {
    let restart = RestartPolicy {
        when: RestartWhen::Never,
        ..policy().restart
    };
    let world = World::new(Policy {
        restart,
        ..policy()
    });
    let mut world = world.provisioned().launched();
    lost(&mut world);
    let view = world.ended(Exit::Status(0)).view();
    assert_eq!((view.state, view.want), (StateWord::Failed, Want::Up));
    assert!(view.why.unwrap().to_string().contains("/var/lib/redis"));
}

#[test]
fn what_is_ending_ends_as_it_was() {
    let mut world = situation("stopping");
    assert_eq!(lost(&mut world), Step::default());
    let mut world = situation("restarting").requested(Verb::Restart);
    assert_eq!(lost(&mut world), Step::default());
    let mut world = situation("launching");
    lost(&mut world);
    let launch = world.launch();
    let step = world.handle(Event::Launched { launch });
    assert_eq!(
        step.actions.iter().map(word).collect::<Vec<_>>(),
        ["terminate"]
    );
}
