//! Descriptions of types that other crates define, or that contain such a type, for the
//! interface description. They have no other use.
#![allow(dead_code, missing_docs, reason = "only their descriptions are used")]

use super::super::{
    LimitByHand, LogPlace, Offline, ProbeResults, ReachedLimit, RefusedWrite, Starved, Tracking,
};
use super::{AnswerWord, CustomType, Phase, Program, StateWord, Type, Want};
use crate::wire::watch::ProgramExit;

/// The answer to a request, for one tenant; reason is null unless it was refused, unkept unless it was
/// to be permanent and is not.
#[derive(CustomType)]
pub struct Answered {
    tenant: String,
    answer: AnswerWord,
    reason: Option<String>,
    unkept: Option<String>,
}

/// The state of an application.
#[derive(Type)]
pub struct AppStatus {
    app: String,
    pid: u32,
    tracking: Tracking,
    logs: LogPlace,
    unwatched: Option<String>,
    network: Option<NetworkState>,
    manifest: Option<String>,
    tenants: Vec<TenantStatus>,
}

/// The state of one tenant. An absent value is null.
#[derive(CustomType)]
pub struct TenantStatus {
    name: String,
    want: Want,
    permanent: Option<Want>,
    state: StateWord,
    phase: Option<Phase>,
    pid: Option<u32>,
    address: std::net::IpAddr,
    addresses: Vec<std::net::IpAddr>,
    restarts: u32,
    since: String,
    ready: Option<bool>,
    program: Option<Program>,
    awaits: Vec<String>,
    until: Option<String>,
    why: Option<String>,
    failure: Option<Failure>,
    applying: bool,
    unapplied: Option<Failure>,
    lid: Option<String>,
    refused: Option<Vec<RefusedWrite>>,
    misfit: Option<String>,
    main: Option<String>,
    status_text: Option<String>,
    reloading: Option<bool>,
    exit: Option<ProgramExit>,
    killed: Option<Killed>,
    confined: Option<String>,
    offline: Option<Offline>,
    paused: Option<bool>,
    network: Option<NetworkState>,
    cgroup: Option<String>,
    link: Option<String>,
    last_failure: Option<LastFailure>,
    starved: Option<Starved>,
    probe: Option<ProbeResults>,
    by_hand: Option<Vec<LimitByHand>>,
    reached: Option<Vec<ReachedLimit>>,
    engine: Option<String>,
}

/// How often something on the host was different from the plan and was corrected, and what could not be.
#[derive(CustomType)]
pub struct NetworkState {
    mended: u64,
    drift: Option<Failure>,
}

/// A program that was to read its configuration again: the signal that was sent or the command that
/// was run, the main process that got the signal, why nothing was done, and why it failed.
#[derive(CustomType)]
pub struct AppReloaded {
    tenant: String,
    by: Option<String>,
    pid: Option<u32>,
    refused: Option<String>,
    failed: Option<String>,
}

/// What of a tenant could not be mended, or null.
#[derive(CustomType)]
pub struct Repaired {
    tenant: String,
    failed: Option<String>,
}

/// To how many processes a signal was sent; the main process, if it was sent to that one only; and
/// why it was not sent to all that it was meant for, or null.
#[derive(CustomType)]
pub struct Signalled {
    tenant: String,
    processes: u64,
    pid: Option<u32>,
    refused: Option<String>,
}

/// A tenant that was paused or continues: whether it was so already, by how many bytes its memory shrank, whether
/// there was more when its time was over, and why not all was done.
#[derive(CustomType)]
pub struct Frozen {
    tenant: String,
    unchanged: bool,
    reclaimed: Option<u64>,
    cut: Option<bool>,
    refused: Option<String>,
}

/// The last failure of a tenant: when (RFC 3339, UTC) and why, which are null if that is not known; how many
/// strikes count now, with how many it becomes failed (0: never), and when the oldest one counts no longer.
#[derive(CustomType)]
pub struct LastFailure {
    time: Option<String>,
    reason: Option<String>,
    strikes: u32,
    strikes_max: u32,
    until: Option<String>,
}

/// Processes that were killed after a grace: when (RFC 3339, UTC), the grace (null if there was no
/// time for it), their number, and the first of them.
#[derive(CustomType)]
pub struct Killed {
    time: String,
    grace_ms: Option<u64>,
    count: Option<u64>,
    processes: Vec<NamedProcess>,
}

/// A process and the name of its program.
#[derive(CustomType)]
pub struct NamedProcess {
    pid: i32,
    name: String,
}

/// A changed field of the manifest; before or after is null if the field was added or removed.
#[derive(CustomType)]
pub struct FieldChange {
    field: String,
    before: Option<String>,
    after: Option<String>,
}

/// A changed value, with the key that it has in the manifest or in the JSON of a plan; before or
/// after is null if there was or is none.
#[derive(CustomType)]
pub struct KeyChange {
    key: String,
    before: serde_json::Value,
    after: serde_json::Value,
}

/// A change to a tenant (remove, reprovision, relaunch, live, add), the fields that cause it,
/// the tenants that are released before it, what a live change touches (nothing, policy,
/// processes), the changed values, and the files whose contents change.
#[derive(CustomType)]
pub struct TenantChange {
    tenant: String,
    change: String,
    fields: Vec<FieldChange>,
    after: Vec<String>,
    touches: Option<String>,
    keys: Vec<KeyChange>,
    files: Option<Vec<FileDiff>>,
}

/// A file whose contents change, and the difference as diff -u shows it.
#[derive(CustomType)]
pub struct FileDiff {
    path: String,
    diff: String,
}

/// The changes of a reload: fields that cannot change while the supervisor runs (if there are
/// any, the rest is empty), fields that tenants share and that change live or with their network, the changes per tenant, the number of unchanged tenants, and those
/// among them for which an earlier live change is tried again. Tenants that could not be launched
/// (if there are any, nothing is changed). The hash identifies the changes, for `Reload`; it is
/// null if they cannot be made.
#[derive(Type)]
pub struct Changes {
    fixed: Vec<FieldChange>,
    shared: Vec<FieldChange>,
    tenants: Vec<TenantChange>,
    unchanged: u32,
    retried: Vec<String>,
    unlaunchable: Option<Vec<Unlaunchable>>,
    hash: Option<String>,
    fixed_keys: Vec<KeyChange>,
}

/// A tenant that could not be launched, why, and the place in the manifest if there is one.
#[derive(CustomType)]
pub struct Unlaunchable {
    tenant: String,
    why: String,
    place: Option<Place>,
}

/// A place in the manifest: its line, and an excerpt with it.
#[derive(CustomType)]
pub struct Place {
    file: String,
    line: u32,
    column: u32,
    excerpt: String,
}

/// A failed stage, the object that it failed on, the errno (0 if there is none) and details.
#[derive(CustomType)]
pub struct Failure {
    stage: String,
    object: String,
    errno: i32,
    detail: String,
}
