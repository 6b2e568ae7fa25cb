//! Who holds which address and which datastore: what one tenant has, another can have only once
//! it has let go.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::path::Path;

use super::model::TenantPlan;
use crate::name::TenantName;

/// What some plans of tenants hold.
#[derive(Debug, Default)]
pub struct Holders<'a> {
    addresses: BTreeMap<Ipv4Addr, BTreeSet<&'a TenantName>>,
    sources: BTreeMap<&'a Path, BTreeSet<&'a TenantName>>,
}

impl<'a> Holders<'a> {
    /// What these hold.
    pub fn new(plans: impl IntoIterator<Item = &'a TenantPlan>) -> Self {
        let mut holders = Self::default();
        for plan in plans {
            let (name, source) = (&plan.name, plan.datastore.source.as_path());
            let address = plan.link.address;
            holders.addresses.entry(address).or_default().insert(name);
            holders.sources.entry(source).or_default().insert(name);
        }
        holders
    }

    /// The others that hold what this tenant takes: its address, or a datastore that is its own,
    /// lies in it, or holds it.
    #[must_use]
    pub fn of(&self, taker: &TenantPlan) -> Vec<TenantName> {
        let source = taker.datastore.source.as_path();
        let above = source.ancestors().filter_map(|path| self.sources.get(path));
        // Paths are ordered by their parts: what lies in a folder comes right behind it.
        let below = self.sources.range(source..);
        let below = below.take_while(|(path, _)| path.starts_with(source));
        let address = self.addresses.get(&taker.link.address);
        let all = address.into_iter().chain(above);
        let all: BTreeSet<&TenantName> = all
            .chain(below.map(|(_, names)| names))
            .flatten()
            .copied()
            .filter(|name| **name != taker.name)
            .collect();
        all.into_iter().cloned().collect()
    }
}
