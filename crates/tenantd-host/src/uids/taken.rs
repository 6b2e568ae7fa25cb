//! Numbers that others use too.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use nix::unistd::{Group, User};

use super::{all, unreadable};
use tenantd_core::plan::facts::NoOwnUser;
use tenantd_core::plan::model::Plan;

/// The files with numbers for user namespaces, see subuid(5).
const FILES: [&str; 2] = ["/etc/subuid", "/etc/subgid"];

/// A line of one of them.
pub(super) struct SubIds {
    file: &'static str,
    user: String,
    first: u32,
    count: u32,
}

impl SubIds {
    /// Whether a number is one of them.
    pub(super) fn contains(&self, id: u32) -> bool {
        id.checked_sub(self.first).is_some_and(|at| at < self.count)
    }

    fn parse(file: &'static str, line: &str) -> Option<Self> {
        let mut parts = line.trim().split(':');
        let (user, first, count) = (parts.next()?, parts.next()?, parts.next()?);
        Some(Self {
            file,
            user: user.to_owned(),
            first: first.parse().ok()?,
            count: count.parse().ok()?,
        })
    }
}

/// The numbers for user namespaces.
pub(super) fn subordinate() -> Result<Vec<SubIds>, NoOwnUser> {
    let mut all = Vec::new();
    for file in FILES {
        let text = match fs::read(file) {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            found => found.map_err(|error| unreadable(Path::new(file), &error))?,
        };
        let text = String::from_utf8_lossy(&text);
        all.extend(text.lines().filter_map(|line| SubIds::parse(file, line)));
    }
    Ok(all)
}

/// A number of a tenant's own user that another user or group has too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// The number.
    pub uid: u32,
    /// The tenant.
    pub tenant: String,
    /// What else it is, as the rest of a sentence.
    pub by: String,
}

/// The numbers of a plan's own users that another user or group has too.
///
/// # Errors
/// If records or users cannot be read.
pub fn taken(plan: &Plan) -> Result<Vec<Taken>, NoOwnUser> {
    let (recorded, subordinate) = (all()?, subordinate()?);
    let mut of_number: BTreeMap<u32, Vec<&String>> = BTreeMap::new();
    for (label, user) in &recorded {
        of_number.entry(user.uid).or_default().push(label);
    }
    let own = plan.tenants.iter();
    let own = own.filter_map(|tenant| Some((tenant, tenant.own_user()?)));
    let mut found = Vec::new();
    for (tenant, own) in own {
        let label = super::label(&plan.app, &tenant.name);
        let uid = own.uid;
        let unknown = |errno| NoOwnUser::Unknown { uid, errno };
        let user = User::from_uid(uid.into()).map_err(unknown)?;
        let group = Group::from_gid(uid.into()).map_err(unknown)?;
        // A provider of tenantd's own may tell the host its name.
        let user = user.map(|user| user.name);
        let user = user.filter(|name| *name != own.name);
        let group = group.map(|group| group.name);
        let group = group.filter(|name| *name != own.name);
        let others = of_number.get(&uid).into_iter().flatten();
        let other = others.filter(|other| ***other != label);
        let ids = subordinate.iter().filter(|ids| ids.contains(uid));
        let ids = ids.map(|ids| format!("a number of {} in {}", ids.user, ids.file));
        let by = user
            .map(|name| format!("the host's user {name}"))
            .into_iter()
            .chain(group.map(|name| format!("the host's group {name}")))
            .chain(ids)
            .chain(other.map(|label| format!("the user of tenant {label}")));
        found.extend(by.map(|by| Taken {
            uid,
            tenant: tenant.name.to_string(),
            by,
        }));
    }
    Ok(found)
}
