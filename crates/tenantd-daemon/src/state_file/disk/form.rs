//! The types of all versions of the file.
//!
//! Every key and value is written out in an attribute, so that renaming a type, field or state in
//! the program does not change the file.

use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};

use super::ending::Ending2;
use super::exit::Exit2;
use super::forced::Forced2;
use super::last::Last2;
use super::live::Live2;
use super::main_process::Main2;
use super::repair::Repair2;
use super::says::Says2;
use super::view::View2;

/// A record in the version that was chosen for it.
#[derive(Debug)]
pub(super) enum Written {
    Two(Record2),
    Three(Record3),
}

/// Version 2: a tenant with one IPv4 address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record2 {
    #[serde(rename = "tenant")]
    pub(super) tenant: String,
    #[serde(rename = "memory")]
    pub(super) checkpoint: Memory2,
    #[serde(rename = "process")]
    pub(super) process: Option<Process2>,
    #[serde(rename = "netns")]
    pub(super) netns: u64,
    /// Always 0: the program of commit 2157092 needs it, and uses `made`. No other reads it.
    #[serde(rename = "plan", skip_deserializing)]
    pub(super) plan: u64,
    #[serde(rename = "made")]
    pub(super) made: Made2,
    #[serde(rename = "program")]
    pub(super) program: Option<u64>,
    /// Programs of earlier versions do not read this.
    #[serde(rename = "view", default, skip_serializing_if = "Option::is_none")]
    pub(super) view: Option<View2>,
    /// The same.
    #[serde(rename = "main", default, skip_serializing_if = "Option::is_none")]
    pub(super) main: Option<Main2>,
    /// The same.
    #[serde(rename = "says", default, skip_serializing_if = "Option::is_none")]
    pub(super) says: Option<Says2>,
}

