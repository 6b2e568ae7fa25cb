//! The networks of the tenants' addresses, of both families.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use ipnetwork::{IpNetwork, Ipv6Network};

use super::NetworkPlan;

/// The IPv6 network of an application.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subnet6 {
    /// The network of all tenants' IPv6 addresses.
    pub network: Ipv6Network,
    /// The host's address in it, which all tenants can reach.
    pub gateway: Ipv6Addr,
}

/// An interface of the host, of whose networks tenants can have addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UplinkPlan {
    /// Its name.
    pub name: String,
    /// Whether its settings are changed where they must be.
    pub set: bool,
}

impl fmt::Display for UplinkPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        match self.set {
            true => f.write_str(", whose settings are changed"),
            false => Ok(()),
        }
    }
}

impl NetworkPlan {
    /// Whether others reach an address by the uplink: it is in none of the subnets.
    #[must_use]
    pub fn is_by_uplink(&self, address: IpAddr) -> bool {
        self.uplink.is_some() && !self.subnets().any(|subnet| subnet.contains(address))
    }

    /// This network with the MTU of the present one, if neither manifest says one and nothing else is different: tenants
    /// are not interrupted because the host reaches others by another interface.
    #[must_use]
    pub fn keeping_mtu_of(self, present: &Self) -> Self {
        let kept = Self {
            mtu: present.mtu,
            ..self.clone()
        };
        match !self.mtu_given && kept == *present {
            true => kept,
            false => self,
        }
    }

    /// The networks of the tenants' addresses: that of IPv4, and that of IPv6 if there is one.
    pub fn subnets(&self) -> impl Iterator<Item = IpNetwork> {
        let ipv6 = self.ipv6.map(|it| IpNetwork::V6(it.network));
        std::iter::once(IpNetwork::V4(self.subnet)).chain(ipv6)
    }

    /// The host's addresses in them.
    pub fn gateways(&self) -> impl Iterator<Item = IpAddr> {
        let ipv6 = self.ipv6.map(|it| IpAddr::V6(it.gateway));
        std::iter::once(IpAddr::V4(self.gateway)).chain(ipv6)
    }

    /// The host's address of the same family as another address.
    #[must_use]
    pub fn gateway_of(&self, address: IpAddr) -> Option<IpAddr> {
        self.gateways()
            .find(|gateway| gateway.is_ipv4() == address.is_ipv4())
    }
}
