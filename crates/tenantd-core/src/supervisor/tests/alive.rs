//! Programs that were ready and no longer answer.

use super::*;
use crate::plan::alive::{Alive, Probe};
use crate::plan::model::{Readiness, RestartWhen};
use crate::supervisor::view::Why;

fn probed() -> Policy {
    Policy {
        alive: Some(Alive {
            probe: Probe::Tcp(80),
            interval: Duration::from_secs(10),
            timeout: Duration::from_secs(5),
            failures: 3,
        }),
        ..Policy::default()
    }
}

fn not_alive(world: &mut World) -> Step {
    let launch = world.launch();
    let why = Failure::detail(Stage::Alive, "port 80", "no answer within 5 s");
    world.handle(Event::NotAlive { launch, why })
}

#[test]
fn a_program_that_hangs_is_stopped_and_started_again() {
    let mut world = World::new(probed()).provisioned().launched();
    world.now = world.now + Duration::from_secs(1_000);
    let step = not_alive(&mut world);
    assert_eq!(
        step.actions.iter().map(word).collect::<Vec<_>>(),
        ["terminate"]
    );
    assert_eq!(world.view().state, StateWord::Stopping);
    assert!(matches!(world.view().why, Some(Why::Failure(why)) if why.stage == Stage::Alive));
    // A second report is late.
    assert_eq!(not_alive(&mut world), Step::default());
    let world = world.ended(Exit::Signal(15));
    assert_eq!(world.view().state, StateWord::Launching);
    assert_eq!(world.view().restarts, 1);
}

#[test]
fn a_program_that_is_not_ready_is_not_asked() {
    let mut world = World::new(Policy {
        ready: Readiness::Tcp(80),
        ..probed()
    })
    .provisioned()
    .launched();
    assert_eq!(not_alive(&mut world), Step::default());
    assert_eq!(world.view().state, StateWord::Up);
}

/// It hangs as soon as it is ready. Few such launches fit into a window.
#[test]
fn a_program_that_hangs_each_time_is_given_up() {
    let mut world = World::new(probed()).provisioned();
    let mut launches = 0;
    while world.view().state != StateWord::Failed {
        if world.view().state == StateWord::Waiting {
            world.wait();
        }
        world = world.launched();
        world.now = world.now + Duration::from_secs(40);
        not_alive(&mut world);
        world = world.ended(Exit::Signal(15));
        launches += 1;
        assert!(launches < 100, "it is started for ever");
    }
    assert_eq!(launches, Policy::default().restart.strikes);
}

#[test]
fn the_policy_decides() {
    let mut world = World::new(Policy {
        restart: RestartPolicy {
            when: RestartWhen::Never,
            ..Policy::default().restart
        },
        ..probed()
    })
    .provisioned()
    .launched();
    not_alive(&mut world);
    // Also if it then exits with success.
    let world = world.ended(Exit::Status(0));
    assert_eq!(world.view().state, StateWord::Failed);
}
