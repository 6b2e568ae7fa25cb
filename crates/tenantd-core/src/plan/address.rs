//! The addresses of one tenant.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The addresses of one tenant: at least one, without an order but for the first.
///
/// In JSON it is two members, `addresses` with all of them and `address` with the first, so that it
/// is flattened into the object that it belongs to. Where `addresses` is missing, as in the answer
/// of an earlier supervisor, `address` is the only one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Addresses {
    first: IpAddr,
    others: Vec<IpAddr>,
}

impl Addresses {
    /// This one and these others.
    #[must_use]
    pub fn new(first: IpAddr, others: Vec<IpAddr>) -> Self {
        Self { first, others }
    }

    /// All of a list; nothing for an empty one.
    #[must_use]
    pub fn of(list: impl IntoIterator<Item = IpAddr>) -> Option<Self> {
        let mut list = list.into_iter();
        let first = list.next()?;
        Some(Self::new(first, list.collect()))
    }

    /// The one that stands for the tenant where there is room for one: in `{ip}`, for readiness,
    /// and as `address` in JSON.
    #[must_use]
    pub fn first(&self) -> IpAddr {
        self.first
    }

    /// All but the first.
    #[must_use]
    pub fn others(&self) -> &[IpAddr] {
        &self.others
    }

    /// All of them, the first one first.
    pub fn iter(&self) -> impl Iterator<Item = IpAddr> + '_ {
        std::iter::once(self.first).chain(self.others.iter().copied())
    }

    /// How many there are.
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
    fn json_has_the_first_one_by_itself_and_an_older_one_nothing_else() {
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
    fn there_is_always_a_first_one() {
        assert_eq!(Addresses::of([]), None);
        let list = ["10.0.0.11", "10.0.0.12"].map(|text| text.parse::<IpAddr>().unwrap());
        let addresses = Addresses::of(list).unwrap();
        assert_eq!((addresses.first(), addresses.count()), (list[0], 2));
        assert!(addresses.iter().eq(list));
        assert_eq!(addresses.to_string(), "10.0.0.11, 10.0.0.12");
    }
}
