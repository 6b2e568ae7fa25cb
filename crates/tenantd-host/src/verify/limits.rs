//! The limits of cgroups: those of a tenant's leaf, and of the folder of all leaves.

use std::io;
use std::path::Path;

use super::Drift;
use crate::cgroup::{Unequal, by_hand_of, leaf_of, unequal};
use tenantd_core::cgroup::GroupLimits;

/// Without a cgroup of its own, `cgroup` is not as planned: that is said elsewhere.
pub(super) fn verify(limits: &GroupLimits, pid: u32) -> io::Result<Vec<Drift>> {
    match leaf_of(pid)? {
        Some(leaf) => {
            let hand = by_hand_of(&leaf).map_err(|why| io::Error::other(why.to_string()))?;
            compare(&leaf, &hand.over(limits))
        }
        None => Ok(Vec::new()),
    }
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
