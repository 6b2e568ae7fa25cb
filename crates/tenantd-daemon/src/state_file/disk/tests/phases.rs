//! The states that came with the commands before the program.

use proptest::prelude::{Just, Strategy, prop_oneof};

use super::records::{LAUNCH, MOMENT};
use tenantd_core::plan::phase::Phase;
use tenantd_core::stage::{Failure, Stage};
use tenantd_core::supervisor::checkpoint::{After, Ending, Live, Resources, State};
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
    prop_oneof![Just(Phase::Init), Just(Phase::Before)]
}
