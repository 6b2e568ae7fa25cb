//! What a bridge of the host has: its ports, and whether it filters VLANs.

use std::io;

use rtnetlink::packet_route::link::{
    InfoBridge, InfoData, InfoKind, LinkAttribute, LinkInfo, LinkMessage,
};

use crate::verify::ports_of;
use tenantd_core::plan::facts::Bridge;

/// The bridge that a link is. `None` if it is none. Lists the ports of it.
pub(super) fn of(link: &LinkMessage) -> io::Result<Option<Bridge>> {
    let parts = link.attributes.iter().find_map(|part| match part {
        LinkAttribute::LinkInfo(parts) => Some(parts),
        _ => None,
    });
    let parts = parts.into_iter().flatten();
    let (mut is_bridge, mut filters, mut vlan) = (false, false, 0);
    for part in parts {
        match part {
            LinkInfo::Kind(InfoKind::Bridge) => is_bridge = true,
            LinkInfo::Data(InfoData::Bridge(settings)) => {
                for setting in settings {
                    match setting {
                        InfoBridge::VlanFiltering(on) => filters = *on,
                        InfoBridge::VlanDefaultPvid(number) => vlan = *number,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    if !is_bridge {
        return Ok(None);
    }
    Ok(Some(Bridge {
        ports: ports(link.header.index)?,
        vlan: filters.then_some(vlan),
    }))
}

/// The aliases of the ports of a bridge.
fn ports(bridge: u32) -> io::Result<Vec<String>> {
    let alias = |it: LinkMessage| {
        let mut parts = it.attributes.into_iter();
        let alias = parts.find_map(|part| match part {
            LinkAttribute::IfAlias(alias) => Some(alias),
            _ => None,
        });
        alias.unwrap_or_default()
    };
    Ok(ports_of(bridge)?.into_iter().map(alias).collect())
}
