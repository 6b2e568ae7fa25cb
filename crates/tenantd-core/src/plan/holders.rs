//! Who holds which addresses and which datastore: what one tenant has, another can have only once
//! it has let go.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::address::Addresses;
use super::model::TenantPlan;
use crate::name::TenantName;

/// What a tenant holds that another could take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
pub struct Holding {
    /// Its addresses.
    pub addresses: Addresses,
    /// Its datastore; none that is known.
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

    /// The plan by which a tenant stands that holds this, as far as others are concerned.
    #[must_use]
    pub fn instead_of(self, plan: &TenantPlan) -> TenantPlan {
        let mut stands = plan.clone();
        stands.link.addresses = self.addresses;
        if let Some(source) = self.source {
            stands.datastore.source = source;
        }
        stands
    }
}

/// A holding as it is written down. With one address it is what commit 2157092 wrote and reads.
#[derive(Serialize, Deserialize)]
struct Written {
    address: IpAddr,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    more_addresses: Vec<IpAddr>,
    source: Option<PathBuf>,
}

impl From<Holding> for Written {
    fn from(Holding { addresses, source }: Holding) -> Self {
        Self {
            address: addresses.first(),
            more_addresses: addresses.others().to_vec(),
            source,
        }
    }
}

impl From<Written> for Holding {
    fn from(written: Written) -> Self {
        let Written {
            address,
            more_addresses,
            source,
        } = written;
        Self {
            addresses: Addresses::new(address, more_addresses),
            source,
        }
    }
}

/// What some plans of tenants hold.
#[derive(Debug, Default)]
pub struct Holders<'a> {
    addresses: BTreeMap<IpAddr, BTreeSet<&'a TenantName>>,
    sources: BTreeMap<&'a Path, BTreeSet<&'a TenantName>>,
}

impl<'a> Holders<'a> {
    /// What these hold.
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

    /// The others that hold what this tenant takes: one of its addresses, or a datastore that is its own,
    /// lies in it, or holds it.
    #[must_use]
    pub fn of(&self, taker: &TenantPlan) -> Vec<TenantName> {
        let source = taker.datastore.source.as_path();
        let above = source.ancestors().filter_map(|path| self.sources.get(path));
        // Paths are ordered by their parts: what lies in a folder comes right behind it.
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes are those of commit 2157092, which may read them after a rollback.
    #[test]
    fn one_address_is_written_as_it_always_was() {
        let one = Holding {
            addresses: std::net::Ipv4Addr::new(10, 0, 0, 11).into(),
            source: Some("/data/acme".into()),
        };
        let text = r#"{"address":"10.0.0.11","source":"/data/acme"}"#;
        assert_eq!(serde_json::to_string(&one).unwrap(), text);
        assert_eq!(serde_json::from_str::<Holding>(text).unwrap(), one);
        let more = Holding {
            addresses: Addresses::new(one.addresses.first(), vec!["fd00::11".parse().unwrap()]),
            source: None,
        };
        let text = serde_json::to_string(&more).unwrap();
        assert_eq!(serde_json::from_str::<Holding>(&text).unwrap(), more);
    }
}