/// Version 3: any addresses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record3 {
    #[serde(rename = "version")]
    pub(super) version: u32,
    #[serde(rename = "tenant")]
    pub(super) tenant: String,
    #[serde(rename = "memory")]
    pub(super) checkpoint: Memory2,
    #[serde(rename = "process")]
    pub(super) process: Option<Process2>,
    #[serde(rename = "netns")]
    pub(super) netns: u64,
    #[serde(rename = "made")]
    pub(super) made: Made3,
    #[serde(rename = "program")]
    pub(super) program: Option<u64>,
    /// Programs of earlier versions do not read this.
    #[serde(rename = "view", default, skip_serializing_if = "Option::is_none")]
    pub(super) view: Option<View2>,
    /// The same.
    #[serde(rename = "main", default, skip_serializing_if = "Option::is_none")]
    pub(super) main: Option<Main2>,
    /// The same.
    #[serde(rename = "says", default, skip_serializing_if = "Option::is_none")]
    pub(super) says: Option<Says2>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Process2 {
    #[serde(rename = "pid")]
    pub(super) pid: i32,
    #[serde(rename = "start_ticks")]
    pub(super) start_ticks: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Made2 {
    #[serde(rename = "by")]
    pub(super) by: Fingerprints2,
    #[serde(rename = "holds")]
    pub(super) holds: Option<Holding2>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Made3 {
    #[serde(rename = "by")]
    pub(super) by: Fingerprints2,
    #[serde(rename = "holds")]
    pub(super) holds: Option<Holding3>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Fingerprints2 {
    #[serde(rename = "renew")]
    pub(super) reprovision: u64,
    #[serde(rename = "relaunch")]
    pub(super) relaunch: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Holding2 {
    #[serde(rename = "address")]
    pub(super) address: Ipv4Addr,
    #[serde(rename = "source")]
    pub(super) source: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Holding3 {
    #[serde(rename = "addresses")]
    pub(super) addresses: Vec<IpAddr>,
    #[serde(rename = "source")]
    pub(super) source: Option<String>,
}

/// Moments are nanoseconds on the boot clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Memory2 {
    #[serde(rename = "want")]
    pub(super) want: Want2,
    #[serde(rename = "asked")]
    pub(super) asked: bool,
    #[serde(rename = "state")]
    pub(super) state: State2,
    #[serde(rename = "since")]
    pub(super) since: u64,
    #[serde(rename = "restarts")]
    pub(super) restarts: u32,
    #[serde(rename = "strikes")]
    pub(super) strikes: Strikes2,
    #[serde(rename = "budget")]
    pub(super) budget: u64,
    /// Set if the program ended by itself and is not restarted; `want` is "down" then.
    #[serde(rename = "exited", default, skip_serializing_if = "Option::is_none")]
    pub(super) exited: Option<Exit2>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) left_others: bool,
    /// Programs of earlier versions do not read this.
    #[serde(rename = "killed", default, skip_serializing_if = "Option::is_none")]
    pub(super) forced: Option<Forced2>,
    /// The same.
    #[serde(rename = "last", default, skip_serializing_if = "Option::is_none")]
    pub(super) last: Option<Last2>,
    #[serde(rename = "repair", default, skip_serializing_if = "Option::is_none")]
    pub(super) repair: Option<Repair2>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Strikes2 {
    #[serde(rename = "count")]
    pub(super) count: u32,
    #[serde(rename = "fell")]
    pub(super) times: Vec<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Want2 {
    #[serde(rename = "up")]
    Up,
    #[serde(rename = "down")]
    Down,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum State2 {
    #[serde(rename = "down")]
    Down,
    #[serde(rename = "provisioning")]
    Provisioning {
        #[serde(rename = "started_at")]
        started_at: u64,
        #[serde(rename = "making")]
        making: Making2,
    },
    #[serde(rename = "launching")]
    Launching {
        #[serde(rename = "launch")]
        launch: Live2,
        #[serde(rename = "again")]
        again: Option<RestartScope2>,
        /// Set if the command of a phase runs, until when. Programs without phases take it for the
        /// program; they have no manifest with such a command.
        #[serde(rename = "until", default, skip_serializing_if = "Option::is_none")]
        until: Option<u64>,
        /// Set if the result of the phase is being recorded.
        #[serde(rename = "ended", default, skip_serializing_if = "Option::is_none")]
        ended: Option<Ended2>,
    },
    #[serde(rename = "up")]
    Up {
        #[serde(rename = "launch")]
        launch: Live2,
        #[serde(rename = "ready")]
        ready: Readying2,
    },
    #[serde(rename = "stopping")]
    Stopping {
        #[serde(rename = "launch")]
        launch: Live2,
        #[serde(rename = "ending")]
        ending: Ending2,
        #[serde(rename = "after")]
        after: After2,
    },
    #[serde(rename = "waiting")]
    Waiting {
        #[serde(rename = "until")]
        until: u64,
        #[serde(rename = "footing")]
        resources: Resources2,
        #[serde(rename = "again")]
        again: bool,
        #[serde(rename = "why")]
        why: Why2,
    },
    #[serde(rename = "held")]
    Failed {
        #[serde(rename = "footing")]
        resources: Resources2,
        #[serde(rename = "why")]
        why: Why2,
    },
    #[serde(rename = "releasing")]
    Releasing {
        #[serde(rename = "tries")]
        tries: u32,
    },
    #[serde(rename = "stuck")]
    Stuck {
        #[serde(rename = "left")]
        left: Left2,
        #[serde(rename = "why")]
        why: Failure2,
        #[serde(rename = "tries")]
        tries: u32,
        #[serde(rename = "retry_at")]
        retry_at: Option<u64>,
    },
}

/// The end of a launch of phase init.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ended2 {
    #[serde(rename = "after")]
    pub(super) after: After2,
    #[serde(rename = "footing")]
    pub(super) resources: Resources2,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Making2 {
    #[serde(rename = "awaiting")]
    Awaiting,
    #[serde(rename = "begun")]
    Begun,
    #[serde(rename = "outdated")]
    Outdated,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum RestartScope2 {
    #[serde(rename = "relaunch")]
    Relaunch,
    #[serde(rename = "renew")]
    Reprovision,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Readying2 {
    #[serde(rename = "ready")]
    Ready,
    #[serde(rename = "before")]
    Before(u64),
    #[serde(rename = "at")]
    At(u64),
    #[serde(rename = "unheard")]
    Unknown(u64),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum After2 {
    #[serde(rename = "relaunch")]
    Relaunch,
    #[serde(rename = "renew")]
    Reprovision,
    #[serde(rename = "judge")]
    Judge(Why2),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Left2 {
    #[serde(rename = "processes")]
    Processes {
        #[serde(rename = "launch")]
        launch: Live2,
        #[serde(rename = "after")]
        after: After2,
    },
    #[serde(rename = "network")]
    Network,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Resources2 {
    #[serde(rename = "nothing")]
    Nothing,
    #[serde(rename = "remains")]
    Remains,
    #[serde(rename = "whole")]
    Whole,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Why2 {
    #[serde(rename = "failure")]
    Failure(Failure2),
    #[serde(rename = "exit")]
    Exit(Exit2),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Failure2 {
    /// One of the stages of version 2.
    #[serde(rename = "stage")]
    pub(super) stage: String,
    #[serde(rename = "object")]
    pub(super) object: String,
    #[serde(rename = "errno")]
    pub(super) errno: i32,
    #[serde(rename = "detail")]
    pub(super) detail: String,
    /// The stage itself, where it came later than version 2, whose programs do not read this; they
    /// know it by `stage`, the one of theirs that comes nearest.
    #[serde(
        rename = "later_stage",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub(super) later_stage: Option<String>,
}
