//! Announces a tenant's addresses to its neighbours on a bridge, by a frame of our own (gratuitous ARP, RFC 5227):
//! a machine that still has another MAC address for one of them corrects it at once.
//!
//! The kernel's own announcement (`arp_notify`) comes before the link carries, and is lost.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsRawFd;

use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{AddressFamily, LinkAddr, MsgFlags, SockFlag, SockType, sendto, socket};

use tenantd_core::plan::model::{LinkPlan, MacAddr};
use tenantd_core::stage::{Failure, Stage};

use super::refusal::broken;
use crate::netns::{self, Netns};

/// Sends one frame for each IPv4 address.
pub(super) fn announce(netns: &Netns, link: &LinkPlan) -> Result<(), Failure> {
    let name = link.tenant.name.as_str();
    let sent = netns::visit(netns, || {
        let socket = socket(
            AddressFamily::Packet,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            None,
        )?;
        let to = packet_address(name)?;
        for address in link.addresses.iter() {
            let IpAddr::V4(address) = address else {
                continue;
            };
            let frame = frame(link.tenant.mac, address);
            sendto(socket.as_raw_fd(), &frame, &to, MsgFlags::MSG_DONTWAIT)?;
        }
        Ok(())
    });
    sent.map_err(|error| broken(Stage::Address, "(its announcement)", &error))
}

/// The address of a link of this namespace, which has three links at most.
fn packet_address(name: &str) -> io::Result<LinkAddr> {
    getifaddrs()?
        .filter(|link| link.interface_name == name)
        .find_map(|link| link.address?.as_link_addr().copied())
        .ok_or_else(|| io::Error::from_raw_os_error(libc::ENODEV))
}

/// A request for the sender's own address, to all.
fn frame(MacAddr(mac): MacAddr, address: Ipv4Addr) -> Vec<u8> {
    let address = address.octets();
    let mut frame = vec![0xff; 6];
    frame.extend(mac);
    // ARP; Ethernet, IPv4, with the lengths of their addresses; a request.
    frame.extend([0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 1]);
    frame.extend(mac);
    frame.extend(address);
    frame.extend([0; 6]);
    frame.extend(address);
    frame
}
