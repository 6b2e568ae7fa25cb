//! Programs that say that they are stopping.

use super::*;
use crate::plan::model::RestartWhen;
use crate::supervisor::Cause;
use crate::supervisor::view::Why;

/// One that runs, is not restarted after success, and has said it.
fn stopping() -> World {
    let mut world = World::new(Policy {
        restart: RestartPolicy {
            when: RestartWhen::OnFailure,
            ..policy().restart
        },
        ..policy()
    })
    .provisioned()
    .launched();
    let launch = world.launch();
    let step = world.handle(Event::SaysStopping { launch });
    assert!(step.actions.is_empty());
    assert_eq!(world.view().state, StateWord::Stopping);
    assert_eq!(world.view().why, None);
    world
}

fn words(step: &Step) -> Vec<&'static str> {
    step.actions.iter().map(word).collect()
}

#[test]
fn its_exit_decides() {
    let mut world = stopping().ended(Exit::Status(0));
    let tenant = world.name();
    world.handle(Event::Released { tenant });
    assert_eq!(world.view().state, StateWord::Exited);
    let world = stopping().ended(Exit::Status(1));
    assert_eq!(world.view().state, StateWord::Waiting);
    assert_eq!(world.view().why, Some(Why::Exit(Exit::Status(1))));
}

#[test]
fn what_it_leaves_is_stopped() {
    let mut world = stopping();
    let launch = world.launch();
    let step = world.handle(Event::MainExited {
        launch,
        exit: Exit::Status(0),
        others: true,
    });
    assert_eq!(words(&step), ["terminate"]);
    assert_eq!(world.view().why, Some(Why::Exit(Exit::Status(0))));
}

#[test]
fn one_that_does_not_stop_has_failed() {
    let mut world = stopping();
    let step = world.wait();
    assert_eq!(words(&step), ["terminate"]);
    let said = &step.transitions[0].cause;
    assert_eq!(*said, Cause::StillRuns(policy().grace));
    let step = world.wait();
    assert_eq!(words(&step), ["kill"]);
    // Its own time before does not count.
    let forced = world.view().forced.unwrap();
    assert_eq!(forced.grace, Some(policy().grace));
    // Also if it exits with success now. Its delay is over already.
    let world = world.ended(Exit::Status(0));
    assert_eq!(world.view().state, StateWord::Launching);
    assert_eq!(world.view().restarts, 1);
}

#[test]
fn a_requested_stop_asks_it() {
    for verb in [Verb::Stop, Verb::Restart] {
        let mut world = stopping();
        let (_, actions) = world.submit(verb);
        assert_eq!(actions.iter().map(word).collect::<Vec<_>>(), ["terminate"]);
        assert_eq!(world.view().state, StateWord::Stopping);
    }
}

#[test]
fn without_a_grace_nothing_changes() {
    let mut world = World::new(Policy {
        grace: Duration::ZERO,
        ..policy()
    })
    .provisioned()
    .launched();
    let launch = world.launch();
    assert_eq!(
        world.handle(Event::SaysStopping { launch }),
        Step::default()
    );
}
