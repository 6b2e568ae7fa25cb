//! `move` and `receive`: a tenant goes to another host. The source decides and drives; the target answers one step
//! after another, as processes that the source starts over ssh. The steps on folders are those of
//! [`tenantd_host::relocation`].

mod carrier;
mod copy;
mod earlier;
pub(super) mod heard;
pub(super) mod peer;
mod receive;
mod room;
mod rounds;
mod several;
mod shown;
mod signals;
mod source;
mod states;
mod stream;
mod transport;

use std::path::PathBuf;

use anyhow::Context;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub(super) use self::receive::receive;
pub(super) use self::several::relocate;
use self::transport::Transport;
use super::{edit, plan};
use tenantd_api::client::app::Selector;
use tenantd_core::name::TenantName;
use tenantd_core::plan::data;
use tenantd_core::plan::model::{Plan, TenantPlan};
use tenantd_host::owner::Host;
use tenantd_host::relocation::snapshots::Received;

/// What the source says of the tenant, with each step.
#[derive(Debug, Serialize, Deserialize)]
struct Offer {
    /// The version of its tenantd.
    program: String,
    from: Host,
    /// The host that the step is for, once it is known.
    to: Option<Host>,
    /// Which hosts reach the data, as in the manifest.
    storage: String,
    /// What is derived from the manifest there.
    plan: Value,
    /// The entry of the manifest there.
    entry: Vec<(String, String)>,
    /// The size of the data.
    bytes: u64,
    /// The size of what the same command brings to the same folder after it.
    #[serde(default)]
    later: u64,
    /// The generation of the owner record that the target takes.
    generation: u64,
    /// When the source has proved that it uses the datastore no longer, once it has.
    #[serde(default)]
    left: Option<Timestamp>,
    was_up: bool,
    since: u64,
    /// How the data is copied.
    #[serde(default)]
    transport: Transport,
    /// The snapshot that the step is about.
    #[serde(default)]
    snapshot: Option<Snapshot>,
}

impl Offer {
    /// What is known at the beginning.
    fn begin(from: Host, tenant: &TenantPlan) -> Self {
        Self {
            program: env!("CARGO_PKG_VERSION").to_owned(),
            from,
            to: None,
            storage: tenant.policy.storage.word().to_owned(),
            plan: data::tenant(tenant),
            entry: Vec::new(),
            bytes: 0,
            later: 0,
            generation: 1,
            left: None,
            was_up: true,
            since: 0,
            transport: Transport::Rsync,
            snapshot: None,
        }
    }
}

/// One of the snapshots by which data is copied.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Snapshot {
    number: u64,
    /// The one that the target has already, of which the difference is sent.
    parent: Option<u64>,
}

/// What the target answers.
#[derive(Debug, Serialize, Deserialize)]
struct Reply {
    here: Host,
    /// Where the copy is made.
    staging: PathBuf,
    /// Where the datastore will be.
    place: PathBuf,
    /// Whether the folder for the copy is a new one.
    is_new: bool,
    /// How the tenant is, after it was taken.
    state: String,
    /// Why it cannot receive snapshots, if it cannot.
    #[serde(default)]
    no_snapshots: Option<String>,
    /// The snapshots that it has completely.
    #[serde(default)]
    received: Vec<Received>,
}

/// The plan, and that of one tenant.
fn known(selector: &Selector, tenant: &TenantName) -> anyhow::Result<(PathBuf, Plan, TenantPlan)> {
    let config = edit::manifest(selector)?;
    let (plan, _) = plan::read(&config)?;
    plan::check_known(&config, &plan, std::slice::from_ref(tenant))?;
    let found = plan.tenants.iter().find(|it| it.name == *tenant).cloned();
    let found = found.with_context(|| format!("{tenant}: no such tenant"))?;
    Ok((config, plan, found))
}
