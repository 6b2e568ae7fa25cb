//! What is left of a tenant on this host, whether or not a supervisor runs.

use tenantd_core::name::{AppName, TenantName};
use tenantd_host::cgroup::{self, Tree};
use tenantd_host::{claim, lock, process};

/// What there is of a tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) enum Left {
    /// Proved: no process.
    Nothing,
    /// This.
    Some(String),
    /// It cannot be known.
    Unknown(String),
}

/// Counts the processes of a tenant: those in its cgroup at the top of the tree, and those of each launch
/// with a claim, which says in which cgroup it is.
pub(in super::super) fn of(app: &AppName, tenant: &TenantName) -> Left {
    if cgroup::probe().is_none() {
        return Left::Unknown(
            "this host has no cgroup tree of version 2 that can be written".to_owned(),
        );
    }
    let leaf = Tree::left(app).and_then(|tree| tree.found(tenant));
    let pids = leaf.map(|leaf| leaf.all_pids()).transpose();
    match pids {
        Ok(Some(pids)) if !pids.is_empty() => return Left::Some(process::name_some(&pids)),
        Ok(_) => {}
        Err(failure) => return Left::Unknown(failure.to_string()),
    }
    match claim::held_by(&lock::label(app, tenant)) {
        Err(failure) => Left::Unknown(failure.to_string()),
        Ok(holders) => match holders.first() {
            None => Left::Nothing,
            Some(holder) => Left::Some(match (&holder.cgroup, holder.first) {
                (Some(key), _) => format!("a launch in {}", key.path.display()),
                (None, Some(pid)) => process::name_some(&[pid]),
                (None, None) => "a launch".to_owned(),
            }),
        },
    }
}
