//! The limits of cgroups: those of a tenant's leaf, and of the folder of all leaves.

use std::io;
use std::path::Path;

use super::Drift;
use crate::cgroup::{Unequal, by_hand_of, leaf_of, unequal};
use crate::quota;
use tenantd_core::cgroup::{DiskLimits, GroupKey, GroupLimits, shown};
use tenantd_core::plan::model::TenantPlan;
use tenantd_core::stage::Failure;

/// Without a cgroup of its own, `cgroup` is not as planned: that is said elsewhere.
pub(super) fn verify(plan: &TenantPlan, pid: u32) -> io::Result<Vec<Drift>> {
    let limits = &plan.launch.group;
    match leaf_of(pid)? {
        Some(leaf) => {
            let hand = by_hand_of(&leaf).map_err(|why| io::Error::other(why.to_string()))?;
            let holding = hand.over(limits);
            let mut drifts = compare(&leaf, &holding)?;
            drifts.extend(of_disk(&plan.datastore.source, holding.of_disk())?);
            Ok(drifts)
        }
        None => of_disk(&plan.datastore.source, limits.of_disk()),
    }
}

/// The quota of a datastore.
fn of_disk(source: &Path, limits: DiskLimits) -> io::Result<Vec<Drift>> {
    let failed = |why: Failure| io::Error::other(why.to_string());
    if quota::is_set(source, limits).map_err(failed)? {
        return Ok(Vec::new());
    }
    let found = quota::found(source).map_err(failed)?;
    let is_elsewhere = found.is_some_and(|it| it.is_elsewhere);
    let mut drifts = Vec::new();
    let found = found.unwrap_or_default().limits;
    for (name, planned, found) in [
        ("disk.max", limits.bytes, found.bytes),
        ("disk.files", limits.files, found.files),
    ] {
        let Some(key) = GroupKey::named(name) else {
            continue;
        };
        let text = |it: Option<u64>| it.map_or("max".to_owned(), |it| it.to_string());
        let worded = |it| shown(key, &text(it));
        if planned != found {
            drifts.push(Drift {
                what: "limit",
                planned: format!("{name} {}", worded(planned)),
                found: worded(found),
            });
        }
    }
    if is_elsewhere {
        drifts.push(Drift {
            what: "limit",
            planned: "the project of the datastore's folder".to_owned(),
            found: "another project, or one that new files do not get".to_owned(),
        });
    }
    Ok(drifts)
}

pub(super) fn total(limits: &GroupLimits, pid: u32) -> io::Result<Vec<Drift>> {
    match leaf_of(pid)?.as_deref().and_then(Path::parent) {
        Some(all) => compare(all, limits),
        None => Ok(Vec::new()),
    }
}

fn compare(cgroup: &Path, limits: &GroupLimits) -> io::Result<Vec<Drift>> {
    let unequal = unequal(cgroup, limits).map_err(|why| io::Error::other(why.to_string()))?;
    let drift = |one| {
        let Unequal {
            name,
            planned,
            found,
        } = one;
        Drift {
            what: "limit",
            planned: format!("{name} {planned}"),
            found,
        }
    };
    Ok(unequal.into_iter().map(drift).collect())
}
