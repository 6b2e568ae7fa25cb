//! A tenant's `/dev/log`: a datagram socket in a folder of the host that is bound into the tenant.
//!
//! Each tenant has a socket of its own, so the socket says whose message it is, even if the sender does
//! not exist any more. A folder is bound, not the socket: a bound socket would refuse all messages once
//! another process has replaced it, and a bound folder shows the new one.
//!
//! A tenant is hostile. No message can bring descriptors where the kernel allows to refuse them
//! (`SO_PASSRIGHTS`, Linux 6.16). Elsewhere they are received, because a message that is received without
//! them makes the receiving thread close them, and that can take as long as the sender likes
//! (`SO_LINGER`). So only the log collector receives, never the supervisor.

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, Shutdown, recvmsg,
};

use crate::fifo;
use crate::launch::raw::refuse_descriptors;
use tenantd_core::name::{AppName, TenantName};
use tenantd_core::stage::{Failure, Stage};

/// The name of the socket in its folder.
pub const SOCKET: &str = "socket";

/// The most descriptors in one message (`SCM_MAX_FD`, unix(7)).
const DESCRIPTORS_MAX: usize = 253;

/// The folder of a tenant's socket, which contains nothing else. The tenant sees it, read-only, at
/// [`LOG`](tenantd_core::layout::LOG), and its `/dev/log` is a link to [`SOCKET`] in it.
///
/// All users may use it, but on the host only root reaches it: the folders above deny all others.
#[must_use]
pub fn folder(app: &AppName, tenant: &TenantName) -> PathBuf {
    fifo::folder(app, tenant).join("log")
}

/// Makes a tenant's folder, in the folder of its pipes.
///
/// # Errors
/// The stage [`Stage::Log`], with the path and the errno.
pub fn make_folder(app: &AppName, tenant: &TenantName) -> Result<(), Failure> {
    let folder = folder(app, tenant);
    let mode = Mode::from_raw_mode(0o755);
    match rustix::fs::mkdir(&folder, mode) {
        // The umask applies to mkdir(2).
        Ok(()) => rustix::fs::chmod(&folder, mode).map_err(failed(&folder)),
        Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(failed(&folder)(errno)),
    }
}

/// Removes a tenant's folder and socket. Succeeds if they do not exist.
///
/// # Errors
/// The stage [`Stage::Log`], with the path and the errno.
pub fn remove(app: &AppName, tenant: &TenantName) -> Result<(), Failure> {
    let folder = folder(app, tenant);
    for name in [SOCKET, NEW] {
        let path = folder.join(name);
        gone(&path, rustix::fs::unlink(&path))?;
    }
    gone(&folder, rustix::fs::rmdir(&folder))
}

/// The name of a socket until it replaces an older one.
const NEW: &str = "socket.new";

fn gone(path: &Path, result: rustix::io::Result<()>) -> Result<(), Failure> {
    match result {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(failed(path)(errno)),
    }
}

fn failed(path: &Path) -> impl FnOnce(Errno) -> Failure {
    move |errno| Failure::errno(Stage::Log, path.display().to_string(), errno.raw_os_error())
}

/// A tenant's socket, from which its messages are received.
#[derive(Debug)]
pub struct Syslog {
    socket: UnixDatagram,
}

/// What was received.
#[derive(Debug)]
pub struct Received {
    /// The number of bytes in the buffer.
    pub len: usize,
    /// Whether the message was longer than the buffer.
    pub is_cut: bool,
    /// Descriptors that came with it. Closing one may take long.
    pub descriptors: Vec<OwnedFd>,
}

impl Syslog {
    /// Makes the socket in a folder, and replaces an older one at once: a sender reaches either of
    /// them. The number of messages that wait is a setting of the calling thread's network namespace
    /// (`net.unix.max_dgram_qlen`).
    ///
    /// # Errors
    /// What socket(2), bind(2), chmod(2) or rename(2) reports.
    pub fn bind(folder: &Path) -> io::Result<Self> {
        let path = folder.join(NEW);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let socket = bind(&path)?;
        rustix::fs::chmod(&path, Mode::from_raw_mode(0o666))?;
        socket.set_nonblocking(true)?;
        std::fs::rename(&path, folder.join(SOCKET))?;
        Ok(Self { socket })
    }

    /// Receives one message; None if there is none.
    ///
    /// # Errors
    /// What recvmsg(2) reports.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<Received>> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
        let slice = &mut [IoSliceMut::new(buffer)];
        let message = match recvmsg(&self.socket, slice, &mut control, flags) {
            Ok(message) => message,
            Err(Errno::AGAIN) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        };
        let mut descriptors = Vec::new();
        for piece in control.drain() {
            if let RecvAncillaryMessage::ScmRights(received) = piece {
                descriptors.extend(received);
            }
        }
        Ok(Some(Received {
            len: message.bytes,
            is_cut: message.flags.contains(ReturnFlags::TRUNC),
            descriptors,
        }))
    }

    /// Refuses further messages. Those that were sent before can still be received.
    ///
    /// # Errors
    /// What shutdown(2) reports.
    pub fn refuse_more(&self) -> io::Result<()> {
        Ok(rustix::net::shutdown(&self.socket, Shutdown::Read)?)
    }
}

/// Any bound socket, such as one that accepts descriptors.
impl From<UnixDatagram> for Syslog {
    fn from(socket: UnixDatagram) -> Self {
        Self { socket }
    }
}

impl AsFd for Syslog {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn bind(path: &Path) -> io::Result<UnixDatagram> {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, socket_with};
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)?;
    match refuse_descriptors(socket.as_fd()) {
        // The kernel is older than 6.16.
        Ok(()) | Err(Errno::NOPROTOOPT) => {}
        Err(errno) => return Err(errno.into()),
    }
    rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(UnixDatagram::from(socket))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_socket_replaces_the_old_one_and_nothing_that_was_sent_is_lost() {
        let place = tempfile::tempdir().unwrap();
        let old = Syslog::bind(place.path()).unwrap();
        let sender = UnixDatagram::unbound().unwrap();
        let path = place.path().join(SOCKET);
        sender.connect(&path).unwrap();
        sender.send(b"one").unwrap();
        let new = Syslog::bind(place.path()).unwrap();
        old.refuse_more().unwrap();
        assert_eq!(
            sender.send(b"refused").unwrap_err().kind(),
            io::ErrorKind::BrokenPipe
        );
        sender.connect(&path).unwrap();
        sender.send(b"two").unwrap();
        let mut buffer = [0; 8];
        let received = old.receive(&mut buffer).unwrap().unwrap();
        assert_eq!(&buffer[..received.len], b"one");
        let received = new.receive(&mut buffer).unwrap().unwrap();
        assert_eq!(&buffer[..received.len], b"two");
        assert!(new.receive(&mut buffer).unwrap().is_none());
    }
}
