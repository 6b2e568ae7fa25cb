//! Violates the invariants about what is wanted, and about programs that end by themselves or hang.

use std::time::Duration;

use tenantd_core::stage::{Failure, Stage};
use tenantd_core::supervisor::action::{Action, Answer};
use tenantd_core::supervisor::event::{Event, LaunchId};
use tenantd_core::supervisor::offline::Offline;
use tenantd_core::supervisor::view::{StateWord, View, Want};

use super::{Trace, launch, step, tenant, view};
use crate::sim::checker::Checker;
use crate::sim::invariant::{Invariant, Violation};

pub(super) fn violations(invariant: Invariant) -> Vec<Result<(), Violation>> {
    let check = |was, is, actions| {
        let after = [view(is, StateWord::Down)].into_iter();
        let before = [view(was, StateWord::Exited)];
        Checker::check_want(&Event::Reloaded, &before, after, &step(actions))
    };
    match invariant {
        Invariant::WantIsRequested => vec![check(Want::Up, Want::Down, vec![])],
        Invariant::NotAliveIsEnded => {
            let (launch, why) = (LaunchId(1), Failure::errno(Stage::Alive, "", 0));
            let event = Event::NotAlive { launch, why };
            let up = |ready| View {
                launch: Some(launch),
                ready: Some(ready),
                ..view(Want::Up, StateWord::Up)
            };
            let ended = View {
                state: StateWord::Stopping,
                ..up(false)
            };
            vec![
                Checker::check_alive(&event, &[up(true)], [up(true)].into_iter()),
                Checker::check_alive(&event, &[up(true)], [ended.clone()].into_iter()),
                Checker::check_alive(&event, &[up(false)], [ended].into_iter()),
            ]
        }
        Invariant::StopsByItself => {
            let launch = LaunchId(1);
            let is = |state| View {
                launch: Some(launch),
                ..view(Want::Up, state)
            };
            let check = |state, actions| {
                let (before, after) = ([is(StateWord::Up)], [is(state)]);
                let event = Event::SaysStopping { launch };
                let up = Trace::up(Duration::from_secs(1));
                up.0.check_programs(&event, &before, after.into_iter(), &step(actions))
            };
            let terminate = Action::Terminate {
                tenant: tenant(),
                launch,
            };
            vec![
                check(StateWord::Up, vec![]),
                check(StateWord::Stopping, vec![terminate]),
            ]
        }
        Invariant::OfflineAlone => offline_violations(),
        Invariant::ExitedIsOver => {
            let provision = Action::Provision { tenant: tenant() };
            vec![
                check(Want::Up, Want::Up, vec![provision]),
                check(Want::Up, Want::Up, vec![launch(2)]),
            ]
        }
        _ => Vec::new(),
    }
}

fn offline_violations() -> Vec<Result<(), Violation>> {
    let mut checker = Trace::planned(Duration::ZERO).0;
    let offline = || {
        Some(Offline {
            client: 1,
            command: String::new(),
        })
    };
    let with = |state, offline| View {
        offline,
        ..view(Want::Up, state)
    };
    let (up, failed) = (with(StateWord::Up, None), with(StateWord::Failed, None));
    let begun = with(StateWord::Launching, offline());
    let second = with(StateWord::Failed, offline());
    let refused = Answer::Refused {
        reason: String::new(),
    };
    let step = step(vec![]);
    checker.note_offline(std::slice::from_ref(&begun));
    vec![
        checker.on_offline((&up, &begun), &Answer::Accepted, &step),
        checker.on_offline((&second, &begun), &Answer::Accepted, &step),
        checker.on_offline((&failed, &failed), &Answer::Accepted, &step),
        checker.on_offline((&failed, &begun), &refused, &step),
        checker.check_offline(&launch(2)),
    ]
}
