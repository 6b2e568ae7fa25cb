//! A forced kill at the end of a tenant's last launch: its type in the file, and the conversions.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use tenantd_core::supervisor::forced::{ForcedKill, NamedProcess, Processes};
use tenantd_core::supervisor::time::Moment;

/// A forced kill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Forced2 {
    #[serde(rename = "at")]
    pub(super) at: u64,
    /// In milliseconds.
    #[serde(rename = "grace")]
    pub(super) grace: Option<u64>,
    #[serde(rename = "processes")]
    pub(super) processes: Option<Processes2>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Processes2 {
    #[serde(rename = "count")]
    pub(super) count: u64,
    #[serde(rename = "named")]
    pub(super) named: Vec<(i32, String)>,
}

impl From<&ForcedKill> for Forced2 {
    fn from(forced: &ForcedKill) -> Self {
        let ForcedKill {
            at: Moment(at),
            grace,
            processes,
        } = forced;
        let processes = processes.as_ref().map(|Processes { count, named }| {
            let named = named.iter();
            let named = named.map(|NamedProcess { pid, name }| (*pid, name.clone()));
            Processes2 {
                count: *count,
                named: named.collect(),
            }
        });
        Self {
            at: *at,
            grace: grace.map(|grace| u64::try_from(grace.as_millis()).unwrap_or(u64::MAX)),
            processes,
        }
    }
}

impl From<Forced2> for ForcedKill {
    fn from(forced: Forced2) -> Self {
        let Forced2 {
            at,
            grace,
            processes,
        } = forced;
        let processes = processes.map(|Processes2 { count, named }| {
            let named = named.into_iter();
            let named = named.map(|(pid, name)| NamedProcess { pid, name });
            Processes {
                count,
                named: named.collect(),
            }
        });
        Self {
            at: Moment(at),
            grace: grace.map(Duration::from_millis),
            processes,
        }
    }
}
