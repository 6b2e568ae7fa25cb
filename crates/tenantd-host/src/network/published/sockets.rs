//! Which processes have sockets at ports of the host, see sock_diag(7).

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tenantd_core::plan::traffic::{Protocol, Publish};

use crate::sock_diag::{SockDiag, Sockets};

/// A process that has a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Holder {
    pub(super) pid: u32,
    pub(super) name: String,
}

/// The processes that have these ports, as far as they can be found.
pub(super) fn holders<'a>(ports: &[&'a Publish]) -> BTreeMap<&'a Publish, Holder> {
    let mut wanted: BTreeMap<u64, &Publish> = BTreeMap::new();
    for publish in ports {
        for family in [libc::AF_INET, libc::AF_INET6] {
            // Without the kernel's module no process is named.
            let found = sockets(family, publish).unwrap_or_default();
            wanted.extend(found.into_iter().map(|inode| (inode, *publish)));
        }
    }
    let mut found = BTreeMap::new();
    if wanted.is_empty() {
        return found;
    }
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    for process in processes {
        let Some(pid) = process.file_name().to_str().and_then(|it| it.parse().ok()) else {
            continue;
        };
        let open = fs::read_dir(process.path().join("fd"));
        for descriptor in open.into_iter().flatten().flatten() {
            let inode = fs::read_link(descriptor.path()).ok().and_then(|link| {
                let inode = link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
                inode.parse::<u64>().ok()
            });
            if let Some(publish) = inode.and_then(|inode| wanted.get(&inode)) {
                found.entry(*publish).or_insert_with(|| Holder {
                    pid,
                    name: name(pid),
                });
            }
        }
    }
    found
}

/// The name of a process, which it chooses itself.
fn name(pid: u32) -> String {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    let name = name.trim_end().escape_debug().to_string();
    match name.is_empty() {
        true => "a process".to_owned(),
        false => name,
    }
}

/// The inodes of the sockets of a family that keep a port from being published.
fn sockets(family: i32, publish: &Publish) -> io::Result<Vec<u64>> {
    let with_port = Sockets {
        family,
        protocol: match publish.protocol {
            Protocol::Tcp => libc::IPPROTO_TCP,
            Protocol::Udp => libc::IPPROTO_UDP,
        },
        states: u32::MAX,
        identity: &publish.port.to_be_bytes(),
    };
    let mut inodes = Vec::new();
    SockDiag::open()?.each(with_port, |socket| inodes.extend(inode(socket, publish)))?;
    Ok(inodes)
}

/// The inode of a socket, if its address overlaps the published one.
fn inode(message: &[u8], publish: &Publish) -> Option<u64> {
    let own = match i32::from(*message.first()?) {
        libc::AF_INET => IpAddr::V4(Ipv4Addr::from(
            <[u8; 4]>::try_from(message.get(8..12)?).ok()?,
        )),
        _ => IpAddr::V6(Ipv6Addr::from(
            <[u8; 16]>::try_from(message.get(8..24)?).ok()?,
        )),
    };
    let own = own.to_canonical();
    let is_same = own.is_ipv4() == publish.address.is_ipv4();
    // One that is for all of IPv6 may be for all of IPv4 too.
    let overlaps = match own.is_unspecified() {
        true => is_same || own.is_ipv6(),
        false => is_same && (publish.address.is_unspecified() || own == publish.address),
    };
    let inode = u32::from_ne_bytes(message.get(68..72)?.try_into().ok()?);
    overlaps.then_some(u64::from(inode))
}
