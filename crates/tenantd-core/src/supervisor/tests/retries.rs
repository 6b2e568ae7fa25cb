//! How often a failed provision or launch is retried.

use super::*;
use crate::plan::effect::Effect;
use crate::supervisor::Cause;
use crate::supervisor::view::Why;

/// Strikes that no test here reaches.
fn patient() -> Policy {
    Policy {
        restart: RestartPolicy {
            strikes: 20,
            ..policy().restart
        },
        ..policy()
    }
}

impl World {
    fn launch_failed(&mut self, stage: Stage, errno: i32) -> Step {
        let launch = self.launch();
        let why = Failure::errno(stage, "/x", errno);
        self.handle(Event::LaunchFailed { launch, why })
    }
}

#[test]
fn what_no_retry_can_mend_fails_at_once() {
    let mut world = World::new(patient()).provisioned();
    let step = world.launch_failed(Stage::Exec, libc::ENOEXEC);
    assert_eq!(world.view().state, StateWord::Failed);
    assert_eq!(world.supervisor.next_deadline(), None);
    assert!(matches!(
        &step.transitions[0].cause,
        Cause::GivenUp(Why::Failure(why)) if why.errno == libc::ENOEXEC
    ));
    let mut world = World::new(patient());
    let tenant = world.name();
    let why = Failure::errno(Stage::Datastore, "/x", libc::ENOTDIR);
    world.handle(Event::ProvisionFailed { tenant, why });
    assert_eq!(world.view().state, StateWord::Failed);
}

#[test]
fn what_passes_is_retried_by_the_policy() {
    let mut world = World::new(patient()).provisioned();
    for _ in 0..12 {
        world.launch_failed(Stage::Clone, libc::EAGAIN);
        assert_eq!(world.view().state, StateWord::Waiting);
        world.wait();
    }
}

#[test]
fn a_missing_program_is_retried_for_some_seconds() {
    let mut world = World::new(patient()).provisioned();
    let begun = world.now;
    let mut tries = 1;
    loop {
        world.launch_failed(Stage::Program, libc::ENOENT);
        if world.view().state == StateWord::Failed {
            break;
        }
        world.wait();
        tries += 1;
    }
    assert_eq!(tries, 5);
    assert_eq!(world.now.since(begun), Duration::from_secs(15));
    // It comes back in time.
    let mut world = World::new(patient()).provisioned();
    world.launch_failed(Stage::Program, libc::ENOENT);
    world.wait();
    let world = world.launched();
    assert_eq!(world.view().state, StateWord::Up);
    // Also with a policy that does not wait.
    let mut world = World::new(Policy {
        restart: RestartPolicy {
            delay: Duration::ZERO,
            ..patient().restart
        },
        ..patient()
    })
    .provisioned();
    let begun = world.now;
    for seconds in [1, 3, 7, 15] {
        world.launch_failed(Stage::Program, libc::ENOENT);
        world.wait();
        assert_eq!(world.now.since(begun), Duration::from_secs(seconds));
    }
    world.launch_failed(Stage::Program, libc::ENOENT);
    assert_eq!(world.view().state, StateWord::Failed);
}

#[test]
fn a_changed_manifest_tries_again_what_could_not_be_started() {
    let failed = || {
        let mut world = World::new(patient()).provisioned();
        world.launch_failed(Stage::Limits, libc::EPERM);
        assert_eq!(world.view().state, StateWord::Failed);
        world
    };
    for (effect, apply) in [
        (Effect::Relaunch, false),
        (Effect::Reprovision, false),
        // A limit is changed live.
        (Effect::Live, true),
    ] {
        let mut world = failed();
        let actions = world.changed(effect, apply);
        assert_eq!(actions.len(), 1, "{effect:?}");
        assert!(world.view().state != StateWord::Failed, "{effect:?}");
    }
    // What touches no process does not concern its start.
    assert_eq!(failed().changed(Effect::Live, false), []);
    let (answer, actions) = failed().submit(Verb::Start);
    assert_eq!(answer, Answer::Accepted);
    assert_eq!(word(&actions[0]), "launch");
}

#[test]
fn given_up_tenants_are_tried_again_when_their_manifest_changed() {
    for name in ["failed", "failed, unprovisioned"] {
        let mut world = situation(name);
        assert_eq!(world.changed(Effect::Relaunch, false).len(), 1, "{name}");
        assert!(world.view().state != StateWord::Failed, "{name}");
    }
    // A program that ended too often was started: only what a start reads can help.
    assert_eq!(situation("failed").changed(Effect::Live, true), []);
}
