//! Programs that put themselves into the background, while their policy does not say so.

use super::*;
use crate::plan::model::RestartWhen;
use crate::supervisor::Cause;
use crate::supervisor::view::Why;

/// A tenant whose first process exits this long after its start, while others run.
fn left(policy: Policy, lived: Duration, exit: Exit) -> (World, Step) {
    let mut world = World::new(policy).provisioned().launched();
    let launch = world.launch();
    world.now = world.now + lived;
    let step = world.handle(Event::Exited {
        launch,
        exit,
        others: true,
        said: String::new(),
    });
    world.handle(Event::Emptied { launch });
    (world, step)
}

fn stage(world: &World) -> Option<Stage> {
    match world.view().why {
        Some(Why::Failure(failure)) => Some(failure.stage),
        Some(Why::Exit(_)) | None => None,
    }
}

#[test]
fn the_reason_says_what_to_set() {
    let soon = Duration::from_millis(50);
    let (world, step) = left(policy(), soon, Exit::Status(0));
    assert_eq!(
        step.transitions[0].cause,
        Cause::LeftOthers(Exit::Status(0))
    );
    assert_eq!(
        world.view().why.unwrap().to_string(),
        "cannot follow the program into the background: its first process exited with status 0 and \
         left others running [set daemonizes = true, or have it stay in the foreground]"
    );
    // It has failed, or has run for so long that it simply ended.
    assert_eq!(stage(&left(policy(), soon, Exit::Status(1)).0), None);
    let late = Duration::from_secs(61);
    assert_eq!(stage(&left(policy(), late, Exit::Status(0)).0), None);
}

#[test]
fn it_is_no_failure_where_status_0_is_none() {
    let mut policy = policy();
    policy.restart.when = RestartWhen::OnFailure;
    let (mut world, _) = left(policy, Duration::from_millis(50), Exit::Status(0));
    let tenant = world.name();
    world.handle(Event::Released { tenant });
    assert_eq!(world.view().state, StateWord::Exited);
    assert_eq!(stage(&world), Some(Stage::Background));
    // The next supervisor knows how it ended.
    let checkpoint = world.supervisor.checkpoint(&world.name()).unwrap();
    assert_eq!(checkpoint.exited, Some(Exit::Status(0)));
    assert!(checkpoint.left_others);
    let (answer, _) = world.submit(Verb::Start);
    assert_eq!((answer, world.view().why), (Answer::Accepted, None));
}

#[test]
fn a_corrected_manifest_starts_it_again() {
    let mut strict = policy();
    strict.restart.strikes = 1;
    for daemonizes in [true, false] {
        let (mut world, _) = left(strict.clone(), Duration::from_millis(50), Exit::Status(0));
        assert_eq!(world.view().state, StateWord::Failed);
        let tenant = world.name();
        world.handle(Event::Replanned {
            tenant,
            policy: std::sync::Arc::new(Policy {
                daemonizes,
                ..strict.clone()
            }),
            effect: crate::plan::effect::Effect::Live,
            apply: false,
        });
        let is_started = world.view().state == StateWord::Launching;
        assert_eq!(is_started, daemonizes);
    }
}
