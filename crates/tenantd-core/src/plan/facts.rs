//! Facts about the host that a plan depends on: users, groups, programs and addresses.
//!
//! The plan uses the trait [`HostFacts`]. The host crate implements it for the real host; [`Table`]
//! implements it with fixed answers, for tests.

mod parent;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ipnetwork::IpNetwork;
use nix::errno::Errno;

use super::derive::own_user_name;
use super::model::Bound;
pub use crate::manifest::value::UidRange;
use crate::name::{AppName, TenantName};
pub use parent::{Bridge, Parent, ParentKind};

/// A user, as passwd(5) has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The name.
    pub name: String,
    /// The number.
    pub uid: u32,
    /// The primary group.
    pub gid: u32,
    /// The home folder.
    pub home: String,
}

/// Tenants that have a user of their own.
#[derive(Debug, Clone)]
pub struct WantedUsers<'a> {
    /// Their application.
    pub app: &'a AppName,
    /// Their names, in the order in which numbers are found for them.
    pub tenants: Vec<&'a TenantName>,
    /// The numbers from which one is found for each that has none yet.
    pub range: UidRange,
}

/// The user that only one tenant of the host has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnUser {
    /// Its name.
    pub name: String,
    /// Its number, which is that of its group too.
    pub uid: u32,
}

/// Why it is not known which user a tenant has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoOwnUser {
    /// What is recorded cannot be read.
    #[error("cannot read {}: {}", path.display(), errno.desc())]
    Unreadable {
        /// The file or folder.
        path: PathBuf,
        /// The error.
        errno: Errno,
    },
    /// A record has no meaning.
    #[error("{} is damaged: {why}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The users of the host cannot be looked up.
    #[error("cannot look up user {uid}: {}", errno.desc())]
    Unknown {
        /// The number.
        uid: u32,
        /// The error.
        errno: Errno,
    },
    /// No number is left for a tenant.
    #[error("no number from {} to {} is free for tenant {tenant}", range.first, range.last)]
    Exhausted {
        /// The tenant.
        tenant: TenantName,
        /// The range.
        range: UidRange,
    },
}

/// A record cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot read {}: {}", path.display(), errno.desc())]
pub struct NoRecord {
    /// The file or folder.
    pub path: PathBuf,
    /// The error; EINVAL if it has no meaning.
    pub errno: Errno,
}

/// What exists at a program's path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProgramFact {
    /// An executable regular file, with its path without symbolic links.
    Executable(PathBuf),
    /// A regular file that is not executable.
    NotExecutable,
    /// Not a regular file, such as a folder.
    NoFile,
    /// Nothing.
    Missing,
    /// The path could not be examined.
    Unknown(Errno),
}

/// The text of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TextFact {
    /// The text.
    Text(String),
    /// There is no such file.
    Missing,
    /// Not a regular file, such as a folder.
    NoFile,
    /// It is larger than what was asked for.
    TooLarge,
    /// It is not valid UTF-8.
    NotUtf8 {
        /// The first line that is not, counted from 1.
        line: usize,
    },
    /// It cannot be read.
    Unknown(Errno),
}

/// An address of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostAddress {
    /// The interface that has it.
    pub interface: String,
    /// The address with its prefix.
    pub network: IpNetwork,
}

/// A network that something has on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The network.
    pub network: IpNetwork,
    /// What has it.
    pub by: Claimant,
}

/// What has a network on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claimant {
    /// A route, in a table that a rule names.
    Route {
        /// The name of the interface that it leads to; `None` if it leads to none.
        interface: Option<String>,
        /// The number of the table.
        table: u32,
        /// The alias of the interface.
        mark: Option<String>,
        /// Whether the table comes before the main one, for all packets.
        is_first: bool,
    },
    /// The manifest of an application, whether it runs or not.
    Manifest {
        /// The application.
        app: String,
        /// The path of the manifest.
        path: String,
    },
}

impl Claimant {
    /// The interface that a route leads to.
    #[must_use]
    pub fn interface(&self) -> Option<&String> {
        match self {
            Self::Route { interface, .. } => interface.as_ref(),
            Self::Manifest { .. } => None,
        }
    }
}

/// The maximum hard limits that this process may set, see getrlimit(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ceilings {
    /// Of `RLIMIT_NOFILE`.
    pub open_files: Bound,
    /// Of `RLIMIT_CORE`.
    pub core: Bound,
    /// Of `RLIMIT_MEMLOCK`.
    pub locked_memory: Bound,
}

impl Default for Ceilings {
    /// No maximum.
    fn default() -> Self {
        Self {
            open_files: Bound::Unlimited,
            core: Bound::Unlimited,
            locked_memory: Bound::Unlimited,
        }
    }
}

/// Queries about the host.
pub trait HostFacts {
    /// Looks up a user by name.
    ///
    /// # Errors
    /// If the user database cannot be read.
    fn user(&self, name: &str) -> Result<Option<User>, Errno>;

    /// Looks up a user by number.
    ///
    /// # Errors
    /// If the user database cannot be read.
    fn user_of(&self, uid: u32) -> Result<Option<User>, Errno>;

    /// Looks up the number of a group by name.
    ///
    /// # Errors
    /// If the group database cannot be read.
    fn group(&self, name: &str) -> Result<Option<u32>, Errno>;

    /// The groups of a user, including `gid`, see getgrouplist(3).
    ///
    /// # Errors
    /// If the group database cannot be read.
    fn groups(&self, user: &str, gid: u32) -> Result<Vec<u32>, Errno>;

