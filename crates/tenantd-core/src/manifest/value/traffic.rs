//! What traffic a tenant may have.

mod decode;
mod exposed;

use std::fmt;
use std::net::IpAddr;

use ipnetwork::IpNetwork;
use serde::Serialize;

use crate::name::TenantName;

/// Whether the firewall is made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Firewall {
    /// It is, and no tenant starts without it.
    #[default]
    On,
    /// It is not: the host alone decides what is forwarded.
    Off,
}

/// How a tenant reaches what is neither a tenant nor the host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Outbound {
    /// Not at all.
    #[default]
    None,
    /// By an address of the host.
    Nat,
    /// By its own address, by which others can reach it too.
    Routed,
}

/// A protocol with ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// A service of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Service {
    /// Its port.
    pub port: u16,
    /// Its protocol.
    pub protocol: Protocol,
}

/// A port of a tenant's loopback addresses that is reached by its own addresses too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Exposed {
    /// The port.
    pub port: u16,
    /// Its protocol.
    pub protocol: Protocol,
}

/// A service of a tenant that is published on an address of the host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Publish {
    /// The address of the host; the unspecified one of a family stands for all of that family.
    pub address: IpAddr,
    /// The port of the host.
    pub port: u16,
    /// The port of the tenant.
    pub to: u16,
    /// The protocol.
    pub protocol: Protocol,
}

/// Which others a tenant may reach or not.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct EgressRule {
    /// Whether it may.
    pub allow: bool,
    /// Their addresses; `None` for all.
    pub network: Option<IpNetwork>,
    /// The first and the last of their ports; `None` for all.
    pub ports: Option<(u16, u16)>,
    /// The protocol; `None` for all.
    pub protocol: Option<Protocol>,
}

/// A tenant that another one may connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Peer {
    /// All tenants of the application.
    All,
    /// This one.
    Named(TenantName),
}

impl fmt::Display for Firewall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Firewall::On => "on",
            Firewall::Off => "off",
        })
    }
}

impl fmt::Display for Outbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Outbound::None => "none",
            Outbound::Nat => "nat",
            Outbound::Routed => "routed",
        })
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        })
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.port, self.protocol)
    }
}

impl fmt::Display for Exposed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.port, self.protocol)
    }
}

impl Publish {
    /// Where it is published, such as `203.0.113.7:8080/tcp`.
    #[must_use]
    pub fn from(&self) -> String {
        format!("{}{}/{}", self.at(), self.port, self.protocol)
    }

    /// Its address with a colon; nothing for all of IPv4.
    fn at(&self) -> String {
        match self.address {
            IpAddr::V4(address) if address.is_unspecified() => String::new(),
            IpAddr::V4(address) => format!("{address}:"),
            IpAddr::V6(address) => format!("[{address}]:"),
        }
    }

    /// Whether both need the same port of the host.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.port == other.port
            && self.protocol == other.protocol
            && self.address.is_ipv4() == other.address.is_ipv4()
            && (self.address == other.address
                || self.address.is_unspecified()
                || other.address.is_unspecified())
    }

    /// What is published, such as `port 80`.
    #[must_use]
    pub fn to(&self) -> String {
        format!("port {}", self.to)
    }
}

impl fmt::Display for Publish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.at();
        write!(f, "{at}{} -> {}/{}", self.port, self.to, self.protocol)
    }
}

impl fmt::Display for EgressRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.allow { "allow " } else { "deny " })?;
        match self.network {
            Some(IpNetwork::V4(network)) => write!(f, "{network}")?,
            // A port may follow.
            Some(IpNetwork::V6(network)) => write!(f, "[{network}]")?,
            None => f.write_str("any")?,
        }
        match self.ports {
            Some((first, last)) if first == last => write!(f, ":{first}")?,
            Some((first, last)) => write!(f, ":{first}-{last}")?,
            None => {}
        }
        match self.protocol {
            Some(protocol) => write!(f, "/{protocol}"),
            None => Ok(()),
        }
    }
}
