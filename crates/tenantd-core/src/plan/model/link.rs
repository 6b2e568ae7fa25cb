//! The link of a tenant.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Interface, MacAddr};
use crate::name::IfName;
use crate::plan::address::Addresses;
use crate::plan::derive;
use crate::plan::names::NamesPlan;
use crate::plan::rate::RatePlan;
use crate::plan::traffic::TrafficPlan;
use crate::sysctl::Sysctl;

/// One end of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndPlan {
    /// The interface's name.
    pub name: IfName,
    /// Its MAC address, derived from the names of application and tenant.
    pub mac: MacAddr,
}

/// A tenant's veth pair, or its macvlan with a veth pair that bears the mark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkPlan {
    /// The tenant's addresses.
    pub addresses: Addresses,
    /// The prefix length of IPv4 addresses on the tenant end: 32 in mode routed, that of the subnet
    /// in mode bridge.
    pub prefix: u8,
    /// The interface of the host that the tenant end is a macvlan of, or the bridge of the host that the host end is a
    /// port of. The host end of a macvlan only bears the mark, and is down.
    pub parent: Option<Interface>,
    /// The host end.
    pub host: EndPlan,
    /// The tenant end, `eth0`.
    pub tenant: EndPlan,
    /// The ownership mark (the host end's alias), `tenantd:APP/TENANT`.
    pub mark: String,
    /// Settings of the kernel in the tenant's network namespace, and their values. Others are the host's.
    pub sysctls: Arc<BTreeMap<Sysctl, String>>,
    /// What traffic the firewall lets pass.
    pub traffic: Arc<TrafficPlan>,
    /// How much it receives and sends.
    pub rate: RatePlan,
    /// How the tenant looks names up.
    pub names: Arc<NamesPlan>,
}

impl LinkPlan {
    /// Whether the host end is a port of a bridge that the host has.
    #[must_use]
    pub fn is_port(&self) -> bool {
        self.parent.is_some() && derive::is_port(&self.host.mac.0)
    }

    /// Whether the tenant end is a macvlan.
    #[must_use]
    pub fn is_macvlan(&self) -> bool {
        self.parent.is_some() && !self.is_port()
    }
}