    /// The users of these tenants, in their order: those that are recorded, and for the others those that
    /// would be recorded now. Records nothing.
    ///
    /// # Errors
    /// If records or users cannot be read, or no number is left.
    fn own_users(&self, wanted: &WantedUsers<'_>) -> Result<Vec<OwnUser>, NoOwnUser>;

    /// Examines a program's path.
    fn program(&self, path: &Path) -> ProgramFact;

    /// Reads a file of at most `max` bytes.
    fn text(&self, path: &Path, max: u64) -> TextFact;

    /// The addresses of all interfaces. Called once per plan.
    ///
    /// # Errors
    /// If they cannot be read.
    fn addresses(&self) -> Result<Vec<HostAddress>, Errno>;

    /// The networks that routes of the host lead to, and that other applications have. Routes to links that are the
    /// application's own, as `is_own` says by their names, may be left out. Called once per plan.
    ///
    /// # Errors
    /// If the routes cannot be read.
    fn claims(&self, is_own: &dyn Fn(&str) -> bool) -> Result<Vec<Claim>, Errno>;

    /// The interface of this name. `None` if there is none.
    ///
    /// # Errors
    /// If it cannot be looked up.
    fn parent(&self, name: &str) -> Result<Option<Parent>, Errno>;

    /// The MTU in bytes of an interface, or, without its name, of that of the default route. `None` if there is none.
    fn mtu(&self, interface: Option<&str>) -> Option<u32>;

    /// The addresses that are recorded as given to tenants of an application. Those of former ones too.
    ///
    /// # Errors
    /// If a record cannot be read.
    fn given(&self, app: &AppName) -> Result<BTreeMap<TenantName, Vec<IpAddr>>, NoRecord>;

    /// The maximum hard limits that this process may set.
    fn ceilings(&self) -> Ceilings;
}

/// Fixed facts, for tests.
#[derive(Debug, Clone, Default)]
pub struct Table {
    /// The users.
    pub users: Vec<User>,
    /// The groups: name and number.
    pub groups: Vec<(String, u32)>,
    /// Supplementary groups of users.
    pub memberships: Vec<(String, u32)>,
    /// What exists at the paths of programs.
    pub programs: BTreeMap<PathBuf, ProgramFact>,
    /// The text files.
    pub texts: BTreeMap<PathBuf, TextFact>,
    /// The addresses.
    pub addresses: Vec<HostAddress>,
    /// The networks that something has.
    pub claims: Vec<Claim>,
    /// The interfaces.
    pub parents: BTreeMap<String, Parent>,
    /// The MTU of the interface of the default route.
    pub mtu: Option<u32>,
    /// The addresses that tenants were given.
    pub given: BTreeMap<TenantName, Vec<IpAddr>>,
    /// The maximum limits.
    pub ceilings: Ceilings,
}

impl HostFacts for Table {
    fn user(&self, name: &str) -> Result<Option<User>, Errno> {
        Ok(self.users.iter().find(|user| user.name == name).cloned())
    }

    fn user_of(&self, uid: u32) -> Result<Option<User>, Errno> {
        Ok(self.users.iter().find(|user| user.uid == uid).cloned())
    }

    fn group(&self, name: &str) -> Result<Option<u32>, Errno> {
        let found = self.groups.iter().find(|(group, _)| group == name);
        Ok(found.map(|(_, gid)| *gid))
    }

    fn groups(&self, user: &str, gid: u32) -> Result<Vec<u32>, Errno> {
        let others = self.memberships.iter().filter(|(name, _)| name == user);
        Ok(std::iter::once(gid)
            .chain(others.map(|(_, gid)| *gid))
            .collect())
    }

    fn own_users(&self, wanted: &WantedUsers<'_>) -> Result<Vec<OwnUser>, NoOwnUser> {
        let numbers = wanted.range.first..=wanted.range.last;
        let mut numbers = numbers.filter(|uid| self.users.iter().all(|user| user.uid != *uid));
        let each = wanted.tenants.iter();
        each.map(|tenant| {
            let exhausted = || NoOwnUser::Exhausted {
                tenant: (*tenant).clone(),
                range: wanted.range,
            };
            Ok(OwnUser {
                name: own_user_name(wanted.app, tenant),
                uid: numbers.next().ok_or_else(exhausted)?,
            })
        })
        .collect()
    }

    fn program(&self, path: &Path) -> ProgramFact {
        self.programs
            .get(path)
            .cloned()
            .unwrap_or(ProgramFact::Missing)
    }

    fn text(&self, path: &Path, _max: u64) -> TextFact {
        self.texts.get(path).cloned().unwrap_or(TextFact::Missing)
    }

    fn addresses(&self) -> Result<Vec<HostAddress>, Errno> {
        Ok(self.addresses.clone())
    }

    fn claims(&self, _is_own: &dyn Fn(&str) -> bool) -> Result<Vec<Claim>, Errno> {
        Ok(self.claims.clone())
    }

    fn parent(&self, name: &str) -> Result<Option<Parent>, Errno> {
        Ok(self.parents.get(name).cloned())
    }

    fn mtu(&self, _interface: Option<&str>) -> Option<u32> {
        self.mtu
    }

    fn given(&self, _app: &AppName) -> Result<BTreeMap<TenantName, Vec<IpAddr>>, NoRecord> {
        Ok(self.given.clone())
    }

    fn ceilings(&self) -> Ceilings {
        self.ceilings
    }
}
