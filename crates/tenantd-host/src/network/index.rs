//! The index of a link.

use rustix::io::Errno;
use rustix::net::netdevice::name_to_index;
use rustix::net::{SocketFlags, SocketType, socket_with};

/// Looks up the index of a link of the host. Uses an ioctl, see netdevice(7), because a netlink
/// reply would contain all attributes of the link.
pub(super) fn index_of(name: &str) -> Result<u32, Errno> {
    let any = socket_with(
        rustix::net::AddressFamily::INET,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    name_to_index(&any, name)
}
