//! Resuming each state under the next supervisor, with its launch running or over.

use std::time::Duration;

use super::{World, policy, situation, word};
use crate::plan::effect::Effect;
use crate::plan::model::{Policy, Readiness};
use crate::supervisor::checkpoint::{Checkpoint, Fate, Found, Resources};
use crate::supervisor::event::{Event, Exit, LaunchId, Verb};
use crate::supervisor::view::{StateWord, Want};
use crate::supervisor::{Cause, Find, Limits, Step, Supervisor};

/// The time without a supervisor.
const GAP: Duration = Duration::from_millis(100);

impl World {
    /// The checkpoint of its tenant.
    pub(super) fn checkpoint(&self) -> Checkpoint {
        self.supervisor.checkpoint(&self.name()).unwrap()
    }

    /// The next supervisor, with what it found.
    pub(super) fn next(&self, policy: Policy, fate: Fate) -> (World, Step) {
        self.next_on(policy, fate, Resources::Partial)
    }

    fn next_on(&self, policy: Policy, fate: Fate, resources: Resources) -> (World, Step) {
        let found = Found {
            checkpoint: self.checkpoint(),
            fate,
            resources: match fate {
                Fate::Lives => Resources::Full,
                Fate::Over(_) => resources,
            },
            outdated: None,
            applied: true,
        };
        self.finds(policy, found)
    }

    pub(super) fn finds(&self, policy: Policy, found: Found) -> (World, Step) {
        let mut world = World {
            supervisor: Supervisor::new(Limits::default()),
            now: self.now + GAP,
        };
        let tenant = world.name();
        let step = world.handle(Event::Planned {
            tenant,
            policy: policy.into(),
            found: Some(Box::new(found)),
        });
        (world, step)
    }
}

pub(super) const OVER: Fate = Fate::Over(Exit::Unknown);

pub(super) fn words(step: &Step) -> String {
    let words: Vec<_> = step.actions.iter().map(word).collect();
    match words.is_empty() {
        true => "-".to_owned(),
        false => words.join("+"),
    }
}

#[test]
fn every_state_is_restored() {
    // situation, then with its launch alive, and with nothing alive: the actions, the state after.
    let table = "\
down | - down | release releasing
provisioning | provision provisioning | provision provisioning
provisioning, unwanted | release releasing | release releasing
launching | - up | provision provisioning
launching, unwanted | terminate stopping | release releasing
launching, asked again | terminate stopping | provision provisioning
up | - up | - waiting
stopping | terminate stopping | release releasing
restarting | terminate stopping | provision provisioning
waiting | - waiting | - waiting
waiting, unprovisioned | - waiting | - waiting
failed | - failed | - failed
failed, unprovisioned | - failed | - failed
releasing | release releasing | release releasing
stuck, network | - stuck | - stuck
stuck, processes | - stuck | release releasing";
    for row in table.lines() {
        let mut cells = row.split(" | ");
        let name = cells.next().unwrap();
        for (fate, cell) in [Fate::Lives, OVER].into_iter().zip(cells) {
            let before = situation(name);
            let autostart = name != "down";
            let policy = Policy {
                autostart,
                ..policy()
            };
            let resources = match name {
                "down" if fate == Fate::Lives => Resources::None,
                _ => Resources::Partial,
            };
            let fate = match before.checkpoint().launch() {
                Some(_) => fate,
                None => OVER,
            };
            let (world, step) = before.next_on(policy, fate, resources);
            let (was, is) = (before.view(), world.view());
            let seen = format!("{} {}", words(&step), is.state);
            assert_eq!(seen, cell, "{name}, {fate:?}");
            assert_eq!((is.want, is.restarts), (was.want, was.restarts), "{name}");
            if is.state == was.state {
                assert_eq!((is.since, is.until), (was.since, was.until), "{name}");
                assert_eq!(is.why, was.why, "{name}");
            }
            if fate == Fate::Lives {
                assert_eq!(is.launch, was.launch, "{name}");
            }
        }
    }
}

