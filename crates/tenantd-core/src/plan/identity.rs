//! Resolves the names of users and groups to numbers.

use std::collections::{BTreeMap, BTreeSet};

use nix::errno::Errno;
use toml::Spanned;

use super::facts::{HostFacts, NoOwnUser, OwnUser, User, WantedUsers};
use super::model::Identity;
use crate::manifest::problem::{Problems, Span};
use crate::manifest::raw::{Known, Manifest};
use crate::manifest::value::Account;
use crate::name::TenantName;

/// The word that gives each tenant a user of its own.
const PER_TENANT: &str = "per-tenant";

/// What to write for a program without a user.
const NO_USER: &str = "add the user that the program runs as: `user = \"per-tenant\"` gives each tenant one \
                       of its own; `user = \"www-data\"` is the same one for all. If the program must start \
                       as root, write `user = \"root\"`";

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
        let gid = group.map(|group| self.group(group, problems));
        let found = match (found, account, &gid) {
            (Ok(found), _, _) => found,
            // A number needs no passwd entry if the group is given.
            (Err(_), Account::Number(uid), Some(Some(gid))) => User {
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
            (Err(why), Account::Name(name), _) => {
                let help = match name.as_str() {
                    PER_TENANT => "leave `user` out here for the tenant's own user",
                    _ => "create it with useradd(8), or use an existing user",
                };
                self.report(user, &why, help, problems);
                return None;
            }
        };
        let gid = match gid {
            Some(gid) => gid?,
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
                own: false,
            },
        })
    }

    /// The users of their own of these tenants. Each is at the position of its setting `user`. If they are not
    /// known, that is reported once.
    pub(super) fn own_users(
        &mut self,
        wanted: &WantedUsers<'_>,
        at: &Span,
        problems: &mut Problems,
    ) -> BTreeMap<TenantName, OwnUser> {
        if wanted.tenants.is_empty() {
            return BTreeMap::new();
        }
        let names = wanted.tenants.iter().map(|name| (*name).clone());
        match self.host.own_users(wanted) {
            Ok(users) => names.zip(users).collect(),
            Err(why) => {
                let help = match why {
                    NoOwnUser::Unknown {
                        errno: Errno::ECONNREFUSED,
                        ..
                    } => {
                        "a program that tells the host of users has ended: start it again, or remove its socket in \
                         /run/systemd/userdb"
                    }
                    NoOwnUser::Unreadable { .. } | NoOwnUser::Unknown { .. } => {
                        "run this command as root"
                    }
                    NoOwnUser::Damaged { .. } => "correct the file, or restore it from a backup",
                    NoOwnUser::Exhausted { .. } => "set a larger `range` in [app.uids]",
                };
                let message = format!("the users of the tenants are not known: {why}");
                problems.report(at, message).help(help);
                BTreeMap::new()
            }
        }
    }

    /// The identity of a tenant that has a user of its own. The group may be another one.
    pub(super) fn own(
        &mut self,
        user: &OwnUser,
        group: Option<&Spanned<Account>>,
        home: String,
        problems: &mut Problems,
    ) -> Option<Person> {
        let gid = match group {
            Some(group) => self.group(group, problems)?,
            None => user.uid,
        };
        Some(Person {
            home,
            identity: Identity {
                user: user.name.clone(),
                uid: user.uid,
                gid,
                groups: vec![gid],
                own: true,
            },
        })
    }

    /// Resolves a group.
    fn group(&mut self, group: &Spanned<Account>, problems: &mut Problems) -> Option<u32> {
        let host = self.host;
        let entry = self.groups.entry(group.get_ref().clone());
        let gid = entry
            .or_insert_with(|| find_group(host, group.get_ref()))
            .clone();
        let help = "for example `group = \"www-data\"`";
        gid.map_err(|why| self.report(group, &why, help, problems))
            .ok()
    }

    /// The number of a user and of its group. A number without a passwd entry has the group of that number.
    pub(super) fn pair(
        &mut self,
        account: &Spanned<Account>,
        problems: &mut Problems,
    ) -> Option<(u32, u32)> {
        let host = self.host;
        let found = self.users.entry(account.get_ref().clone());
        let found = found.or_insert_with(|| find_user(host, account.get_ref()));
        match (found.clone(), account.get_ref()) {
            (Ok(found), _) => Some((found.uid, found.gid)),
            (Err(_), Account::Number(uid)) => Some((*uid, *uid)),
            (Err(why), Account::Name(_)) => {
                let help = "create it with useradd(8), or use an existing user";
                self.report(account, &why, help, problems);
                None
            }
        }
    }

    /// Reports a problem once for each place.
    pub(super) fn report(
        &mut self,
        at: &Spanned<Account>,
        why: &str,
        help: &str,
        problems: &mut Problems,
    ) {
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

/// Whether each tenant has a user of its own.
pub(super) fn is_per_tenant(user: &Known<Account>) -> bool {
    let is_word = |user: &Account| matches!(user, Account::Name(name) if name == PER_TENANT);
    user.as_ref().is_some_and(|user| is_word(user.get_ref()))
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
