//! Commands of `exec --offline`.

use super::*;
use crate::plan::effect::Effect;
use crate::supervisor::Cause;
use crate::supervisor::offline::Offline;

/// Its client waits for the transition that says so.
#[test]
fn the_end_of_its_launch_is_said_also_if_the_program_is_launched_at_once() {
    let mut world = World::new(policy()).failed();
    let tenant = world.name();
    let offline = Offline {
        client: 4711,
        command: "fsck".to_owned(),
    };
    let (answer, _) = world.supervisor.exec_offline(world.now, &tenant, offline);
    assert_eq!(answer, Answer::Accepted);
    let mut world = world.provisioned();
    world.changed(Effect::Relaunch, false);
    assert!(world.view().offline.is_some());
    let launch = world.launch();
    let why = why(Stage::Clone);
    let step = world.handle(Event::LaunchFailed {
        launch,
        why: why.clone(),
    });
    let said: Vec<_> = step
        .transitions
        .iter()
        .map(|it| (it.from, it.to, it.cause.clone()))
        .collect();
    let launching = StateWord::Launching;
    assert_eq!(said, [(launching, launching, Cause::Failed(why))]);
    assert_eq!(world.view().offline, None);
}
