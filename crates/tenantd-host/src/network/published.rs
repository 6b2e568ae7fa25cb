//! Ports of the host that tenants publish: whether they are free, and which process has one that is not.

mod sockets;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with, sockopt};

use tenantd_core::plan::model::TenantPlan;
use tenantd_core::plan::traffic::{Protocol, Publish};
use tenantd_core::stage::{Failure, Stage};

use sockets::Holder;

/// A socket that holds a port: no other process can take it. It does not listen, so what the firewall does not lead
/// on is refused.
///
/// # Errors
/// Those of bind(2).
pub(super) fn hold(publish: &Publish) -> Result<OwnedFd, Errno> {
    let address = SocketAddr::new(publish.address, publish.port);
    let kind = match publish.protocol {
        Protocol::Tcp => SocketType::STREAM,
        Protocol::Udp => SocketType::DGRAM,
    };
    let family = match publish.address {
        IpAddr::V4(_) => AddressFamily::INET,
        IpAddr::V6(_) => AddressFamily::INET6,
    };
    let socket = socket_with(family, kind, SocketFlags::CLOEXEC, None)?;
    if publish.address.is_ipv6() {
        // The same port of IPv4 is published by itself.
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    bind(&socket, &address)?;
    Ok(socket)
}

/// Why a port cannot be held. Looks for the process that has it, which reads all of `/proc`.
pub(super) fn refused(publish: &Publish, errno: Errno) -> Failure {
    let holders = match errno {
        Errno::ADDRINUSE => sockets::holders(&[publish]),
        _ => BTreeMap::new(),
    };
    failure(publish, errno, holders.get(publish))
}

fn failure(publish: &Publish, errno: Errno, holder: Option<&Holder>) -> Failure {
    let object = format!("port {}", publish.from());
    let failure = Failure::errno(Stage::Firewall, object, errno.raw_os_error());
    match (errno, holder) {
        (Errno::ADDRINUSE, Some(Holder { pid, name })) => {
            failure.with(format!("{name} (pid {pid}) of the host has it"))
        }
        (Errno::ADDRINUSE, None) => failure.with(
            "a process of the host has it, or connections by it have ended a moment ago: `ss -tuanp` shows which",
        ),
        (Errno::ADDRNOTAVAIL, _) => failure.with("the host does not have this address"),
        _ => failure,
    }
}

/// What these tenants publish and could not be published now, each with the first reason. Those that the process `own`
/// has count as free: it is the supervisor of the application. Changes nothing.
pub fn taken<'a>(
    tenants: impl IntoIterator<Item = &'a TenantPlan>,
    is_held: impl Fn(&Publish) -> bool,
    own: Option<u32>,
) -> Vec<(&'a TenantPlan, Failure)> {
    let mut busy: Vec<(&TenantPlan, &Publish, Errno)> = Vec::new();
    for tenant in tenants {
        for publish in &tenant.link.traffic.publish {
            if !is_held(publish)
                && let Err(errno) = hold(publish)
            {
                busy.push((tenant, publish, errno));
            }
        }
    }
    let ports: Vec<&Publish> = busy.iter().map(|(_, publish, _)| *publish).collect();
    let holders = sockets::holders(&ports);
    let is_own = |publish| match (holders.get(publish), own) {
        (Some(holder), Some(own)) => holder.pid == own,
        (Some(_), None) | (None, _) => false,
    };
    let mut found: Vec<(&TenantPlan, Failure)> = Vec::new();
    for (tenant, publish, errno) in busy {
        let is_new = found
            .last()
            .is_none_or(|(last, _)| last.name != tenant.name);
        if is_new && !is_own(publish) {
            found.push((tenant, failure(publish, errno, holders.get(publish))));
        }
    }
    found
}
