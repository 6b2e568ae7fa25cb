//! Live changes: how they are applied to a running launch, and how they are reported.

use super::*;
use crate::plan::effect::Effect;
use crate::supervisor::Cause;
use crate::supervisor::checkpoint::{Fate, Found, Resources};
use crate::supervisor::view::Unapplied;

impl World {
    fn apply(&mut self) -> Vec<Action> {
        self.changed(Effect::Live, true)
    }

    fn applied(&mut self) -> Step {
        let launch = self.launch();
        self.handle(Event::Applied { launch })
    }

    fn refused(&mut self) -> Step {
        let launch = self.launch();
        let why = why(Stage::Limits);
        self.handle(Event::ApplyFailed { launch, why })
    }

    fn unapplied(&self) -> Option<Unapplied> {
        self.view().unapplied
    }

    fn applies(&self) -> Vec<Action> {
        let (tenant, launch) = (self.name(), self.launch());
        vec![Action::Apply { tenant, launch }]
    }
}

#[test]
fn a_live_change_counts_once_the_host_confirms_it() {
    let mut world = World::up();
    assert_eq!(world.apply(), world.applies());
    assert_eq!(world.unapplied(), Some(Unapplied::Underway));
    let step = world.applied();
    assert_eq!(step.transitions[0].cause, Cause::Applied);
    // It is not in the checkpoint: the next supervisor checks on the host what is applied.
    assert_eq!((step.actions, step.changed), (vec![], vec![]));
    assert_eq!(world.unapplied(), None);
    assert_eq!(
        world.applied(),
        Step::default(),
        "it is not asked for again"
    );
}

#[test]
fn a_refused_live_change_is_shown_and_retried() {
    let mut world = World::up();
    world.apply();
    let step = world.refused();
    assert_eq!(
        step.transitions[0].cause,
        Cause::NotApplied(why(Stage::Limits))
    );
    let refused = Some(Unapplied::Refused(why(Stage::Limits)));
    assert_eq!(world.unapplied(), refused);
    // Also on a reload without other changes, or with a new policy only.
    assert_eq!(world.replanned(Effect::Live), []);
    assert_eq!(world.unapplied(), refused);
    assert_eq!(world.handle(Event::Reloaded).actions, world.applies());
    assert_eq!(world.unapplied(), Some(Unapplied::Underway));
    assert_eq!(world.handle(Event::Reloaded).actions, [], "once at a time");
    world.applied();
    assert_eq!(world.unapplied(), None);
    assert_eq!(world.handle(Event::Reloaded), Step::default());
}

#[test]
fn a_change_during_an_apply_is_applied_after_it() {
    for first_is_refused in [false, true] {
        let mut world = World::up();
        world.apply();
        assert_eq!(world.apply(), [], "one at a time");
        assert_eq!(world.apply(), []);
        let step = match first_is_refused {
            true => world.refused(),
            false => world.applied(),
        };
        assert_eq!(step.actions, world.applies());
        assert_eq!(step.transitions, [], "the last change does not hold yet");
        assert_eq!(world.unapplied(), Some(Unapplied::Underway));
        assert_eq!(world.applied().actions, []);
        assert_eq!(world.unapplied(), None);
    }
}

#[test]
fn a_change_during_a_launch_is_applied_once_the_program_runs() {
    let mut world = situation("launching");
    assert_eq!(world.apply(), []);
    assert_eq!(world.unapplied(), None);
    let launch = world.launch();
    let step = world.handle(Event::Launched { launch });
    assert_eq!(step.actions, world.applies());
    assert_eq!(world.unapplied(), Some(Unapplied::Underway));
    // It ends with a launch that fails, because the next one uses the new plan.
    let mut world = situation("launching");
    world.apply();
    let (launch, why) = (world.launch(), why(Stage::Exec));
    world.handle(Event::LaunchFailed { launch, why });
    world.wait();
    let launch = world.launch();
    assert_eq!(world.handle(Event::Launched { launch }).actions, []);
    assert_eq!(world.unapplied(), None);
}

#[test]
fn nothing_is_applied_to_a_tenant_that_is_down() {
    for name in [
        "down",
        "provisioning",
        "stopping",
        "waiting",
        "failed",
        "releasing",
        "stuck, network",
        "stuck, processes",
    ] {
        let mut world = situation(name);
        assert_eq!(world.apply(), [], "{name}");
        assert_eq!(world.unapplied(), None, "{name}");
    }
}

#[test]
fn a_pending_apply_ends_with_its_launch() {
    for refused in [false, true] {
        let mut world = World::up();
        world.apply();
        if refused {
            world.refused();
        }
        let launch = world.launch();
        let mut world = world.requested(Verb::Restart);
        assert_eq!(world.unapplied(), None, "it is being ended");
        assert_eq!(world.handle(Event::Applied { launch }), Step::default());
        world.emptied();
        assert_ne!(world.launch(), launch);
        assert_eq!(world.handle(Event::Applied { launch }), Step::default());
        let mut world = world.launched();
        assert_eq!(world.unapplied(), None, "it began by the new plan");
        assert_eq!(world.handle(Event::Reloaded), Step::default());
    }
}

#[test]
fn unconfirmed_limits_are_applied_by_the_next_supervisor() {
    for (name, applied, words) in [
        ("up", true, "-"),
        ("up", false, "apply"),
        ("launching", false, "apply"),
        ("stopping", false, "terminate"),
    ] {
        let before = situation(name);
        let found = Found {
            checkpoint: before.checkpoint(),
            fate: Fate::Lives,
            resources: Resources::Full,
            outdated: None,
            applied,
        };
        let (world, step) = before.finds(policy(), found);
        assert_eq!(super::found::words(&step), words, "{name}");
        let underway = (words == "apply").then_some(Unapplied::Underway);
        assert_eq!(world.unapplied(), underway, "{name}");
    }
}
