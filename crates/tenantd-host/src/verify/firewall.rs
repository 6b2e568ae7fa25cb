//! What the firewall has of a tenant, and of the application.

use std::io;

use rustix::net::netdevice::name_to_index;
use rustix::net::{AddressFamily, SocketType, socket};

use super::Drift;
use crate::network::{Difference, Tables};
use tenantd_core::plan::model::{Firewall, LinkPlan, NetworkPlan};

/// What the kernel has of the firewall of an application, read once for all its tenants.
#[derive(Debug)]
pub struct FirewallFound(Option<Tables>);

/// Reads what the kernel has.
pub(super) fn read(network: &NetworkPlan) -> io::Result<FirewallFound> {
    let tables = match (network.firewall, &network.parent) {
        // Those of macvlans are in the tenants.
        (Firewall::Off, _) | (Firewall::On, Some(_)) => None,
        (Firewall::On, None) => {
            let tables = Tables::read(network.app());
            Some(tables.map_err(io::Error::from_raw_os_error)?)
        }
    };
    Ok(FirewallFound(tables))
}

/// The tables, their owner and their chains.
pub(super) fn shared(network: &NetworkPlan, found: &FirewallFound) -> Vec<Drift> {
    let tables = found.0.as_ref();
    tables.map_or_else(Vec::new, |tables| drifts(tables.shared(network)))
}

/// The elements of a tenant, and the guard on its link.
pub(super) fn verify(link: &LinkPlan, found: &FirewallFound) -> io::Result<Vec<Drift>> {
    let any = socket(AddressFamily::INET, SocketType::DGRAM, None)?;
    // Without its link, nothing else is told of it.
    let Ok(index) = name_to_index(&any, link.host.name.as_str()) else {
        return Ok(Vec::new());
    };
    let tables = found.0.as_ref();
    Ok(tables.map_or_else(Vec::new, |tables| drifts(tables.of_tenant(link, index))))
}

fn drifts(differences: Vec<Difference>) -> Vec<Drift> {
    let drift = |(planned, found)| Drift {
        what: "firewall",
        planned,
        found,
    };
    differences.into_iter().map(drift).collect()
}
