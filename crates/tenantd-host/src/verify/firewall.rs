//! What the firewall has of a tenant, and of the application.

use std::io;

use rustix::net::netdevice::name_to_index;
use rustix::net::{AddressFamily, SocketType, socket};

use super::Drift;
use crate::network::{Difference, Tables};
use tenantd_core::plan::model::{Firewall, LinkPlan, NetworkPlan};

/// The tables, their owner and their chains.
pub(super) fn shared(network: &NetworkPlan) -> io::Result<Vec<Drift>> {
    Ok(match tables(network)? {
        Some(tables) => drifts(tables.shared(network)),
        None => Vec::new(),
    })
}

/// The elements of a tenant, and the guard on its link.
pub(super) fn verify(network: &NetworkPlan, link: &LinkPlan) -> io::Result<Vec<Drift>> {
    let any = socket(AddressFamily::INET, SocketType::DGRAM, None)?;
    // Without its link, nothing else is told of it.
    let Ok(index) = name_to_index(&any, link.host.name.as_str()) else {
        return Ok(Vec::new());
    };
    Ok(match tables(network)? {
        Some(tables) => drifts(tables.of_tenant(link, index)),
        None => Vec::new(),
    })
}

/// None if the application has no firewall.
fn tables(network: &NetworkPlan) -> io::Result<Option<Tables>> {
    match network.firewall {
        Firewall::Off => Ok(None),
        Firewall::On => Tables::read(network.app())
            .map(Some)
            .map_err(io::Error::from_raw_os_error),
    }
}

fn drifts(differences: Vec<Difference>) -> Vec<Drift> {
    let drift = |(planned, found)| Drift {
        what: "firewall",
        planned,
        found,
    };
    differences.into_iter().map(drift).collect()
}
