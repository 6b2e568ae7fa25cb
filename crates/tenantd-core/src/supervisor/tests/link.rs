//! The link of a tenant is lost.

use std::time::Duration;

use super::{World, policy, situation, word};
use crate::plan::model::{Policy, RestartPolicy, RestartWhen};
use crate::stage::{Failure, Stage};
use crate::supervisor::event::{Event, Exit, Verb};
use crate::supervisor::view::{StateWord, Want};
use crate::supervisor::{Cause, Step};

fn lost(world: &mut World) -> Step {
    let tenant = world.name();
    let why = Failure::detail(Stage::Linked, "td12", "it was deleted on the host");
    world.handle(Event::LinkLost { tenant, why })
}

fn words(step: &Step) -> Vec<&'static str> {
    step.actions.iter().map(word).collect()
}

fn released(mut world: World) -> World {
    let tenant = world.name();
    assert_eq!(world.view().state, StateWord::Releasing);
    world.handle(Event::Released { tenant });
    world
}

#[test]
fn a_lost_link_ends_the_launch_and_provisions_again() {
    let mut world = situation("up");
    world.now = world.now + Duration::from_secs(5);
    let step = lost(&mut world);
    assert_eq!(words(&step), ["terminate"]);
    assert!(matches!(&step.transitions[0].cause, Cause::Failed(_)));
    assert_eq!(lost(&mut world), Step::default());
    let world = released(world.ended(Exit::Status(0)));
    assert_eq!(world.view().state, StateWord::Provisioning);
    // The next loss is another one.
    let mut world = world.provisioned().launched();
    world.now = world.now + Duration::from_secs(5);
    let world = world.ended(Exit::Status(1));
    assert_eq!(world.view().state, StateWord::Launching);
}

#[test]
fn a_link_that_is_deleted_again_and_again_fails_the_tenant() {
    let mut world = situation("up");
    for _ in 0..2 {
        lost(&mut world);
        world = world.ended(Exit::Status(0));
        world.wait();
        world = released(world).provisioned().launched();
    }
    lost(&mut world);
    let mut world = world.ended(Exit::Status(0));
    assert_eq!(world.view().state, StateWord::Failed);
    // Nothing is launched without a link.
    assert_eq!(
        world
            .submit(Verb::Start)
            .1
            .iter()
            .map(word)
            .collect::<Vec<_>>(),
        ["release"]
    );
}

#[test]
fn a_tenant_that_waits_is_provisioned_again_when_its_time_comes() {
    let mut world = situation("up").ended(Exit::Status(1));
    if world.view().state != StateWord::Waiting {
        world = world.launched().ended(Exit::Status(1));
    }
    assert_eq!(lost(&mut world), Step::default());
    assert_eq!(words(&world.wait()), ["release"]);
}

#[test]
fn a_program_that_is_not_restarted_fails_with_the_reason() {
    let restart = RestartPolicy {
        when: RestartWhen::Never,
        ..policy().restart
    };
    let mut world = World::new(Policy {
        restart,
        ..policy()
    })
    .provisioned()
    .launched();
    lost(&mut world);
    let view = world.ended(Exit::Status(0)).view();
    assert_eq!((view.state, view.want), (StateWord::Failed, Want::Up));
    assert!(
        view.why
            .unwrap()
            .to_string()
            .starts_with("cannot keep the link td12: ")
    );
}

#[test]
fn a_loss_while_it_is_stopped_or_started_is_not_forgotten() {
    for name in ["stopping", "releasing", "down", "provisioning"] {
        assert_eq!(lost(&mut situation(name)), Step::default(), "{name}");
    }
    let mut world = situation("restarting");
    lost(&mut world);
    let world = world.ended(Exit::Status(0));
    assert_eq!(world.view().state, StateWord::Releasing);
    let mut world = situation("launching");
    assert_eq!(lost(&mut world), Step::default());
    let mut world = world.launched().ended(Exit::Status(0));
    world.wait();
    assert_eq!(world.view().state, StateWord::Releasing);
}
