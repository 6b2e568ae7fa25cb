//! The states that came with the commands before the program.

use proptest::prelude::{Just, Strategy, any, prop_oneof};

use super::records::{LAUNCH, MOMENT};
use tenantd_core::plan::phase::Phase;
use tenantd_core::stage::{Failure, Stage};
use tenantd_core::supervisor::checkpoint::{After, Ending, Live, Making, Resources, State};
use tenantd_core::supervisor::time::Moment;
use tenantd_core::supervisor::view::Why;

/// Every form that they can have.
pub(super) fn states() -> Vec<State> {
    let [init, before] = [Phase::Init, Phase::Before].map(|phase| Live { phase, ..LAUNCH });
    let why = Failure::detail(Stage::Init, "/bin/init", "exited with status 1");
    vec![
        State::Launching {
            launch: init,
            again: None,
        },
        State::Preparing {
            launch: init,
            until: MOMENT,
        },
        State::Preparing {
            launch: before,
            until: MOMENT,
        },
        State::Stopping {
            launch: before,
            ending: Ending::Killed { until: MOMENT },
            after: After::Proceed,
        },
        State::Concluding {
            launch: init,
            after: After::Proceed,
            resources: Resources::Full,
        },
        State::Concluding {
            launch: init,
            after: After::Judge(Why::Failure(why)),
            resources: Resources::Partial,
        },
    ]
}

/// A phase before the program.
pub(super) fn command() -> impl Strategy<Value = Phase> {
    prop_oneof![Just(Phase::Init), Just(Phase::Before), Just(Phase::Offline)]
}

/// The progress of a provision.
pub(super) fn making() -> impl Strategy<Value = Making> {
    prop_oneof![
        Just(Making::Awaiting),
        Just(Making::Begun),
        Just(Making::Outdated)
    ]
}

/// What a tenant still has.
pub(super) fn resources() -> impl Strategy<Value = Resources> {
    prop_oneof![
        Just(Resources::None),
        Just(Resources::Partial),
        Just(Resources::Full)
    ]
}

/// What follows on a launch.
pub(super) fn after(why: impl Strategy<Value = Why>) -> impl Strategy<Value = After> {
    prop_oneof![
        Just(After::Relaunch),
        Just(After::Reprovision),
        Just(After::Proceed),
        why.prop_map(After::Judge)
    ]
}

/// The states of a command.
pub(super) fn any_state(
    live: impl Strategy<Value = Live>,
    moment: impl Strategy<Value = Moment>,
    after: impl Strategy<Value = After>,
) -> impl Strategy<Value = State> {
    let is_running = any::<bool>();
    (live, command(), moment, after, resources(), is_running).prop_map(
        |(launch, phase, until, after, resources, is_running)| match is_running {
            true => State::Preparing {
                launch: Live { phase, ..launch },
                until,
            },
            false => State::Concluding {
                launch,
                after,
                resources,
            },
        },
    )
}