#[test]
fn a_launch_that_ended_meanwhile_counts_as_a_strike() {
    let (mut world, step) = situation("up").next(policy(), Fate::Over(Exit::Signal(11)));
    assert_eq!(
        step.transitions[0].cause,
        Cause::Found(Find::Died(Exit::Signal(11)))
    );
    assert_eq!(
        world.view().why.unwrap().to_string(),
        "was killed by SIGSEGV"
    );
    assert_eq!(words(&world.wait()), "provision");
    assert_eq!(world.view().restarts, 1);
    let world = world.provisioned().launched();
    // The strikes of both supervisors are added: the third makes the tenant failed.
    let (mut world, _) = world.next(policy(), OVER);
    world.wait();
    let (world, _) = world.provisioned().launched().next(policy(), OVER);
    assert_eq!(world.view().state, StateWord::Failed);
    assert_eq!(world.view().restarts, 2);
}

#[test]
fn launch_numbers_continue_after_found_ones() {
    let checkpoint = Checkpoint::of_launch(LaunchId(41), situation("up").now, true, 3);
    let (world, _) = situation("up").finds(
        policy(),
        Found {
            checkpoint,
            fate: Fate::Lives,
            resources: Resources::Full,
            outdated: None,
            applied: true,
        },
    );
    assert_eq!(world.view().launch, Some(LaunchId(41)));
    let mut world = world.ended(Exit::Unknown);
    while world.view().state == StateWord::Waiting {
        world.wait();
    }
    assert_eq!(world.view().launch, Some(LaunchId(42)));
    assert_eq!(world.view().restarts, 4);
}

#[test]
fn requested_wants_are_kept_and_others_follow_the_manifest() {
    let manual = || Policy {
        autostart: false,
        ..policy()
    };
    // Stopped by an operator, which overrides the manifest.
    let stopped = || situation("stopping").ended(Exit::Status(0));
    for policy in [policy(), manual()] {
        let (world, _) = stopped().next(policy, OVER);
        assert_eq!(world.view().want, Want::Down);
    }
    // Up because of the manifest, which has changed since.
    let (mut world, step) = situation("up").next(manual(), Fate::Lives);
    assert_eq!(words(&step), "terminate");
    let launch = world.launch();
    let step = world.handle(Event::Emptied { launch });
    assert_eq!(words(&step), "release");
    // Started by an operator, against the manifest.
    let (world, step) = situation("down")
        .requested(Verb::Start)
        .provisioned()
        .launched()
        .next(manual(), Fate::Lives);
    assert_eq!(words(&step), "-");
    assert_eq!(world.view().state, StateWord::Up);
}

#[test]
fn an_interrupted_shutdown_is_not_a_want() {
    let mut world = situation("up");
    world.handle(Event::Shutdown);
    assert_eq!(world.view().want, Want::Down);
    let (world, step) = world.next(policy(), OVER);
    assert_eq!(words(&step), "provision");
    assert_eq!(world.view().want, Want::Up);
    // A stop during the shutdown is a want, though.
    let mut world = situation("up");
    world.handle(Event::Shutdown);
    world.submit(Verb::Stop);
    assert_eq!(world.next(policy(), OVER).0.view().want, Want::Down);
}

#[test]
fn an_adopted_stop_keeps_its_grace() {
    let before = situation("stopping");
    let kill_at = before.supervisor.next_deadline();
    let (mut world, _) = before.next(policy(), Fate::Lives);
    assert_eq!(world.supervisor.next_deadline(), kill_at);
    assert_eq!(words(&world.wait()), "kill");
    let (_, step) = world.next(policy(), Fate::Lives);
    assert_eq!(words(&step), "kill");
}

#[test]
fn a_kept_network_is_reused() {
    let (mut world, _) = situation("waiting").next_on(policy(), OVER, Resources::Full);
    assert_eq!(words(&world.wait()), "launch");
    assert_eq!(world.view().restarts, 1);
}

