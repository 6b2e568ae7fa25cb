//! Starts that never become ready: they are strikes like any other, and the last failure is shown.

use super::*;
use crate::plan::model::Readiness;
use crate::supervisor::checkpoint::Fate;
use crate::supervisor::view::Why;

/// With the strikes and the window of a manifest that does not set them.
fn deaf() -> Policy {
    Policy {
        ready: Readiness::Tcp(80),
        ..Policy::default()
    }
}

/// Lets each start run until something is due, and end by what follows. Returns the launches.
fn launches_until_failed(mut world: World, mut end: impl FnMut(World) -> World) -> u32 {
    for launches in 1..=100 {
        world = end(world.launched());
        match world.view().state {
            StateWord::Failed => return launches,
            StateWord::Waiting => drop(world.wait()),
            _ => {}
        }
    }
    panic!("it is started for ever");
}

#[test]
fn a_program_that_never_becomes_ready_is_given_up() {
    let world = World::new(deaf()).provisioned();
    let tries = launches_until_failed(world, |mut world| {
        world.wait();
        assert_eq!(world.view().state, StateWord::Stopping);
        world.ended(Exit::Signal(15))
    });
    assert_eq!(tries, Policy::default().restart.strikes);
}

/// It runs longer than `healthy_after`, but never was healthy.
#[test]
fn a_program_that_ends_before_it_is_ready_is_given_up() {
    let world = World::new(deaf()).provisioned();
    let tries = launches_until_failed(world, |mut world| {
        world.now = world.now + Duration::from_secs(15);
        world.ended(Exit::Status(1))
    });
    assert_eq!(tries, Policy::default().restart.strikes);
}

#[test]
fn the_next_supervisor_knows_the_last_failure_and_what_was_not_ready() {
    let failed = || {
        let mut world = World::new(deaf()).provisioned().launched();
        world.wait();
        let world = world.ended(Exit::Signal(15));
        assert_eq!(world.view().state, StateWord::Launching);
        world
    };
    let (world, _) = failed().next(deaf(), Fate::Over(Exit::Unknown));
    assert!(matches!(&world.view().why, Some(Why::Failure(why)) if why.stage == Stage::Ready));

    // Longer than `healthy_after`, but it never was ready.
    let mut world = failed().launched();
    world.now = world.now + Duration::from_secs(15);
    let strikes = world.checkpoint().strikes.count;
    let (world, _) = world.next(deaf(), Fate::Over(Exit::Status(1)));
    assert_eq!(world.checkpoint().strikes.count, strikes + 1);
    let mut world = failed().launched();
    let launch = world.launch();
    world.handle(Event::Ready { launch });
    world.now = world.now + Duration::from_secs(15);
    let (world, _) = world.next(deaf(), Fate::Over(Exit::Status(1)));
    assert_eq!(world.checkpoint().strikes.count, 1);
}

#[test]
fn the_last_failure_is_shown_until_the_tenant_is_ready() {
    let mut world = World::new(deaf()).provisioned().launched();
    world.wait();
    let mut world = world.ended(Exit::Signal(15));
    let is_ready_failure =
        |why: &Option<Why>| matches!(why, Some(Why::Failure(why)) if why.stage == Stage::Ready);
    assert_eq!(world.view().state, StateWord::Launching);
    assert!(is_ready_failure(&world.view().why), "{:?}", world.view());
    let world_up = world.launched();
    assert!(is_ready_failure(&world_up.view().why));
    world = world_up;
    let launch = world.launch();
    world.handle(Event::Ready { launch });
    assert_eq!(world.view().why, None);

    // An operator's request forgets it.
    let mut world = World::new(deaf()).provisioned().launched();
    world.wait();
    let world = world.ended(Exit::Signal(15)).launched();
    let world = world.requested(Verb::Restart).ended(Exit::Signal(15));
    assert_eq!(world.view().state, StateWord::Launching);
    assert_eq!(world.view().why, None);
}
