//! What a plan must know of the host: users, groups, programs and addresses.
//!
//! The plan asks through [`HostFacts`]; the live answers are in `host::facts`, and [`Table`] holds
//! answers that someone wrote down.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ipnetwork::Ipv4Network;
use nix::errno::Errno;

use super::model::Bound;

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

/// What lies at a program's path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProgramFact {
    /// A regular file that can be executed, and the path that it has without symbolic links.
    Executable(PathBuf),
    /// A regular file that nobody may execute.
    NotExecutable,
    /// Something else, such as a folder.
    NoFile,
    /// Nothing.
    Missing,
    /// It could not be looked at.
    Unknown(Errno),
}

/// An address of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostAddress {
    /// The interface that has it.
    pub interface: String,
    /// The address with its prefix.
    pub network: Ipv4Network,
}

/// The highest hard limits that may be set here, see getrlimit(2).
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
    /// None.
    fn default() -> Self {
        Self {
            open_files: Bound::Unlimited,
            core: Bound::Unlimited,
            locked_memory: Bound::Unlimited,
        }
    }
}

/// Answers about the host.
pub trait HostFacts {
    /// The user of that name, if there is one.
    ///
    /// # Errors
    /// Where the user database cannot be read.
    fn user(&self, name: &str) -> Result<Option<User>, Errno>;

    /// The user of that number, if there is one.
    ///
    /// # Errors
    /// Where the user database cannot be read.
    fn user_of(&self, uid: u32) -> Result<Option<User>, Errno>;

    /// The number of the group of that name, if there is one.
    ///
    /// # Errors
    /// Where the group database cannot be read.
    fn group(&self, name: &str) -> Result<Option<u32>, Errno>;

    /// The groups that a user belongs to, with `gid` among them, see getgrouplist(3).
    ///
    /// # Errors
    /// Where the group database cannot be read.
    fn groups(&self, user: &str, gid: u32) -> Result<Vec<u32>, Errno>;

    /// What lies at a program's path.
    fn program(&self, path: &Path) -> ProgramFact;

    /// The addresses of all interfaces. Asked once for a whole plan.
    ///
    /// # Errors
    /// Where they cannot be read.
    fn addresses(&self) -> Result<Vec<HostAddress>, Errno>;

    /// The highest hard limits that this process may set.
    fn ceilings(&self) -> Ceilings;
}

/// Facts that someone wrote down.
#[derive(Debug, Clone, Default)]
pub struct Table {
    /// The users.
    pub users: Vec<User>,
    /// The groups: name and number.
    pub groups: Vec<(String, u32)>,
    /// Groups that a user belongs to beside the primary one.
    pub memberships: Vec<(String, u32)>,
    /// What lies at the paths of programs.
    pub programs: BTreeMap<PathBuf, ProgramFact>,
    /// The addresses.
    pub addresses: Vec<HostAddress>,
    /// The highest limits.
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

    fn program(&self, path: &Path) -> ProgramFact {
        self.programs
            .get(path)
            .cloned()
            .unwrap_or(ProgramFact::Missing)
    }

    fn addresses(&self) -> Result<Vec<HostAddress>, Errno> {
        Ok(self.addresses.clone())
    }

    fn ceilings(&self) -> Ceilings {
        self.ceilings
    }
}
