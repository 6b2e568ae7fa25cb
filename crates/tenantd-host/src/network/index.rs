//! The index of a link.

use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::netdevice::{index_to_name, name_to_index};
use rustix::net::{SocketFlags, SocketType, socket_with};

/// Looks up the index of a link of the host. Uses an ioctl, see netdevice(7), because a netlink
/// reply would contain all attributes of the link.
pub(super) fn index_of(name: &str) -> Result<u32, Errno> {
    name_to_index(&any()?, name)
}

/// Whether the host has a link with an index, whatever its name is. The kernel does not use an index again soon.
pub(super) fn is_index(index: u32) -> Result<bool, Errno> {
    match index_to_name(&any()?, index) {
        Ok(_) => Ok(true),
        Err(Errno::NODEV) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// A socket to ask.
fn any() -> Result<OwnedFd, Errno> {
    let family = rustix::net::AddressFamily::INET;
    socket_with(family, SocketType::DGRAM, SocketFlags::CLOEXEC, None)
}