#[test]
fn a_launch_of_unknown_readiness_does_not_time_out() {
    let notify = || Policy {
        ready: Readiness::Notify,
        ..policy()
    };
    let unready = || World::new(notify()).provisioned().launched();
    let (mut world, _) = unready().next(notify(), Fate::Lives);
    assert_eq!(world.view().ready, Some(false));
    let step = world.wait();
    assert_eq!(words(&step), "-");
    assert_eq!(world.view().ready, Some(true));
    let (mut world, _) = unready().next(notify(), Fate::Lives);
    let launch = world.launch();
    world.handle(Event::Ready { launch });
    assert_eq!(world.view().ready, Some(true));
    assert_eq!(world.supervisor.next_deadline(), None);
}

#[test]
fn the_budget_is_restored() {
    let one = std::num::NonZeroU32::MIN;
    let limits = Limits {
        restarts_per_second: one,
        burst: one,
    };
    let mut first = situation("waiting");
    first.supervisor.resume(LaunchId(0), [].into_iter());
    let spent = {
        let mut checkpoint = first.checkpoint();
        checkpoint.budget = first.now + Duration::from_secs(50);
        checkpoint
    };
    let mut next = Supervisor::new(limits);
    next.resume(LaunchId(0), [&spent].into_iter());
    let found = Found {
        checkpoint: spent,
        fate: OVER,
        resources: Resources::Partial,
        outdated: None,
        applied: true,
    };
    let tenant = first.name();
    next.handle(
        first.now,
        Event::Planned {
            tenant,
            policy: policy().into(),
            found: Some(Box::new(found)),
        },
    );
    next.handle_deadline(first.now + Duration::from_secs(2));
    assert_eq!(
        next.next_deadline(),
        Some(first.now + Duration::from_secs(50))
    );
}

#[test]
fn a_stuck_tenant_with_another_plan_is_reprovisioned() {
    let world = World::new(policy())
        .provisioned()
        .launched()
        .requested(Verb::Restart);
    let world = world.unended();
    let found = Found {
        checkpoint: world.checkpoint(),
        fate: Fate::Lives,
        resources: Resources::Full,
        outdated: Some(Effect::Reprovision),
        applied: true,
    };
    let (mut next, _) = world.finds(policy(), found);
    assert_eq!(next.view().state, StateWord::Stuck);
    let launch = next.launch();
    let step = next.handle(Event::Emptied { launch });
    assert_eq!(words(&step), "release");
}

#[test]
fn a_tenant_removed_and_added_again_is_new() {
    let mut world = World::new(policy()).provisioned().launched();
    world.submit(Verb::Stop);
    let tenant = world.name();
    let step = world.handle(Event::Removed { tenant });
    assert_eq!(step.changed, [world.name()], "its checkpoint changed");
    let (next, _) = world.next(policy(), Fate::Lives);
    assert_eq!(next.view().want, Want::Up);
}

#[test]
fn a_new_tenant_awaits_holders_that_are_found_later() {
    let world = World::new(policy()).provisioned().launched();
    let taker = || "beta".parse().unwrap();
    for (fate, resources) in [(Fate::Lives, Resources::Full), (OVER, Resources::None)] {
        let mut next = World {
            supervisor: Supervisor::new(Limits::default()),
            now: world.now + GAP,
        };
        let others = vec![world.name()];
        let tenant = taker();
        next.handle(Event::Awaits { tenant, others });
        let planned = |tenant, found| Event::Planned {
            tenant,
            policy: policy().into(),
            found,
        };
        assert_eq!(words(&next.handle(planned(taker(), None))), "-");
        let found = Found {
            checkpoint: world.checkpoint(),
            fate,
            resources,
            outdated: Some(Effect::Reprovision),
            applied: true,
        };
        let mut step = next.handle(planned(world.name(), Some(found.into())));
        if fate == Fate::Lives {
            assert_eq!(words(&step), "terminate");
            let launch = next.launch();
            next.handle(Event::Emptied { launch });
            let tenant = world.name();
            step = next.handle(Event::Released { tenant });
        }
        let provision = crate::supervisor::action::Action::Provision { tenant: taker() };
        assert!(step.actions.contains(&provision), "{step:?}");
    }
}
