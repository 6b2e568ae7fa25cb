//! The syslog socket of a scratch run in a union, where no log collector is.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use tenantd_core::layout;

/// The socket to which `/dev/log` is a link.
#[derive(Debug)]
pub(super) struct Syslog(UnixDatagram);

impl Syslog {
    pub(super) fn bind() -> io::Result<Self> {
        fs::create_dir_all(layout::LOG)?;
        Ok(Self(open(&Path::new(layout::LOG).join("socket"))?))
    }

    /// The lines that have come to syslog.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let mut bytes = [0; 8192];
        while let Ok(length) = self.0.recv(&mut bytes) {
            lines.push(
                String::from_utf8_lossy(&bytes[..length])
                    .trim_end()
                    .to_owned(),
            );
        }
        lines
    }
}

/// Every user may send to it, and nobody waits for it.
fn open(path: &Path) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::bind(path)?;
    socket.set_nonblocking(true)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o666))?;
    Ok(socket)
}
