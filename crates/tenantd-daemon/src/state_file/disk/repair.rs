//! A command of `exec --offline` in a record. An earlier version knows none, and takes its launch for that
//! of a program.

use serde::{Deserialize, Serialize};

use tenantd_core::supervisor::checkpoint::RestartScope;
use tenantd_core::supervisor::offline::{Offline, Repair};
use tenantd_core::supervisor::view::Why;

use super::Unreadable;
use super::form::{RestartScope2, Why2};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Repair2 {
    #[serde(rename = "client")]
    client: u32,
    #[serde(rename = "command")]
    command: String,
    #[serde(rename = "failed")]
    failed: Option<Why2>,
    #[serde(rename = "stopped")]
    stopped: bool,
    #[serde(rename = "outdated")]
    outdated: Option<RestartScope2>,
}

impl From<&Repair> for Repair2 {
    fn from(repair: &Repair) -> Self {
        let Repair {
            offline: Offline { client, command },
            failed,
            stopped,
            outdated,
        } = repair;
        Self {
            client: *client,
            command: command.clone(),
            failed: failed.as_ref().map(Why2::from),
            stopped: *stopped,
            outdated: outdated.as_ref().map(RestartScope2::from),
        }
    }
}

impl TryFrom<Repair2> for Repair {
    type Error = Unreadable;
    fn try_from(repair: Repair2) -> Result<Self, Unreadable> {
        let Repair2 {
            client,
            command,
            failed,
            stopped,
            outdated,
        } = repair;
        Ok(Self {
            offline: Offline { client, command },
            failed: failed.map(Why::try_from).transpose()?,
            stopped,
            outdated: outdated.map(RestartScope::from),
        })
    }
}
