//! A plan that changed while no supervisor was running has the same effect as a reload.

use super::found::{OVER, words};
use super::{World, policy, situation};
use crate::plan::effect::Effect;
use crate::supervisor::Step;
use crate::supervisor::checkpoint::{Fate, Found, Resources};
use crate::supervisor::event::Event;
use crate::supervisor::view::Want;

impl World {
    /// The next supervisor of a tenant whose plan changed, after the earlier one left it like this.
    fn replanned_meanwhile(
        &self,
        fate: Fate,
        resources: Resources,
        effect: Effect,
    ) -> (World, Step) {
        let checkpoint = self.checkpoint();
        let outdated = Some(effect);
        let found = Found {
            checkpoint,
            fate,
            resources,
            outdated,
            applied: true,
        };
        self.finds(policy(), found)
    }
}

#[test]
fn a_tenant_with_an_outdated_plan_is_reprovisioned() {
    let before = situation("up");
    let (mut world, step) =
        before.replanned_meanwhile(Fate::Lives, Resources::Full, Effect::Reprovision);
    assert_eq!(words(&step), "terminate");
    let launch = world.launch();
    let step = world.handle(Event::Emptied { launch });
    assert_eq!(words(&step), "release");
    let tenant = world.name();
    assert_eq!(
        words(&world.handle(Event::Released { tenant })),
        "provision"
    );
    // The rest of its network is released first, because other tenants may need it.
    for resources in [Resources::Full, Resources::Partial] {
        let (mut world, step) = before.replanned_meanwhile(OVER, resources, Effect::Reprovision);
        assert_eq!(words(&step), "release");
        let tenant = world.name();
        assert_eq!(
            words(&world.handle(Event::Released { tenant })),
            "provision"
        );
    }
    let (_, step) = before.replanned_meanwhile(OVER, Resources::None, Effect::Reprovision);
    assert_eq!(words(&step), "provision");
}

#[test]
fn a_relaunch_keeps_the_network() {
    for name in ["up", "launching", "restarting"] {
        let before = situation(name);
        let (mut world, step) =
            before.replanned_meanwhile(Fate::Lives, Resources::Full, Effect::Relaunch);
        assert_eq!(words(&step), "terminate", "{name}");
        let launch = world.launch();
        assert_eq!(words(&world.handle(Event::Emptied { launch })), "launch");
        assert_eq!(world.view().restarts, before.view().restarts);
    }
    let (_, step) = situation("up").replanned_meanwhile(OVER, Resources::Full, Effect::Relaunch);
    assert_eq!(words(&step), "launch");
    // A larger scope was planned before.
    let mut before = situation("up");
    before.handle(Event::Replanned {
        tenant: before.name(),
        policy: policy().into(),
        effect: Effect::Reprovision,
        apply: false,
    });
    let (mut world, _) = before.replanned_meanwhile(Fate::Lives, Resources::Full, Effect::Relaunch);
    let launch = world.launch();
    assert_eq!(words(&world.handle(Event::Emptied { launch })), "release");
}

#[test]
fn a_change_of_the_policy_alone_interrupts_nothing() {
    let before = situation("up");
    let (world, step) = before.replanned_meanwhile(Fate::Lives, Resources::Full, Effect::Live);
    assert_eq!(words(&step), "-");
    assert_eq!(world.view().launch, before.view().launch);
}

#[test]
fn a_new_plan_clears_strikes_and_starts_no_unwanted_tenant() {
    for name in ["waiting", "failed"] {
        let before = situation(name);
        for (effect, resources, word) in [
            (Effect::Relaunch, Resources::Partial, "provision"),
            (Effect::Relaunch, Resources::Full, "launch"),
            (Effect::Reprovision, Resources::Full, "release"),
            (Effect::Live, Resources::Full, "-"),
        ] {
            let (_, step) = before.replanned_meanwhile(OVER, resources, effect);
            assert_eq!(words(&step), word, "{name}, {effect:?}");
        }
    }
    let before = situation("stopping");
    let (mut world, _) = before.replanned_meanwhile(Fate::Lives, Resources::Full, Effect::Relaunch);
    let launch = world.launch();
    assert_eq!(words(&world.handle(Event::Emptied { launch })), "release");
    assert_eq!(world.view().want, Want::Down);
}
