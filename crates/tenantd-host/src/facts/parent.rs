//! An interface of the host that tenants are to have macvlans of.

mod bridge;

use std::path::Path;

use nix::errno::Errno;
use rtnetlink::packet_route::link::{
    InfoKind, LinkAttribute, LinkInfo, LinkLayerType, LinkMessage,
};

use crate::verify::find_link;
use tenantd_core::plan::facts::{Parent, ParentKind};

/// The folder of all interfaces, see sysfs(5).
const INTERFACES: &str = "/sys/class/net";

/// The interface of this name.
pub(super) fn of(name: &str) -> Result<Option<Parent>, Errno> {
    let found = find_link(name).map_err(|error| errno(&error))?;
    let Some(link) = found else {
        return Ok(None);
    };
    let kind = match port_of(&link) {
        Some(index) => ParentKind::Port(name_of(index)?),
        None if link.header.link_layer_type != LinkLayerType::Ether => ParentKind::Other,
        None if is_upper(&link) => ParentKind::Upper,
        None if is_wireless(Path::new(INTERFACES), name) => ParentKind::Wireless,
        None => match bridge::of(&link).map_err(|error| errno(&error))? {
            Some(bridge) => ParentKind::Bridge(bridge),
            None => ParentKind::Ethernet,
        },
    };
    let mtu = link.attributes.iter().find_map(|part| match part {
        LinkAttribute::Mtu(mtu) => Some(*mtu),
        _ => None,
    });
    Ok(Some(Parent {
        mtu: mtu.unwrap_or(0),
        kind,
    }))
}

fn errno(error: &std::io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}

/// The index of the interface that it is a port of. The kernel has one taker of its frames only.
fn port_of(link: &LinkMessage) -> Option<u32> {
    link.attributes.iter().find_map(|part| match part {
        LinkAttribute::Controller(index) => Some(*index),
        _ => None,
    })
}

fn name_of(index: u32) -> Result<String, Errno> {
    let any = rustix::net::socket(
        rustix::net::AddressFamily::INET,
        rustix::net::SocketType::DGRAM,
        None,
    );
    let name = any.and_then(|any| rustix::net::netdevice::index_to_name(any, index));
    name.map_err(|error| Errno::from_raw(error.raw_os_error()))
}

fn is_upper(link: &LinkMessage) -> bool {
    let is_one = |info: &LinkInfo| {
        matches!(
            info,
            LinkInfo::Kind(
                InfoKind::MacVlan | InfoKind::MacVtap | InfoKind::IpVlan | InfoKind::IpVtap
            )
        )
    };
    link.attributes.iter().any(|part| match part {
        LinkAttribute::LinkInfo(parts) => parts.iter().any(is_one),
        _ => false,
    })
}

/// Whether the kernel has a wireless device behind an interface.
fn is_wireless(interfaces: &Path, name: &str) -> bool {
    let folder = interfaces.join(name);
    ["phy80211", "wireless"]
        .iter()
        .any(|part| folder.join(part).exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wireless_interface_has_a_folder_for_it() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("wlan0/phy80211")).unwrap();
        std::fs::create_dir_all(folder.path().join("eth0")).unwrap();
        assert!(is_wireless(folder.path(), "wlan0"));
        assert!(!is_wireless(folder.path(), "eth0"));
    }

    #[test]
    fn loopback_is_no_ethernet_and_what_is_missing_is_nothing() {
        let kind = of("lo").unwrap().unwrap().kind;
        assert_eq!(kind, ParentKind::Other);
        assert_eq!(of("no-such-link").unwrap(), None);
    }
}
