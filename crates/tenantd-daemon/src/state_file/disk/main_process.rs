//! The main process in a record.

use serde::{Deserialize, Serialize};

use crate::executor::main_process::MainBy;
use crate::state_file::disk::Unreadable;
use crate::state_file::disk::form::Process2;
use crate::state_file::record::ProcessKey;

/// The main process of a launch, and the word for how it is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Main2 {
    #[serde(rename = "process")]
    pub(super) process: Process2,
    #[serde(rename = "by")]
    pub(super) by: String,
}

/// None if it is known in a way that only a later version knows.
pub(super) fn read(
    Main2 { process, by }: Main2,
) -> Result<Option<(ProcessKey, MainBy)>, Unreadable> {
    let key = ProcessKey::try_from(process)?;
    Ok(MainBy::of(&by).map(|by| (key, by)))
}

pub(super) fn write((key, by): (ProcessKey, MainBy)) -> Main2 {
    Main2 {
        process: key.into(),
        by: by.word().to_owned(),
    }
}

/// Any main process.
#[cfg(test)]
pub(super) fn any() -> impl proptest::strategy::Strategy<Value = (ProcessKey, MainBy)> {
    use proptest::prelude::*;
    let key = (1..i32::MAX, proptest::prelude::any::<u64>());
    let by = prop_oneof![
        Just(MainBy::Guess),
        Just(MainBy::PidFile),
        Just(MainBy::Notice)
    ];
    (key, by).prop_map(|((pid, start_ticks), by)| (ProcessKey { pid, start_ticks }, by))
}
