//! The addresses of one tenant.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The addresses of one tenant: at least one. Only the first has a special role.
///
/// In JSON, it is flattened into two members: `addresses` with all addresses, and `address` with
/// the first. If `addresses` is missing, as in replies of earlier versions, `address` is the only
/// one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Addresses {
    first: IpAddr,
    others: Vec<IpAddr>,
}

impl Addresses {
    /// Creates a list of a first address and others.
    #[must_use]
    pub fn new(first: IpAddr, others: Vec<IpAddr>) -> Self {
        Self { first, others }
    }

    /// Creates a list of addresses; `None` if it is empty.
    #[must_use]
    pub fn of(list: impl IntoIterator<Item = IpAddr>) -> Option<Self> {
        let mut list = list.into_iter();
        let first = list.next()?;
        Some(Self::new(first, list.collect()))
    }

    /// The first address, which is used for `{ip}`, for readiness checks, and as `address` in JSON.
    #[must_use]
    pub fn first(&self) -> IpAddr {
        self.first
    }

    /// All addresses except the first.
    #[must_use]
    pub fn others(&self) -> &[IpAddr] {
        &self.others
    }

    /// All addresses, beginning with the first.
    pub fn iter(&self) -> impl Iterator<Item = IpAddr> + '_ {
        std::iter::once(self.first).chain(self.others.iter().copied())
    }

    /// The number of addresses.
    #[must_use]
    pub fn count(&self) -> usize {
        1 + self.others.len()
    }
}

impl From<IpAddr> for Addresses {
    fn from(address: IpAddr) -> Self {
        Self::new(address, Vec::new())
    }
}

impl From<Ipv4Addr> for Addresses {
    fn from(address: Ipv4Addr) -> Self {
        IpAddr::V4(address).into()
    }
}

impl fmt::Display for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.first)?;
        self.others
            .iter()
            .try_for_each(|other| write!(f, ", {other}"))
    }
}

#[derive(Serialize, Deserialize)]
struct Members {
    address: IpAddr,
    #[serde(default)]
    addresses: Vec<IpAddr>,
}

impl Serialize for Addresses {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let members = Members {
            address: self.first,
            addresses: self.iter().collect(),
        };
        members.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Addresses {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Members { address, addresses } = Members::deserialize(deserializer)?;
        Ok(Self::of(addresses).unwrap_or_else(|| address.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_has_the_first_address_also_as_a_single_field() {
        let list = ["10.0.0.11", "fd00::11"].map(|text| text.parse::<IpAddr>().unwrap());
        let addresses = Addresses::of(list).unwrap();
        let json = serde_json::json!({
            "address": "10.0.0.11",
            "addresses": ["10.0.0.11", "fd00::11"],
        });
        assert_eq!(serde_json::to_value(&addresses).unwrap(), json);
        assert_eq!(
            serde_json::from_value::<Addresses>(json).unwrap(),
            addresses
        );
        let older = serde_json::json!({ "address": "10.0.0.11" });
        let older: Addresses = serde_json::from_value(older).unwrap();
        assert_eq!(older, Ipv4Addr::new(10, 0, 0, 11).into());
        assert!(serde_json::from_value::<Addresses>(serde_json::json!({})).is_err());
    }

    #[test]
    fn address_lists_are_never_empty() {
        assert_eq!(Addresses::of([]), None);
        let list = ["10.0.0.11", "10.0.0.12"].map(|text| text.parse::<IpAddr>().unwrap());
        let addresses = Addresses::of(list).unwrap();
        assert_eq!((addresses.first(), addresses.count()), (list[0], 2));
        assert!(addresses.iter().eq(list));
        assert_eq!(addresses.to_string(), "10.0.0.11, 10.0.0.12");
    }
}
