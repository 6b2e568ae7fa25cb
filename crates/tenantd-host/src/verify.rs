//! Compares what a running tenant has with its plan. Changes nothing.
//!
//! What is compared is read from the kernel: from proc(5), by netlink on the host and in the tenant's network
//! namespace, and in its mount namespace. A tenant influences none of it but its own addresses, if it runs as root.

mod firewall;
mod limits;
mod mounts;
mod network;
mod process;
mod uplink;

use std::io;

use tenantd_core::cgroup::GroupLimits;
use tenantd_core::plan::model::{LinkPlan, NetworkPlan, TenantPlan};

pub use firewall::FirewallFound;

/// One thing that is not as planned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drift {
    /// What it is, in a word or two.
    pub what: &'static str,
    /// What the plan says.
    pub planned: String,
    /// What is there.
    pub found: String,
}

/// What mends a drift.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mends {
    /// The supervisor, while the tenant runs.
    Live,
    /// The next start of the tenant's program.
    Restart,
}

impl Drift {
    /// What mends it.
    #[must_use]
    pub fn mends(&self) -> Mends {
        match LIVE.contains(&self.what) || self.what.starts_with("limit") {
            true => Mends::Live,
            false => Mends::Restart,
        }
    }

    /// `None` if both are the same.
    fn between(
        what: &'static str,
        planned: impl Into<String>,
        found: impl Into<String>,
    ) -> Option<Self> {
        let (planned, found) = (planned.into(), found.into());
        (planned != found).then_some(Self {
            what,
            planned,
            found,
        })
    }
}

/// What is mended while a tenant runs; and its limits.
const LIVE: [&str; 10] = [
    "uplink",
    "firewall",
    "hub",
    "host end",
    "tenant end",
    "mark",
    "address",
    "neighbour",
    "default route",
    "route on the host",
];

/// Reads what the kernel has of the firewall of an application. Needs root.
///
/// # Errors
/// What cannot be read.
pub fn firewall(network: &NetworkPlan) -> io::Result<FirewallFound> {
    firewall::read(network)
}

/// What the tenants of an application share and is not as planned. Needs root.
///
/// # Errors
/// What cannot be read.
pub fn shared(network: &NetworkPlan, found: &FirewallFound) -> io::Result<Vec<Drift>> {
    let mut drifts = network::shared(network)?;
    drifts.extend(firewall::shared(network, found));
    Ok(drifts)
}

/// What the firewall has of a tenant and is not as planned. Needs root.
///
/// # Errors
/// What cannot be read.
pub fn of_firewall(link: &LinkPlan, found: &FirewallFound) -> io::Result<Vec<Drift>> {
    firewall::verify(link, found)
}

/// What of the limits of all tenants together is not as planned. `pid` is the first process of one of them.
///
/// # Errors
/// What cannot be read.
pub fn total(limits: &GroupLimits, pid: u32) -> io::Result<Vec<Drift>> {
    limits::total(limits, pid)
}

/// What of a tenant is not as planned. `pid` is the first process of its program. Needs root. Blocks, also if a file
/// system of the host hangs.
///
/// # Errors
/// What cannot be read: [`io::ErrorKind::NotFound`] and `ESRCH` if the process has ended meanwhile.
pub fn verify(
    network: &NetworkPlan,
    tenant: &TenantPlan,
    pid: u32,
    found: &FirewallFound,
) -> io::Result<Vec<Drift>> {
    let mut drifts = process::verify(tenant, pid)?;
    drifts.extend(limits::verify(tenant, pid)?);
    drifts.extend(network::verify(network, &tenant.link, pid)?);
    drifts.extend(of_firewall(&tenant.link, found)?);
    drifts.extend(mounts::verify(tenant, pid)?);
    Ok(drifts)
}

/// The ports of a bridge of the calling thread's network namespace.
///
/// # Errors
/// Those of the netlink socket.
pub(crate) fn ports_of(bridge: u32) -> io::Result<Vec<rtnetlink::packet_route::link::LinkMessage>> {
    network::macvlan::ports_of(bridge)
}

/// A link of the calling thread's network namespace. `None` if there is no such link.
///
/// # Errors
/// Those of the netlink socket.
pub(crate) fn find_link(
    name: &str,
) -> io::Result<Option<rtnetlink::packet_route::link::LinkMessage>> {
    network::find_link(name)
}

/// The MTU in bytes of a link of the calling thread's network namespace. `None` if there is no such link.
///
/// # Errors
/// Those of the netlink socket.
pub(crate) fn mtu_of(name: &str) -> io::Result<Option<u32>> {
    network::mtu_of(name)
}
