//! What others reach a tenant by on the uplink: the entries by which the host answers, and the settings of the interface.

use std::io;
use std::net::IpAddr;

use super::Drift;
use super::network::{asked, find};
use crate::network::uplink::is_answered;
use crate::uplink::lacking;
use tenantd_core::plan::model::{LinkPlan, NetworkPlan};

pub(super) fn verify(network: &NetworkPlan, link: &LinkPlan) -> io::Result<Vec<Drift>> {
    let addresses: Vec<IpAddr> = link.addresses.iter().collect();
    let of_uplink = |it: &IpAddr| network.is_by_uplink(*it);
    let addresses: Vec<IpAddr> = addresses.into_iter().filter(of_uplink).collect();
    let Some(uplink) = network.uplink.as_ref().filter(|_| !addresses.is_empty()) else {
        return Ok(Vec::new());
    };
    let name = uplink.name.as_str();
    let mut drifts = asked(async |handle| {
        let Some(found) = find(handle, name).await? else {
            return Ok(Drift::between("uplink", name, "missing")
                .into_iter()
                .collect());
        };
        let mut drifts = Vec::new();
        for address in &addresses {
            if !is_answered(handle, found.header.index, *address).await? {
                let planned = format!("the host answers for {address} on {name}");
                drifts.extend(Drift::between("uplink", planned, "it does not"));
            }
        }
        Ok(drifts)
    })?;
    let has = |four: bool| addresses.iter().any(|it| it.is_ipv4() == four);
    drifts.extend(
        lacking(name, has(true), has(false))
            .into_iter()
            .filter_map(|it| {
                let planned = format!("sysctl {} = {}", it.path, it.value);
                Drift::between("uplink", planned, it.found)
            }),
    );
    Ok(drifts)
}
