//! The types with which the program of commit 2157092 reads a record, unchanged. They are never
//! edited: they prove that it can read records of version 2.

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use tenantd_core::name::TenantName;

#[derive(Serialize, Deserialize)]
pub(super) struct Head {
    version: u32,
    boot: String,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Record {
    tenant: TenantName,
    memory: Memory,
    process: Option<Mark>,
    netns: u64,
    plan: u64,
    #[serde(default)]
    made: Option<Made>,
    program: Option<ProgramFile>,
}

#[derive(Serialize, Deserialize)]
struct Made {
    by: Fingerprints,
    holds: Option<Holding>,
}

#[derive(Serialize, Deserialize)]
struct Mark {
    pid: i32,
    start_ticks: u64,
}

#[derive(Serialize, Deserialize)]
struct ProgramFile(u64);

#[derive(Serialize, Deserialize)]
struct Fingerprints {
    renew: u64,
    relaunch: u64,
}

#[derive(Serialize, Deserialize)]
struct Holding {
    address: Ipv4Addr,
    source: Option<PathBuf>,
}

#[derive(Serialize, Deserialize)]
struct Memory {
    want: Want,
    asked: bool,
    state: State,
    since: Moment,
    restarts: u32,
    strikes: Strikes,
    budget: Moment,
}

#[derive(Serialize, Deserialize)]
struct Strikes {
    count: u32,
    fell: VecDeque<Moment>,
}

#[derive(Serialize, Deserialize)]
struct Moment(u64);

#[derive(Serialize, Deserialize)]
struct LaunchId(u64);

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Want {
    Up,
    Down,
}

#[derive(Serialize, Deserialize)]
struct Live {
    id: LaunchId,
    started_at: Moment,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum State {
    Down,
    Provisioning {
        started_at: Moment,
        making: Making,
    },
    Launching {
        launch: Live,
        again: Option<Again>,
    },
    Up {
        launch: Live,
        ready: Readying,
    },
    Stopping {
        launch: Live,
        ending: Ending,
        after: After,
    },
    Waiting {
        until: Moment,
        footing: Resources,
        again: bool,
        why: Why,
    },
    Held {
        footing: Resources,
        why: Why,
    },
    Releasing {
        tries: u32,
    },
    Stuck {
        left: Left,
        why: Failure,
        tries: u32,
        retry_at: Option<Moment>,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Making {
    Awaiting,
    Begun,
    Outdated,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Again {
    Relaunch,
    Renew,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Readying {
    Ready,
    Before(Moment),
    At(Moment),
    Unheard(Moment),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Ending {
    Grace { kill_at: Moment },
    Killed { until: Moment },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum After {
    Relaunch,
    Renew,
    Judge(Why),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Left {
    Processes { launch: Live, after: After },
    Network,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Resources {
    Nothing,
    Remains,
    Whole,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Why {
    Failure(Failure),
    Exit(Exit),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Exit {
    Status(i32),
    Signal(i32),
    Unknown,
}

#[derive(Serialize, Deserialize)]
struct Failure {
    stage: Stage,
    object: String,
    errno: i32,
    detail: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Stage {
    Netns,
    Link,
    Address,
    Route,
    Datastore,
    Cgroup,
    Log,
    Lock,
    Tree,
    Program,
    Clone,
    Signals,
    Session,
    EnterNetns,
    Propagation,
    Attach,
    Private,
    Hide,
    Capabilities,
    Limits,
    Groups,
    Group,
    User,
    NoNewPrivs,
    WorkingDirectory,
    Stdio,
    Descriptors,
    Exec,
    Vanished,
    Ready,
    End,
    Release,
}
