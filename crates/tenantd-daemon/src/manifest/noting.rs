//! Facts about the host, with a note whether one of them could not be looked up for want of a descriptor or
//! memory. A plan that was derived without a fact says nothing about the manifest.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::path::Path;

use nix::errno::Errno;

use tenantd_core::name::{AppName, TenantName};
use tenantd_core::plan::facts::{
    Ceilings, Claim, HostAddress, HostFacts, NoOwnUser, NoRecord, OwnUser, Parent, ProgramFact,
    TextFact, User, WantedUsers,
};
use tenantd_host::want;

/// Other facts, and the first error that passes.
pub(super) struct Noting<'a> {
    facts: &'a dyn HostFacts,
    wanting: Cell<Option<Errno>>,
}

impl<'a> Noting<'a> {
    pub(super) fn new(facts: &'a dyn HostFacts) -> Self {
        Self {
            facts,
            wanting: Cell::new(None),
        }
    }

    /// The first error that passes, if there was one.
    pub(super) fn wanting(&self) -> Option<io::Error> {
        self.wanting.get().map(io::Error::from)
    }

    fn note(&self, errno: Errno) {
        let passes = want::error_passes(&io::Error::from(errno));
        if passes && self.wanting.get().is_none() {
            self.wanting.set(Some(errno));
        }
    }

    fn noted<T>(&self, found: Result<T, Errno>) -> Result<T, Errno> {
        found.inspect_err(|errno| self.note(*errno))
    }
}

impl HostFacts for Noting<'_> {
    fn user(&self, name: &str) -> Result<Option<User>, Errno> {
        self.noted(self.facts.user(name))
    }

    fn user_of(&self, uid: u32) -> Result<Option<User>, Errno> {
        self.noted(self.facts.user_of(uid))
    }

    fn group(&self, name: &str) -> Result<Option<u32>, Errno> {
        self.noted(self.facts.group(name))
    }

    fn groups(&self, user: &str, gid: u32) -> Result<Vec<u32>, Errno> {
        self.noted(self.facts.groups(user, gid))
    }

    fn own_users(&self, wanted: &WantedUsers<'_>) -> Result<Vec<OwnUser>, NoOwnUser> {
        let found = self.facts.own_users(wanted);
        match &found {
            Err(NoOwnUser::Unreadable { errno, .. } | NoOwnUser::Unknown { errno, .. }) => {
                self.note(*errno);
            }
            Ok(_) | Err(NoOwnUser::Damaged { .. } | NoOwnUser::Exhausted { .. }) => {}
        }
        found
    }

    fn mtu(&self, interface: Option<&str>) -> Option<u32> {
        self.facts.mtu(interface)
    }

    fn program(&self, path: &Path) -> ProgramFact {
        let found = self.facts.program(path);
        if let ProgramFact::Unknown(errno) = &found {
            self.note(*errno);
        }
        found
    }

    fn text(&self, path: &Path, max: u64) -> TextFact {
        let found = self.facts.text(path, max);
        if let TextFact::Unknown(errno) = &found {
            self.note(*errno);
        }
        found
    }

    fn addresses(&self) -> Result<Vec<HostAddress>, Errno> {
        self.noted(self.facts.addresses())
    }

    fn claims(&self, is_own: &dyn Fn(&str) -> bool) -> Result<Vec<Claim>, Errno> {
        self.noted(self.facts.claims(is_own))
    }

    fn parent(&self, name: &str) -> Result<Option<Parent>, Errno> {
        self.noted(self.facts.parent(name))
    }

    fn given(&self, app: &AppName) -> Result<BTreeMap<TenantName, Vec<IpAddr>>, NoRecord> {
        let found = self.facts.given(app);
        found.inspect_err(|why| self.note(why.errno))
    }

    fn ceilings(&self) -> Ceilings {
        self.facts.ceilings()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tenantd_core::plan::facts::Table;

    /// Without a descriptor for the user database.
    struct Wanting(Errno);

    impl HostFacts for Wanting {
        fn user(&self, _: &str) -> Result<Option<User>, Errno> {
            Err(self.0)
        }

        fn user_of(&self, uid: u32) -> Result<Option<User>, Errno> {
            Table::default().user_of(uid)
        }

        fn group(&self, name: &str) -> Result<Option<u32>, Errno> {
            Table::default().group(name)
        }

        fn groups(&self, user: &str, gid: u32) -> Result<Vec<u32>, Errno> {
            Table::default().groups(user, gid)
        }

        fn own_users(&self, wanted: &WantedUsers<'_>) -> Result<Vec<OwnUser>, NoOwnUser> {
            Table::default().own_users(wanted)
        }

        fn program(&self, path: &Path) -> ProgramFact {
            Table::default().program(path)
        }

        fn text(&self, path: &Path, max: u64) -> TextFact {
            Table::default().text(path, max)
        }

        fn addresses(&self) -> Result<Vec<HostAddress>, Errno> {
            Table::default().addresses()
        }

        fn claims(&self, is_own: &dyn Fn(&str) -> bool) -> Result<Vec<Claim>, Errno> {
            Table::default().claims(is_own)
        }

        fn parent(&self, name: &str) -> Result<Option<Parent>, Errno> {
            Table::default().parent(name)
        }

        fn mtu(&self, _interface: Option<&str>) -> Option<u32> {
            None
        }

        fn given(&self, app: &AppName) -> Result<BTreeMap<TenantName, Vec<IpAddr>>, NoRecord> {
            Table::default().given(app)
        }

        fn ceilings(&self) -> Ceilings {
            Table::default().ceilings()
        }
    }

    #[test]
    fn only_an_error_that_passes_is_noted() {
        for (errno, is_noted) in [(Errno::EMFILE, true), (Errno::EACCES, false)] {
            let wanting = Wanting(errno);
            let facts = Noting::new(&wanting);
            assert!(facts.user("nobody").is_err());
            assert_eq!(facts.wanting().is_some(), is_noted, "{errno}");
        }
    }
}
