//! The names and aliases of the host's links, one at a time. In a list of all links, the kernel looks through the numbers
//! of all network namespaces for each of them: with ten thousand tenants that takes longer than all questions.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;

use rustix::net::netdevice::index_to_name;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

/// The longest alias, see `IFALIASZ` of the kernel, with a line end.
const ALIAS_MAX: usize = 257;

/// Asks for links of this network namespace.
#[derive(Debug)]
pub(super) struct Links(OwnedFd);

impl Links {
    /// # Errors
    /// What socket(2) reports.
    pub(super) fn open() -> std::io::Result<Self> {
        let flags = SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, flags, None)?;
        Ok(Self(socket))
    }

    /// The name of a link; `None` if it is gone by now.
    pub(super) fn name(&self, index: u32) -> Option<String> {
        let name = index_to_name(&self.0, index).ok()?;
        (!name.is_empty()).then_some(name)
    }
}

/// The alias of a link; `None` if it has none.
pub(crate) fn alias(name: &str) -> Option<String> {
    let mut file = File::open(format!("/sys/class/net/{name}/ifalias")).ok()?;
    let mut bytes = [0; ALIAS_MAX];
    // The kernel gives all of it at once.
    let length = file.read(&mut bytes).ok()?;
    let alias = String::from_utf8_lossy(bytes.get(..length)?);
    let alias = alias.trim_end();
    (!alias.is_empty()).then(|| alias.to_owned())
}
