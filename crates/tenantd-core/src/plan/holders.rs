//! Which tenant holds which addresses and datastore. Another tenant can use them only after they
//! have been released.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::address::Addresses;
use super::effect::fingerprints;
use super::model::TenantPlan;
use crate::name::TenantName;

/// What a tenant holds that another one could need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holding {
    /// Its addresses.
    pub addresses: Addresses,
    /// Its datastore, if known.
    pub source: Option<PathBuf>,
}

impl Holding {
    /// What a tenant of this plan holds.
    #[must_use]
    pub fn of(plan: &TenantPlan) -> Self {
        Self {
            addresses: plan.link.addresses.clone(),
            source: Some(plan.datastore.source.clone()),
        }
    }

    /// The plan of a tenant that currently holds this, for comparisons with other tenants.
    #[must_use]
    pub fn instead_of(self, plan: &TenantPlan) -> TenantPlan {
        let mut current = plan.clone();
        current.link.addresses = self.addresses;
        if let Some(source) = self.source {
            current.datastore.source = source;
        }
        current
    }
}

/// The plan by which a tenant holds its addresses while a reload changes `old` to `new`: an address that needs no
/// release is taken away at once.
#[must_use]
pub fn meanwhile<'a>(old: &'a TenantPlan, new: Option<&'a TenantPlan>) -> &'a TenantPlan {
    new.filter(|new| new.link.addresses != old.link.addresses && keeps_network(old, new))
        .unwrap_or(old)
}

/// Whether a change needs no other network.
#[must_use]
pub fn keeps_network(old: &TenantPlan, new: &TenantPlan) -> bool {
    fingerprints(old).reprovision == fingerprints(new).reprovision
}

/// An index of what tenants hold.
#[derive(Debug, Default)]
pub struct Holders<'a> {
    addresses: BTreeMap<IpAddr, BTreeSet<&'a TenantName>>,
    sources: BTreeMap<&'a Path, BTreeSet<&'a TenantName>>,
}

impl<'a> Holders<'a> {
    /// Creates an index of these plans.
    pub fn new(plans: impl IntoIterator<Item = &'a TenantPlan>) -> Self {
        let mut holders = Self::default();
        for plan in plans {
            let (name, source) = (&plan.name, plan.datastore.source.as_path());
            for address in plan.link.addresses.iter() {
                holders.addresses.entry(address).or_default().insert(name);
            }
            holders.sources.entry(source).or_default().insert(name);
        }
        holders
    }

    /// The others that hold what this tenant takes: one of its addresses, or a datastore that is
    /// the same, inside it, or encloses it.
    #[must_use]
    pub fn of(&self, taker: &TenantPlan) -> Vec<TenantName> {
        let source = taker.datastore.source.as_path();
        let above = source.ancestors().filter_map(|path| self.sources.get(path));
        // Paths are sorted by components, so a folder is followed by what it contains.
        let below = self.sources.range(source..);
        let below = below.take_while(|(path, _)| path.starts_with(source));
        let addresses = taker.link.addresses.iter();
        let addresses = addresses.filter_map(|address| self.addresses.get(&address));
        let all = addresses.chain(above);
        let all: BTreeSet<&TenantName> = all
            .chain(below.map(|(_, names)| names))
            .flatten()
            .copied()
            .filter(|name| **name != taker.name)
            .collect();
        all.into_iter().cloned().collect()
    }
}
