//! Random ends of programs, and forced kills.

use std::time::Duration;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{self, Just, Strategy};
use proptest::prop_oneof;

use super::records::moment;
use tenantd_core::supervisor::event::Exit;
use tenantd_core::supervisor::forced::{ForcedKill, NAMED, NamedProcess, Processes};

pub(super) fn any() -> impl Strategy<Value = ForcedKill> {
    let named = (1..=i32::MAX, "[^\\pC]{1,4}").prop_map(|(pid, name)| NamedProcess { pid, name });
    let processes = (prelude::any::<u64>(), vec(named, 0..=NAMED));
    let processes = processes.prop_map(|(count, named)| Processes { count, named });
    let grace = option::of(prelude::any::<u32>().prop_map(|ms| Duration::from_millis(ms.into())));
    (moment(), grace, option::of(processes)).prop_map(|(at, grace, processes)| ForcedKill {
        at,
        grace,
        processes,
    })
}

pub(super) fn any_exit() -> impl Strategy<Value = Exit> {
    prop_oneof![
        prelude::any::<i32>().prop_map(Exit::Status),
        prelude::any::<i32>().prop_map(Exit::Signal),
        Just(Exit::Unknown),
    ]
}

/// How the program of an exited tenant ended, and whether it left others running.
pub(super) fn ended() -> impl Strategy<Value = (Option<Exit>, bool)> {
    (option::of(any_exit()), prelude::any::<bool>())
}
