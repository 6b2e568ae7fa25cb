//! Announces a tenant's addresses to its neighbours on a bridge, by a frame of our own for each (gratuitous ARP, RFC
//! 5227; unsolicited neighbour advertisement, RFC 4861): a machine that still has another MAC address for one of them
//! corrects it at once.
//!
//! The kernel's own announcement (`arp_notify`, `ndisc_notify`) comes before the link carries, and is lost.

use std::io;
use std::net::IpAddr;
use std::os::fd::AsRawFd;

use nix::sys::socket::{AddressFamily, LinkAddr, MsgFlags, SockFlag, SockType, sendto, socket};

use tenantd_core::plan::model::{LinkPlan, MacAddr};
use tenantd_core::stage::{Failure, Stage};

use super::frame::announcement;
use super::probe::packet_address;
use super::refusal::broken;
use crate::netns::{self, Netns};

/// Sends one frame for each of these addresses of the tenant.
pub(super) fn announce(
    netns: &Netns,
    link: &LinkPlan,
    addresses: impl Iterator<Item = IpAddr> + Send,
) -> Result<(), Failure> {
    let name = link.tenant.name.as_str();
    let sent = netns::visit(netns, || {
        send(packet_address(name)?, link.tenant.mac, addresses)
    });
    sent.map_err(|error| broken(Stage::Address, "(its announcement)", &error))
}

/// Sends one frame for each of these addresses by a link of the calling thread's namespace, as one of this MAC address.
pub(super) fn send(
    to: LinkAddr,
    mac: MacAddr,
    addresses: impl Iterator<Item = IpAddr>,
) -> io::Result<()> {
    let socket = socket(
        AddressFamily::Packet,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        None,
    )?;
    for address in addresses {
        let frame = announcement(mac, address);
        sendto(socket.as_raw_fd(), &frame, &to, MsgFlags::MSG_DONTWAIT)?;
    }
    Ok(())
}
