//! Which chains guard the host ends: one that names each, one for all links with such names, or one for each.
//!
//! A chain that names its devices costs the kernel more the more there are: it compares each with all devices of the host
//! and all of the chain, and goes through them for each link that is made or ends. It also does not tell of a chain whose
//! devices do not fit into one message, and then nft(8) lists no tables of the host at all: it asks again without end. So from
//! that number on the chain has a prefix in place of names, where the kernel takes one (`NFTA_DEVICE_PREFIX`, Linux
//! 6.17). It is not used before, because nft(8) has the same trouble with a prefix before version 1.1.6.
//!
//! The chain with the prefix lets pass what comes from links of others, which it knows by their group. It drops by its last
//! rule, not by its policy: the kernel calls a new chain before its rules are in force.

use std::collections::BTreeSet;

use super::devices;
use super::guard;
use super::missing::unavailable;
use super::parts::{chain_rules, own_guard};
use super::rules::{GUARD, PREFIX_GUARD};
use super::sets::Family;
use super::socket::Transaction;
use super::{Firewall, GUARD_CHAIN, wire};
use tenantd_core::plan::derive::HOST_END;
use tenantd_core::stage::Failure;

/// How the host ends are guarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Guarding {
    /// By one chain on all links whose names begin as theirs do, as soon as these exist.
    ByPrefix,
    /// By one chain that names each.
    ByName,
    /// Each by a chain of its own: before Linux 6.4, a chain cannot get further devices.
    Apart,
}

/// The most host ends that one chain names: about 1,600 fit into the 32 KiB of a message.
const NAMED_MAX: usize = 1_500;

/// The variable with another number, in builds with debug assertions.
const NAMED: &str = "TENANTD_NAMED_GUARDS";

/// The most tenants whose host ends one chain names.
pub(super) fn named_max() -> usize {
    let chosen = match cfg!(debug_assertions) {
        true => std::env::var(NAMED).ok(),
        false => None,
    };
    let chosen = chosen.and_then(|number| number.parse().ok());
    chosen.unwrap_or(NAMED_MAX)
}

impl Firewall {
    /// Notes that the tables have the chain with a prefix. They keep it until they are removed.
    pub(super) fn note_guarding(&self) -> Result<(), Failure> {
        let chains = devices::read(&self.socket, &self.table);
        let chains = chains.map_err(|refused| {
            let failure = unavailable(&self.table, refused.errno);
            match refused.errno {
                // Who owns a table says nothing of who may read it.
                libc::EPERM => failure.with("CAP_NET_ADMIN is missing"),
                _ => failure,
            }
        })?;
        if chains.contains_key(PREFIX_GUARD.name) {
            self.guarding.set(Guarding::ByPrefix);
        }
        Ok(())
    }

    /// The changes that make what guards all host ends, with its rules.
    pub(super) fn guards(&self) -> Transaction {
        let table = self.table.as_str();
        match self.guarding.get() {
            Guarding::ByPrefix => self.by_prefix(HOST_END),
            Guarding::ByName => {
                let made = wire::new_base_chain(table, GUARD_CHAIN, &GUARD, &[]);
                let mut all = vec![
                    (Family::Netdev, made),
                    (Family::Netdev, wire::flush_chain(table, GUARD_CHAIN)),
                ];
                all.extend(chain_rules(table, GUARD_CHAIN, guard::guard()));
                all
            }
            Guarding::Apart => Vec::new(),
        }
    }

    /// The changes that guard all links whose names begin so.
    fn by_prefix(&self, prefix: &str) -> Transaction {
        let (table, chain) = (self.table.as_str(), PREFIX_GUARD.name);
        let made = wire::new_prefix_chain(table, &PREFIX_GUARD, prefix);
        let mut all = vec![
            (Family::Netdev, made),
            (Family::Netdev, wire::flush_chain(table, chain)),
        ];
        all.extend(chain_rules(table, chain, guard::of_group(self.facts.group)));
        all
    }

    /// Guards by a prefix before one more tenant is admitted than one chain can name.
    pub(super) fn guard_by_prefix_if_many(&self, mark: &str) {
        let is_known = self.tenants.borrow().contains(mark);
        if self.tenants.borrow().len() + usize::from(!is_known) > self.named_max {
            self.guard_by_prefix(HOST_END);
        }
    }

    /// Guards all links whose names begin so in place of those that are named. If the kernel refuses it, nothing is
    /// changed; one that does not know it is not asked again. Returns whether they are guarded so.
    pub(super) fn guard_by_prefix(&self, prefix: &str) -> bool {
        if self.guarding.get() != Guarding::ByName || !self.takes_prefix.get() {
            return self.guarding.get() == Guarding::ByPrefix;
        }
        let mut all = self.by_prefix(prefix);
        let table = self.table.as_str();
        all.extend([
            (Family::Netdev, wire::flush_chain(table, GUARD_CHAIN)),
            (Family::Netdev, wire::delete_chain(table, GUARD_CHAIN)),
        ]);
        match self.socket.commit(&all) {
            Ok(()) => {
                self.guarding.set(Guarding::ByPrefix);
                self.guarded.borrow_mut().clear();
            }
            Err(refused) => {
                // What is missing for the moment, or was removed by another process, says nothing of the kernel.
                let passing = [libc::ENOENT, libc::ENOMEM, libc::ENOBUFS, libc::ERESTART];
                self.takes_prefix.set(passing.contains(&refused.errno));
                tracing::debug!(
                    errno = refused.errno,
                    "the kernel does not guard links by a prefix of their names: each is named"
                );
            }
        }
        self.guarding.get() == Guarding::ByPrefix
    }

    /// The changes that put the guard on a host end.
    pub(super) fn on_device(&self, device: &str) -> Transaction {
        let table = self.table.as_str();
        match self.guarding.get() {
            Guarding::ByPrefix => Vec::new(),
            Guarding::ByName => {
                let added = wire::new_base_chain(table, GUARD_CHAIN, &GUARD, &[device]);
                vec![(Family::Netdev, added)]
            }
            Guarding::Apart => {
                let chain = own_guard(device);
                let made = wire::new_base_chain(table, &chain, &GUARD, &[device]);
                let mut all = vec![
                    (Family::Netdev, made),
                    (Family::Netdev, wire::flush_chain(table, &chain)),
                ];
                all.extend(chain_rules(table, &chain, guard::guard()));
                all
            }
        }
    }

    /// Those of these devices that the chain does not name, as far as the kernel tells.
    pub(super) fn unnamed(&self, devices: BTreeSet<String>) -> BTreeSet<String> {
        let chains = match devices::read(&self.socket, &self.table) {
            Ok(chains) => chains,
            Err(refused) => {
                tracing::debug!(errno = refused.errno, "cannot read which links are guarded");
                return devices;
            }
        };
        let named = chains.get(GUARD_CHAIN);
        let is_named = |device: &String| named.is_some_and(|named| named.cover(device));
        devices.into_iter().filter(|it| !is_named(it)).collect()
    }
}
