//! The effect of a changed manifest on a tenant in each state.

use super::*;
use crate::plan::effect::Effect;
use crate::supervisor::backoff::FailureCount;

impl World {
    pub(super) fn replanned(&mut self, effect: Effect) -> Vec<Action> {
        self.changed(effect, false)
    }

    /// Changes the plan, with or without a live change that must be applied.
    pub(super) fn changed(&mut self, effect: Effect, apply: bool) -> Vec<Action> {
        let tenant = self.name();
        let policy = policy().into();
        let event = Event::Replanned {
            tenant,
            policy,
            effect,
            apply,
        };
        self.handle(event).actions
    }

    pub(super) fn up() -> Self {
        Self::new(policy()).provisioned().launched()
    }

    pub(super) fn emptied(&mut self) -> Vec<Action> {
        let launch = self.launch();
        self.handle(Event::Emptied { launch }).actions
    }
}

#[test]
fn a_live_change_interrupts_nothing() {
    let mut world = World::up();
    let before = world.view();
    assert_eq!(world.replanned(Effect::Live), []);
    assert_eq!(world.view(), before);
}

#[test]
fn a_relaunch_keeps_the_network_and_a_reprovision_does_not() {
    let mut world = World::up();
    let first = world.launch();
    assert!(matches!(
        world.replanned(Effect::Relaunch)[..],
        [Action::Terminate { launch, .. }] if launch == first
    ));
    assert!(matches!(world.emptied()[..], [Action::Launch { .. }]));

    let mut world = World::up();
    world.replanned(Effect::Reprovision);
    assert!(matches!(world.emptied()[..], [Action::Release { .. }]));
    let tenant = world.name();
    let released = world.handle(Event::Released { tenant });
    assert!(matches!(released.actions[..], [Action::Provision { .. }]));
}

#[test]
fn a_failed_tenant_is_retried_unless_the_change_is_live() {
    let mut world = World::new(policy()).failed();
    assert_eq!(world.replanned(Effect::Live), []);
    assert_eq!(world.view().state, StateWord::Failed);
    assert!(matches!(
        world.replanned(Effect::Relaunch)[..],
        [Action::Provision { .. }]
    ));
}

#[test]
fn an_operators_want_survives_a_reload() {
    let mut world = World::up().requested(Verb::Stop);
    assert_eq!(world.replanned(Effect::Reprovision), []);
    assert!(matches!(world.emptied()[..], [Action::Release { .. }]));
    let tenant = world.name();
    assert_eq!(world.handle(Event::Released { tenant }).actions, []);
    assert_eq!(world.view().state, StateWord::Down);
    assert_eq!(world.replanned(Effect::Relaunch), []);
    assert_eq!(world.view().want, Want::Down);
}

#[test]
fn a_removed_tenant_is_stopped_and_then_removed() {
    let mut world = World::up();
    let tenant = world.name();
    let removed = Event::Removed {
        tenant: tenant.clone(),
    };
    assert!(matches!(
        world.handle(removed).actions[..],
        [Action::Terminate { .. }]
    ));
    let (answer, actions) = world.submit(Verb::Start);
    assert!(matches!(answer, Answer::Refused { .. }), "{answer:?}");
    assert_eq!(actions, []);
    world.emptied();
    let released = world.handle(Event::Released {
        tenant: tenant.clone(),
    });
    let remove = Action::Remove {
        tenant: tenant.clone(),
    };
    assert_eq!(released.actions, [remove]);
    assert!(world.supervisor.tenant(&tenant).is_none());
}

#[test]
fn a_tenant_added_again_has_no_strikes() {
    let mut world = situation("waiting");
    let strikes = |world: &World| world.supervisor.checkpoint(&world.name()).unwrap().strikes;
    assert_ne!(strikes(&world), FailureCount::default());
    let tenant = world.name();
    world.handle(Event::Removed { tenant });
    assert_eq!(strikes(&world), FailureCount::default());
}

#[test]
fn a_tenant_that_awaits_a_holder_can_be_stopped() {
    let mut world = World::up();
    let (holder, taker): (TenantName, TenantName) = (world.name(), "beta".parse().unwrap());
    let awaits = Event::Awaits {
        tenant: taker.clone(),
        others: vec![holder.clone()],
    };
    world.handle(awaits);
    world.handle(Event::Removed {
        tenant: holder.clone(),
    });
    let planned = Event::Planned {
        tenant: taker.clone(),
        policy: policy().into(),
        found: None,
    };
    assert_eq!(world.handle(planned).actions, []);
    let state = |world: &World| world.supervisor.tenant(&taker).unwrap().state;
    assert_eq!(state(&world), StateWord::Provisioning);
    let submit = |world: &mut World, verb| {
        world.request(taker.clone(), verb);
    };
    submit(&mut world, Verb::Stop);
    assert_eq!(state(&world), StateWord::Down);
    submit(&mut world, Verb::Start);
    assert_eq!(state(&world), StateWord::Provisioning);
    world.emptied();
    let released = world.handle(Event::Released {
        tenant: holder.clone(),
    });
    let provision = Action::Provision {
        tenant: taker.clone(),
    };
    let remove = Action::Remove { tenant: holder };
    assert_eq!(released.actions, [provision, remove]);
}

#[test]
fn a_failed_provision_of_an_old_plan_frees_its_address() {
    let mut world = World::new(policy());
    let (holder, taker): (TenantName, TenantName) = (world.name(), "beta".parse().unwrap());
    world.handle(Event::Awaits {
        tenant: taker.clone(),
        others: vec![holder.clone()],
    });
    world.replanned(Effect::Reprovision);
    let planned = Event::Planned {
        tenant: taker.clone(),
        policy: policy().into(),
        found: None,
    };
    assert_eq!(world.handle(planned).actions, []);
    let failed = world.handle(Event::ProvisionFailed {
        tenant: holder.clone(),
        why: why(Stage::Netns),
    });
    let provision = |tenant| Action::Provision { tenant };
    assert_eq!(failed.actions, [provision(holder), provision(taker)]);
}
