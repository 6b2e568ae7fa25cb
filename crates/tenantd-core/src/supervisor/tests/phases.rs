//! The commands before the program: in which order they run, and what follows when one fails or is
//! interrupted.

use std::time::Duration;

use super::found::{OVER, words};
use super::{World, policy, why, word};
use crate::plan::effect::Effect;
use crate::plan::model::Policy;
use crate::plan::phase::{Phase, PhasePolicies, PhasePolicy};
use crate::stage::Stage;
use crate::supervisor::action::{Action, Answer};
use crate::supervisor::checkpoint::{Fate, Found, Resources};
use crate::supervisor::event::{Event, Exit, Verb};
use crate::supervisor::view::{StateWord, Want};
use crate::supervisor::{Cause, Step};

fn phased(init: bool, before: bool) -> Policy {
    let command = |program: &str, within| PhasePolicy {
        program: program.into(),
        within: Duration::from_secs(within),
    };
    Policy {
        phases: PhasePolicies {
            init: init.then(|| command("/bin/init", 300)),
            before: before.then(|| command("/bin/before", 60)),
        },
        ..policy()
    }
}

/// The phase that a step launches.
fn launched(step: &Step) -> Option<Phase> {
    phase(&step.actions)
}

fn phase(actions: &[Action]) -> Option<Phase> {
    actions.iter().find_map(|action| match action {
        Action::Launch { phase, .. } => Some(*phase),
        _ => None,
    })
}

impl World {
    fn phased(init: bool, before: bool) -> Self {
        World::new(phased(init, before)).provisioned()
    }

    fn state(&self) -> StateWord {
        self.view().state
    }

    fn why(&self) -> String {
        self.view()
            .why
            .map(|why| why.to_string())
            .unwrap_or_default()
    }

    fn exits(&mut self, exit: Exit, others: bool, said: &str) -> Step {
        let (launch, said) = (self.launch(), said.to_owned());
        self.handle(Event::Exited {
            launch,
            exit,
            others,
            said,
        })
    }

    fn empties(&mut self) -> Step {
        let launch = self.launch();
        self.handle(Event::Emptied { launch })
    }

    fn is_concluded(&mut self) -> Step {
        let launch = self.launch();
        self.handle(Event::Concluded { launch })
    }
}

#[test]
fn the_program_follows_on_both_commands() {
    let mut world = World::phased(true, true).launched();
    assert_eq!(world.state(), StateWord::Initializing);
    assert_eq!(world.view().ready, Some(false));
    world.now = world.now + Duration::from_millis(1_200);
    let step = world.exits(Exit::Status(0), false, "ok");
    let finished = step.transitions[0].cause.to_string();
    assert_eq!(finished, "its init command finished in 1.2 s");
    assert_eq!(world.state(), StateWord::Initializing);
    assert_eq!(words(&world.empties()), "conclude");
    let step = world.is_concluded();
    assert_eq!(launched(&step), Some(Phase::Before));
    world = world.launched();
    assert_eq!(world.state(), StateWord::Preparing);
    assert_eq!(words(&world.exits(Exit::Status(0), false, "")), "-");
    let step = world.empties();
    assert_eq!(launched(&step), Some(Phase::Main));
    assert_eq!(world.state(), StateWord::Launching);
    assert_eq!(world.launched().view().ready, Some(true));
}

#[test]
fn a_datastore_that_is_not_new_is_not_initialized() {
    let mut world = World::phased(true, false);
    let launch = world.launch();
    let step = world.handle(Event::Skipped { launch });
    assert_eq!(launched(&step), Some(Phase::Main));
    assert_eq!(world.handle(Event::Skipped { launch }), Step::default());
}

#[test]
fn each_start_runs_the_command_before_it() {
    let mut world = World::phased(false, true).launched();
    world.exits(Exit::Status(0), false, "");
    world.empties();
    let mut world = world.launched().ended(Exit::Status(3));
    assert_eq!(world.state(), StateWord::Waiting);
    assert_eq!(launched(&world.wait()), Some(Phase::Before));
}

#[test]
fn a_failed_init_command_fails_the_tenant_until_somebody_acts() {
    let mut world = World::phased(true, true).launched();
    world.exits(Exit::Status(1), false, "no space");
    assert_eq!(words(&world.empties()), "clear");
    world.is_concluded();
    assert_eq!(world.state(), StateWord::Failed);
    let why = "cannot initialize the datastore with /bin/init: exited with status 1: no space";
    assert_eq!(world.why(), why);
    assert_eq!(world.supervisor.next_deadline(), None);
    let (answer, actions) = world.submit(Verb::Start);
    assert_eq!(answer, Answer::Accepted);
    assert_eq!(phase(&actions), Some(Phase::Init));
}

#[test]
fn a_changed_manifest_tries_a_failed_init_command_again() {
    let mut world = World::phased(true, false).launched();
    world.exits(Exit::Signal(9), false, "");
    world.empties();
    world.is_concluded();
    let tenant = world.name();
    let step = world.handle(Event::Replanned {
        tenant,
        policy: phased(true, false).into(),
        effect: Effect::Live,
        apply: false,
    });
    assert_eq!(launched(&step), Some(Phase::Init));
}

#[test]
fn an_init_command_that_cannot_be_executed_fails_the_tenant() {
    let mut world = World::phased(true, false);
    let launch = world.launch();
    let step = world.handle(Event::LaunchFailed {
        launch,
        why: why(Stage::Exec),
    });
    assert_eq!(words(&step), "clear");
    world.is_concluded();
    assert_eq!(world.state(), StateWord::Failed);
    // Any other stage may succeed later.
    let mut world = World::phased(true, false);
    let launch = world.launch();
    world.handle(Event::LaunchFailed {
        launch,
        why: why(Stage::Lock),
    });
    world.is_concluded();
    assert_eq!(world.state(), StateWord::Waiting);
}

