//! `move` and `receive`: a tenant goes to another host. The source decides and drives; the target answers one step
//! after another, as processes that the source starts over ssh. The steps on folders are those of
//! [`tenantd_host::relocation`].

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

use std::path::PathBuf;

use anyhow::Context;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub(super) use self::receive::receive;
pub(super) use self::several::relocate;
use super::{edit, plan};
use tenantd_api::client::app::Selector;
use tenantd_core::name::TenantName;
use tenantd_core::plan::model::{Plan, TenantPlan};
use tenantd_host::owner::Host;

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
