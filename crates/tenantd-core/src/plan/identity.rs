//! Resolves the names of users and groups to numbers.

use std::collections::{BTreeMap, BTreeSet};

use nix::errno::Errno;
use toml::Spanned;

use super::facts::{HostFacts, User};
use super::model::Identity;
use crate::manifest::problem::Problems;
use crate::manifest::raw::Manifest;
use crate::manifest::value::Account;

/// What to write for a program without a user.
const NO_USER: &str = "add the user that the program runs as: `user = \"www-data\"`, or the one that \
                       its package made. If it must start as root, write `user = \"root\"`";

/// An identity, with its home folder for the environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Person {
    pub(super) identity: Identity,
    pub(super) home: String,
}

/// Resolves users and groups, with one lookup on the host for each.
pub(super) struct People<'h> {
    host: &'h dyn HostFacts,
    users: BTreeMap<Account, Result<User, String>>,
    groups: BTreeMap<Account, Result<u32, String>>,
    supplementary: BTreeMap<(String, u32), Result<Vec<u32>, Errno>>,
    /// Positions with a reported problem: one position may apply to many tenants.
    reported: BTreeSet<usize>,
}

impl<'h> People<'h> {
    pub(super) fn new(host: &'h dyn HostFacts) -> Self {
        Self {
            host,
            users: BTreeMap::new(),
            groups: BTreeMap::new(),
            supplementary: BTreeMap::new(),
            reported: BTreeSet::new(),
        }
    }

    /// Resolves a user and an optional group.
    pub(super) fn resolve(
        &mut self,
        user: &Spanned<Account>,
        group: Option<&Spanned<Account>>,
        problems: &mut Problems,
    ) -> Option<Person> {
        let host = self.host;
        let account = user.get_ref();
        let found = self.users.entry(account.clone());
        let found = found.or_insert_with(|| find_user(host, account)).clone();
        let gid = group.map(|group| {
            let entry = self.groups.entry(group.get_ref().clone());
            let gid = entry
                .or_insert_with(|| find_group(host, group.get_ref()))
                .clone();
            let help = "for example `group = \"www-data\"`";
            gid.map_err(|why| self.report(group, &why, help, problems))
        });
        let found = match (found, account, &gid) {
            (Ok(found), _, _) => found,
            // A number needs no passwd entry if the group is given.
            (Err(_), Account::Number(uid), Some(Ok(gid))) => User {
                name: uid.to_string(),
                uid: *uid,
                gid: *gid,
                home: "/".to_owned(),
            },
            (Err(why), Account::Number(_), _) => {
                let help = "set `group` too, or create the user";
                self.report(user, &why, help, problems);
                return None;
            }
            (Err(why), Account::Name(_), _) => {
                self.report(
                    user,
                    &why,
                    "create it with useradd(8), or use an existing user",
                    problems,
                );
                return None;
            }
        };
        let gid = match gid {
            Some(gid) => gid.ok()?,
            None => found.gid,
        };
        let key = (found.name.clone(), gid);
        let groups = self.supplementary.entry(key);
        let groups = groups
            .or_insert_with_key(|(name, gid)| host.groups(name, *gid))
            .clone();
        let groups = groups
            .map_err(|errno| {
                let why = format!("cannot read the groups of {}: {}", found.name, errno.desc());
                self.report(user, &why, "see group(5)", problems);
            })
            .ok()?;
        Some(Person {
            home: found.home,
            identity: Identity {
                user: found.name,
                uid: found.uid,
                gid,
                groups,
            },
        })
    }

    fn report(&mut self, at: &Spanned<Account>, why: &str, help: &str, problems: &mut Problems) {
        if self.reported.insert(at.span().start) {
            problems.report(&at.span(), why).help(help);
        }
    }
}

/// Reports tenants whose user is set nowhere. Root is no default: a program that can do without it would
/// run as root only because nothing was written.
pub(super) fn check_user(manifest: &Manifest, problems: &mut Problems) {
    let app = &manifest.app;
    if app.user.is_set || manifest.defaults.user.is_set {
        return;
    }
    let tenants = &manifest.tenants;
    let without = tenants.iter().find(|it| !it.overrides.user.is_set);
    if without.is_none() && !tenants.is_empty() {
        return;
    }
    let problem = problems.report(&app.at, "`user` is missing in [app]");
    problem.help(NO_USER);
    if let Some(tenant) = without
        && tenants.iter().any(|it| it.overrides.user.is_set)
    {
        problem.also(&tenant.at, "this tenant has no `user` of its own");
    }
}

fn find_user(host: &dyn HostFacts, account: &Account) -> Result<User, String> {
    let (found, unknown) = match account {
        Account::Name(name) => (host.user(name), format!("user `{name}` does not exist")),
        Account::Number(uid) => (
            host.user_of(*uid),
            format!("user {uid} has no passwd entry, so its group is unknown"),
        ),
    };
    match found {
        Ok(found) => found.ok_or(unknown),
        Err(errno) => Err(format!("cannot look up user {account}: {}", errno.desc())),
    }
}

pub(super) fn find_group(host: &dyn HostFacts, account: &Account) -> Result<u32, String> {
    let name = match account {
        Account::Number(gid) => return Ok(*gid),
        Account::Name(name) => name,
    };
    match host.group(name) {
        Ok(found) => found.ok_or_else(|| format!("group `{name}` does not exist")),
        Err(errno) => Err(format!("cannot look up group {name}: {}", errno.desc())),
    }
}