#[test]
fn a_failed_command_before_the_program_is_a_strike() {
    let mut world = World::phased(false, true);
    for _ in 0..2 {
        world = world.launched();
        world.exits(Exit::Status(2), false, "bad config");
        assert_eq!(words(&world.empties()), "-");
        assert_eq!(world.state(), StateWord::Waiting);
        let why = "cannot prepare the start with /bin/before: exited with status 2: bad config";
        assert_eq!(world.why(), why);
        assert_eq!(launched(&world.wait()), Some(Phase::Before));
    }
    world = world.launched().ended(Exit::Status(2));
    assert_eq!(world.state(), StateWord::Failed);
}

#[test]
fn a_command_has_a_time_limit() {
    let mut world = World::phased(true, false).launched();
    assert_eq!(words(&world.wait()), "terminate");
    assert_eq!(world.state(), StateWord::Stopping);
    assert_eq!(words(&world.wait()), "kill");
    world.exits(Exit::Signal(9), false, "");
    assert_eq!(words(&world.empties()), "clear");
    world.is_concluded();
    assert_eq!(world.state(), StateWord::Failed);
    let why = "cannot initialize the datastore with /bin/init: not finished within 300 s";
    assert_eq!(world.why(), why);
}

#[test]
fn a_stop_ends_a_command_and_empties_the_datastore() {
    let mut world = World::phased(true, false).launched();
    let (_, actions) = world.submit(Verb::Stop);
    assert_eq!(actions.iter().map(word).collect::<Vec<_>>(), ["terminate"]);
    // Even a success does not count any more: it was told to end.
    world.exits(Exit::Status(0), false, "");
    assert_eq!(words(&world.empties()), "clear");
    assert_eq!(words(&world.is_concluded()), "release");
}

#[test]
fn a_stop_after_the_command_has_succeeded_loses_nothing() {
    let mut world = World::phased(true, false).launched();
    world.exits(Exit::Status(0), false, "");
    world.submit(Verb::Stop);
    assert_eq!(words(&world.empties()), "conclude");
    assert_eq!(words(&world.is_concluded()), "release");
    // And neither does another start meanwhile.
    let mut world = World::phased(true, false).launched();
    world.exits(Exit::Status(0), false, "");
    world.submit(Verb::Restart);
    assert_eq!(words(&world.empties()), "conclude");
    assert_eq!(launched(&world.is_concluded()), Some(Phase::Main));
}

#[test]
fn what_a_command_leaves_running_is_stopped() {
    let mut world = World::phased(true, false).launched();
    assert_eq!(words(&world.exits(Exit::Status(0), true, "")), "terminate");
    assert_eq!(world.state(), StateWord::Initializing);
    assert_eq!(words(&world.empties()), "conclude");
}

#[test]
fn a_success_that_cannot_be_recorded_is_tried_again() {
    let mut world = World::phased(true, false).launched();
    world.exits(Exit::Status(0), false, "");
    world.empties();
    let launch = world.launch();
    world.handle(Event::ConcludeFailed {
        launch,
        why: why(Stage::Datastore),
    });
    assert_eq!(world.state(), StateWord::Waiting);
    assert_eq!(launched(&world.wait()), Some(Phase::Init));
}

#[test]
fn a_datastore_that_cannot_be_emptied_shows_both_reasons() {
    let mut world = World::phased(true, false).launched();
    world.exits(Exit::Status(1), false, "");
    world.empties();
    let launch = world.launch();
    world.handle(Event::ConcludeFailed {
        launch,
        why: why(Stage::Datastore),
    });
    assert_eq!(world.state(), StateWord::Failed);
    assert!(
        world
            .why()
            .contains("exited with status 1; afterwards: cannot prepare the datastore")
    );
}

#[test]
fn the_next_supervisor_continues_a_command() {
    let world = World::phased(true, true).launched();
    let found = |fate, resources| Found {
        checkpoint: world.checkpoint(),
        fate,
        resources,
        outdated: None,
        applied: true,
    };
    let phases = || phased(true, true);
    let (mut next, step) = world.finds(phases(), found(Fate::Lives, Resources::Full));
    assert_eq!(words(&step), "-");
    assert_eq!(next.state(), StateWord::Initializing);
    next.exits(Exit::Status(0), false, "");
    assert_eq!(words(&next.empties()), "conclude");

    // As after an upgrade, which is told how its children ended.
    let over = Fate::Over(Exit::Status(0));
    let (mut next, step) = world.finds(phases(), found(over, Resources::Full));
    assert_eq!(words(&step), "conclude");
    assert_eq!(launched(&next.is_concluded()), Some(Phase::Before));

    // Nobody knows how it ended: it begins again, from nothing.
    let (mut next, step) = world.finds(phases(), found(OVER, Resources::Full));
    assert_eq!(words(&step), "clear");
    next.is_concluded();
    assert_eq!(
        (next.state(), next.view().want),
        (StateWord::Waiting, Want::Up)
    );
    assert_eq!(launched(&next.wait()), Some(Phase::Init));
}

#[test]
fn a_supervisor_that_died_while_a_command_was_launched_does_not_take_it_for_the_program() {
    let world = World::phased(false, true);
    let found = Found {
        checkpoint: world.checkpoint(),
        fate: Fate::Lives,
        resources: Resources::Full,
        outdated: None,
        applied: true,
    };
    let (next, step) = world.finds(phased(false, true), found);
    assert_eq!(next.state(), StateWord::Preparing);
    assert!(matches!(step.transitions[0].cause, Cause::Found(_)));
}
