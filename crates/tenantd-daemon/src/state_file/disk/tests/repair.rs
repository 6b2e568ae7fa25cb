//! Commands of `exec --offline`.

use proptest::option;
use proptest::prelude::{Just, Strategy, any};
use proptest::prop_oneof;

use super::forced::any_exit;
use super::records::{LAUNCH, MOMENT, record};
use crate::state_file::record::Record;
use tenantd_core::plan::phase::Phase;
use tenantd_core::stage::{Failure, Stage};
use tenantd_core::supervisor::checkpoint::{Live, RestartScope, State};
use tenantd_core::supervisor::offline::{Offline, Repair};
use tenantd_core::supervisor::view::Why;

/// A launch that is being started, and one that runs in a tenant that had failed.
pub(super) fn records() -> [Record; 2] {
    let launch = Live {
        phase: Phase::Offline,
        ..LAUNCH
    };
    let begun = State::Launching {
        launch,
        again: None,
    };
    let runs = State::Preparing {
        launch,
        until: MOMENT,
    };
    let failure = Failure::errno(Stage::Exec, "/bin/wiki", 2);
    [(begun, None), (runs, Some(Why::Failure(failure)))].map(|(state, failed)| {
        let mut record = record(state);
        record.checkpoint.repair = Some(Repair {
            offline: Offline {
                client: 4711,
                command: "fsck".to_owned(),
            },
            failed,
            stopped: false,
            outdated: None,
        });
        record
    })
}

/// Any such command.
pub(super) fn repair(text: &'static str) -> impl Strategy<Value = Repair> {
    let outdated = prop_oneof![
        Just(RestartScope::Relaunch),
        Just(RestartScope::Reprovision)
    ];
    let parts = (
        any::<u32>(),
        text,
        option::of(why(text)),
        any::<bool>(),
        option::of(outdated),
    );
    parts.prop_map(|(client, command, failed, stopped, outdated)| Repair {
        offline: Offline { client, command },
        failed,
        stopped,
        outdated,
    })
}

pub(super) fn failure(text: &'static str) -> impl Strategy<Value = Failure> {
    let stage = (0..Stage::ALL.len()).prop_map(|at| Stage::ALL[at]);
    (stage, text, any::<i32>(), text).prop_map(|(stage, object, errno, detail)| Failure {
        stage,
        object,
        errno,
        detail,
    })
}

pub(super) fn why(text: &'static str) -> impl Strategy<Value = Why> {
    prop_oneof![
        failure(text).prop_map(Why::Failure),
        any_exit().prop_map(Why::Exit),
    ]
}
