//! The ports of the host that tenants publish. A socket holds each, so that no other process of the host takes it
//! and waits for connections that the firewall leads elsewhere.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with};

use tenantd_core::plan::model::LinkPlan;
use tenantd_core::plan::traffic::{Protocol, Publish};
use tenantd_core::stage::{Failure, Stage};

/// The sockets of one tenant.
#[derive(Debug, Default)]
pub(super) struct Ports(BTreeMap<Publish, OwnedFd>);

impl Ports {
    /// Opens sockets for the ports that a plan publishes and this does not hold.
    ///
    /// # Errors
    /// [`Stage::Firewall`], if a process has a port, or the host has not the address.
    pub(super) fn added(&self, link: &LinkPlan) -> Result<Ports, Failure> {
        let published = link.traffic.publish.iter();
        let missing = published.filter(|publish| !self.0.contains_key(publish));
        let added = missing.map(|publish| Ok((publish.clone(), hold(publish)?)));
        Ok(Ports(added.collect::<Result<_, Failure>>()?))
    }

    /// Holds the added ports too, and no longer those that a plan does not publish.
    pub(super) fn change(&mut self, added: Ports, link: &LinkPlan) {
        self.0.extend(added.0);
        self.0
            .retain(|publish, _| link.traffic.publish.contains(publish));
    }
}

fn hold(publish: &Publish) -> Result<OwnedFd, Failure> {
    let address = publish.address.unwrap_or(Ipv4Addr::UNSPECIFIED);
    let address = SocketAddrV4::new(address, publish.port);
    let held = match publish.protocol {
        // It does not listen: what the firewall does not lead on is refused.
        Protocol::Tcp => {
            let flags = SocketFlags::CLOEXEC;
            socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)
                .and_then(|socket| bind(&socket, &address).map(|()| socket))
                .map_err(Errno::raw_os_error)
        }
        Protocol::Udp => UdpSocket::bind(address)
            .map(OwnedFd::from)
            .map_err(|error| error.raw_os_error().unwrap_or(libc::EIO)),
    };
    held.map_err(|errno| {
        let object = format!("port {}", publish.from());
        let failure = Failure::errno(Stage::Firewall, object, errno);
        match errno {
            libc::EADDRINUSE => {
                failure.with("a process of the host has it: `ss -tulpn` shows which")
            }
            libc::EADDRNOTAVAIL => failure.with("the host does not have this address"),
            _ => failure,
        }
    })
}
