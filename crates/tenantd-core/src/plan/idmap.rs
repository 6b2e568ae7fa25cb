//! As whose a tenant sees the files of its datastore, where that is another user than the host sees: an idmapped
//! mount, see mount_setattr(2).
//!
//! The two users stand for each other, and so do the two groups; all others are the same on both sides. So each
//! number has a place on each side, and no file belongs to nobody.

use std::fmt;

use toml::Spanned;

use super::facts::OwnUser;
use super::identity::{People, is_per_tenant};
use super::model::{Identity, TenantPlan};
use crate::manifest::problem::Problems;
use crate::manifest::raw::Manifest;
use crate::manifest::value::Account;

/// Two numbers that stand for each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Swap {
    /// What the host sees.
    pub disk: u32,
    /// What the tenant sees.
    pub seen: u32,
}

impl Swap {
    /// What a number stands for on the other side.
    #[must_use]
    pub fn other(self, id: u32) -> u32 {
        match id {
            _ if id == self.disk => self.seen,
            _ if id == self.seen => self.disk,
            _ => id,
        }
    }

    /// The parts of the map: the first number on the host, the first that the tenant sees, and how many.
    #[must_use]
    pub fn parts(self) -> Vec<[u32; 3]> {
        let (low, high) = (self.disk.min(self.seen), self.disk.max(self.seen));
        if low == high {
            return vec![[0, 0, u32::MAX]];
        }
        // The last number is none, see user_namespaces(7).
        let all = [
            [0, 0, low],
            [low, high, 1],
            [low + 1, low + 1, high - low - 1],
            [high, low, 1],
            [high + 1, high + 1, u32::MAX - high - 1],
        ];
        all.into_iter().filter(|[_, _, count]| *count > 0).collect()
    }
}

/// As whose a tenant sees the files of its datastore.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdMap {
    /// The users.
    pub uid: Swap,
    /// The groups.
    pub gid: Swap,
    /// Whether it holds for the host's folder below an overlay too: the owner is a user whom the host's programs
    /// have.
    pub of_host: bool,
    /// The name of the user on the host, if that is recorded for this tenant only.
    pub own: Option<String>,
}

impl fmt::Display for IdMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { uid, gid, .. } = self;
        let (disk, seen) = ((uid.disk, gid.disk), (uid.seen, gid.seen));
        write!(f, "{}:{} for {}:{}", seen.0, seen.1, disk.0, disk.1)
    }
}

impl TenantPlan {
    /// The user that is recorded for this tenant only: its own, or that of its files on the host.
    #[must_use]
    pub fn own_user(&self) -> Option<OwnUser> {
        let identity = &self.launch.identity;
        let map = self.datastore.map.as_ref();
        let of_files = map.and_then(|map| Some((map.own.clone()?, map.uid.disk)));
        let own = identity.own.then(|| (identity.user.clone(), identity.uid));
        let (name, uid) = own.or(of_files)?;
        Some(OwnUser { name, uid })
    }
}

/// Whose files a tenant's datastore has on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) map: Option<IdMap>,
}

impl Owner {
    /// The user on the host that the tenant sees as `id`.
    pub(super) fn uid_of(&self, id: u32) -> u32 {
        self.map.as_ref().map_or(id, |map| map.uid.other(id))
    }

    /// The group on the host that the tenant sees as `id`.
    pub(super) fn gid_of(&self, id: u32) -> u32 {
        self.map.as_ref().map_or(id, |map| map.gid.other(id))
    }
}

/// Whether the files of each tenant belong to a user of its own on the host, by `owner`.
pub(super) fn owns_per_tenant(manifest: &Manifest) -> bool {
    is_per_tenant(&manifest.app.datastore.owner)
}

/// Whose files the datastore of a tenant has. `own` is the user that is recorded for it, if any. Returns `None` if a
/// problem has been reported.
pub(super) fn owner(
    manifest: &Manifest,
    identity: &Identity,
    own: Option<&OwnUser>,
    people: &mut People<'_>,
    problems: &mut Problems,
) -> Option<Owner> {
    let datastore = &manifest.app.datastore;
    let Some(said) = &datastore.owner else {
        if let Some(seen_as) = &datastore.seen_as {
            let help = "add whose files they are on the host: `owner = \"per-tenant\"`, or a user";
            people.report(seen_as, "`seen_as` has no `owner`", help, problems);
        }
        let (uid, gid) = (identity.uid, identity.gid);
        return Some(Owner {
            uid,
            gid,
            map: None,
        });
    };
    let is_own = owns_per_tenant(manifest);
    let (uid, gid) = match is_own {
        true => own.map(|own| (own.uid, own.uid))?,
        false => people.pair(said, problems)?,
    };
    if uid == 0 || gid == 0 {
        let why = "the files of a datastore cannot be root's on the host";
        let help = "a file with the set-user-ID bit, which the tenant can set, would make its users root there: \
                    name another user";
        people.report(said, why, help, problems);
        return None;
    }
    let seen = match &datastore.seen_as {
        Some(seen_as) => people.pair(seen_as, problems)?,
        None => (identity.uid, identity.gid),
    };
    if seen.0 == 0 {
        refuse_root(datastore.seen_as.as_ref().unwrap_or(said), people, problems);
        return None;
    }
    let map = ((uid, gid) != seen).then(|| IdMap {
        uid: Swap {
            disk: uid,
            seen: seen.0,
        },
        gid: Swap {
            disk: gid,
            seen: seen.1,
        },
        of_host: !is_own,
        own: own.filter(|_| is_own).map(|own| own.name.clone()),
    });
    Some(Owner { uid, gid, map })
}

fn refuse_root(at: &Spanned<Account>, people: &mut People<'_>, problems: &mut Problems) {
    let why = "the files of a datastore cannot be seen as root's";
    let help = "name the user that the program becomes: `seen_as = \"www-data\"`";
    people.report(at, why, help, problems);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_numbers_stand_for_each_other_and_each_number_is_mapped_once() {
        for (disk, seen) in [
            (110_u32, 70000_u32),
            (70000, 110),
            (0, 1),
            (5, 6),
            (7, 7),
            (0, 42),
        ] {
            let swap = Swap { disk, seen };
            let parts = swap.parts();
            assert!(parts.len() <= 5, "{parts:?}");
            let total: u64 = parts.iter().map(|part| u64::from(part[2])).sum();
            assert_eq!(total, u64::from(u32::MAX), "{parts:?}");
            for id in [
                0_u32, 1, 5, 6, 7, 8, 42, 109, 110, 111, 70000, 70001, 4_000_000,
            ] {
                let mapped = parts.iter().find_map(|[from, to, count]| {
                    let at = id.checked_sub(*from).filter(|at| at < count)?;
                    Some(to + at)
                });
                assert_eq!(mapped, Some(swap.other(id)), "{id} of {swap:?}");
                assert_eq!(swap.other(swap.other(id)), id);
            }
        }
    }
}
