//! The output of `status --json`: what the supervisor answers, and what the tenants use that were named.

use serde::Serialize;

use super::limits;
use tenantd_api::wire::{AppStatus, LogPlace, NetworkState, TenantStatus, Tracking};
use tenantd_core::name::AppName;
use tenantd_host::cgroup::Bounds;

/// The members of [`AppStatus`].
#[derive(Serialize)]
pub(super) struct Whole {
    app: AppName,
    pid: u32,
    tracking: Tracking,
    logs: LogPlace,
    unwatched: Option<String>,
    network: NetworkState,
    manifest: Option<String>,
    tenants: Vec<Tenant>,
}

/// The members of [`TenantStatus`], and what it uses.
#[derive(Serialize)]
struct Tenant {
    #[serde(flatten)]
    status: TenantStatus,
    /// Null if it was not named, if it has no cgroup, and if that cannot be read.
    usage: Option<Bounds>,
}

impl Whole {
    /// Reads what the tenants use if they were named: of all of them that would be many files.
    pub(super) fn new(status: AppStatus, are_named: bool) -> Self {
        let AppStatus {
            app,
            pid,
            tracking,
            logs,
            unwatched,
            network,
            manifest,
            tenants,
        } = status;
        let read = |tenant: &TenantStatus| are_named.then(|| limits::of(&app, tenant))??.ok();
        let tenants = tenants.into_iter().map(|status| Tenant {
            usage: read(&status),
            status,
        });
        let tenants = tenants.collect();
        Self {
            app,
            pid,
            tracking,
            logs,
            unwatched,
            network,
            manifest,
            tenants,
        }
    }
}
