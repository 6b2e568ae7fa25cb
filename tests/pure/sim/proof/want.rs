//! Violates the invariants about what is wanted, and about programs that end by themselves or hang.

use std::time::Duration;

use tenantd_core::stage::{Failure, Stage};
use tenantd_core::supervisor::action::Action;
use tenantd_core::supervisor::event::{Event, LaunchId};
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
