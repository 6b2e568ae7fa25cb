//! A launch in a record.

use serde::{Deserialize, Serialize};

use tenantd_core::plan::phase::Phase;
use tenantd_core::supervisor::checkpoint::Live;
use tenantd_core::supervisor::event::LaunchId;
use tenantd_core::supervisor::time::Moment;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Live2 {
    #[serde(rename = "id")]
    pub(super) id: u64,
    #[serde(rename = "started_at")]
    pub(super) started_at: u64,
    /// The phase, if it is not the program.
    #[serde(rename = "phase", default, skip_serializing_if = "Option::is_none")]
    pub(super) phase: Option<Phase2>,
    /// Set if the command of the phase has succeeded, so that the next one follows. What follows is
    /// "relaunch" then.
    #[serde(rename = "success", default, skip_serializing_if = "Option::is_none")]
    pub(super) success: Option<bool>,
    /// Set if it is for a command of `exec --offline`.
    #[serde(rename = "offline", default, skip_serializing_if = "Option::is_none")]
    pub(super) offline: Option<bool>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Phase2 {
    #[serde(rename = "init")]
    Init,
    #[serde(rename = "before")]
    Before,
}

impl Live2 {
    /// Whether it executes anything but the program.
    pub(super) fn is_command(&self) -> bool {
        self.phase.is_some() || self.offline == Some(true)
    }
}

impl From<Live2> for Live {
    fn from(live: Live2) -> Self {
        let Live2 {
            id,
            started_at,
            phase,
            success: _,
            offline,
        } = live;
        Self {
            id: LaunchId(id),
            started_at: Moment(started_at),
            phase: match (phase, offline) {
                (_, Some(true)) => Phase::Offline,
                (Some(Phase2::Init), _) => Phase::Init,
                (Some(Phase2::Before), _) => Phase::Before,
                (None, _) => Phase::Main,
            },
        }
    }
}

impl From<&Live> for Live2 {
    fn from(launch: &Live) -> Self {
        let Live {
            id,
            started_at: Moment(started_at),
            phase,
        } = launch;
        Self {
            id: id.0,
            started_at: *started_at,
            phase: match phase {
                Phase::Init => Some(Phase2::Init),
                Phase::Before => Some(Phase2::Before),
                Phase::Main | Phase::Offline => None,
            },
            success: None,
            offline: (*phase == Phase::Offline).then_some(true),
        }
    }
}
