//! A datagram socket at which a tenant's programs send messages, in a folder of the host that is bound
//! into the tenant.
//!
//! Each tenant has a socket of its own, so the socket says whose message it is, even if the sender does
//! not exist any more. A folder is bound, not the socket: a bound socket would refuse all messages once
//! another process has replaced it, and a bound folder shows the new one.
//!
//! A tenant is hostile. Closing a descriptor that it sends can take as long as it likes (`SO_LINGER`), and
//! a message that is received without its descriptors makes the receiving thread close them. So they are
//! always received, and [`closer`](crate::closer) closes them; or the kernel refuses such messages.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, Shutdown, SocketAddrUnix, SocketFlags,
    SocketType, recvmsg, socket_with,
};

use crate::launch::put_aside;
use crate::launch::raw::refuse_descriptors;

/// The most descriptors in one message (`SCM_MAX_FD`, unix(7)).
pub const DESCRIPTORS_MAX: usize = 253;

/// Messages with descriptors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Descriptors {
    /// The kernel refuses them, if it can (`SO_PASSRIGHTS`, Linux 6.16).
    Refused,
    /// They are received. sd_notify_barrier(3) sends one.
    Accepted,
}

/// A socket, from which a tenant's messages are received.
#[derive(Debug)]
pub struct Inbox {
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
    /// Whether the kernel closed some of the descriptors, because this process may not open more
    /// (`MSG_CTRUNC`).
    pub lost: bool,
    /// The process that sent it, if the socket [asks](name_senders) the kernel for that.
    pub sender: Option<i32>,
}

impl Inbox {
    /// Makes the socket `name` in a folder, and replaces an older one at once: a sender reaches either of
    /// them. The number of messages that wait is a setting of the calling thread's network namespace
    /// (`net.unix.max_dgram_qlen`).
    ///
    /// # Errors
    /// What socket(2), bind(2), chmod(2) or rename(2) reports.
    pub fn bind(folder: &Path, name: &str, descriptors: Descriptors) -> io::Result<Self> {
        // The whole path may be longer than an address (`sun_path`, unix(7)).
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let at = rustix::fs::open(folder, flags, Mode::empty())?;
        let path = format!("/proc/self/fd/{}/{}", at.as_raw_fd(), new(name));
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)?;
        if descriptors == Descriptors::Refused {
            refuse(socket.as_fd())?;
        }
        rustix::net::bind(&socket, &SocketAddrUnix::new(&path)?)?;
        rustix::fs::chmod(&path, Mode::from_raw_mode(0o666))?;
        rustix::fs::renameat(&at, new(name), &at, name)?;
        Ok(Self {
            socket: UnixDatagram::from(put_aside(&socket)?),
        })
    }

    /// Receives one message; None if there is none.
    ///
    /// # Errors
    /// What recvmsg(2) reports.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<Received>> {
        receive(self.socket.as_fd(), buffer)
    }

    /// Refuses further messages. Those that were sent before can still be received.
    ///
    /// # Errors
    /// What shutdown(2) reports.
    pub fn refuse_more(&self) -> io::Result<()> {
        Ok(rustix::net::shutdown(&self.socket, Shutdown::Read)?)
    }
}

/// Has the kernel refuse messages with descriptors, if it can. Connections to a listening socket inherit
/// that.
///
/// # Errors
/// What setsockopt(2) reports.
pub fn refuse(socket: BorrowedFd<'_>) -> io::Result<()> {
    match refuse_descriptors(socket) {
        // The kernel is older than 6.16.
        Ok(()) | Err(Errno::NOPROTOOPT) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Has the kernel say of each message which process sent it (`SO_PASSCRED`, unix(7)). Connections to a
/// listening socket inherit that.
///
/// # Errors
/// What setsockopt(2) reports.
pub fn name_senders(socket: BorrowedFd<'_>) -> io::Result<()> {
    Ok(rustix::net::sockopt::set_socket_passcred(socket, true)?)
}

/// Receives from a socket, with all descriptors, and without waiting; None if there is nothing. At the
/// end of a stream, the length is 0.
///
/// # Errors
/// What recvmsg(2) reports.
pub fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Option<Received>> {
    let mut space =
        [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX), ScmCredentials(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let slice = &mut [IoSliceMut::new(buffer)];
    let message = match recvmsg(socket, slice, &mut control, flags) {
        Ok(message) => message,
        Err(Errno::AGAIN) => return Ok(None),
        Err(errno) => return Err(errno.into()),
    };
    let (mut descriptors, mut sender) = (Vec::new(), None);
    for piece in control.drain() {
        match piece {
            RecvAncillaryMessage::ScmRights(received) => descriptors.extend(received),
            RecvAncillaryMessage::ScmCredentials(named) => {
                sender = Some(named.pid.as_raw_nonzero().get());
            }
            _ => {}
        }
    }
    Ok(Some(Received {
        len: message.bytes,
        is_cut: message.flags.contains(ReturnFlags::TRUNC),
        descriptors,
        lost: message.flags.contains(ReturnFlags::CTRUNC),
        sender,
    }))
}

/// Sends bytes of a stream, or a message, with these descriptors, and without waiting. Returns how many bytes were
/// sent; the descriptors came with the first of them.
///
/// # Errors
/// What sendmsg(2) reports.
pub fn send(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    let bytes = &[IoSlice::new(bytes)];
    Ok(rustix::net::sendmsg(socket, bytes, &mut control, flags)?)
}

/// Any bound socket, such as an inherited one.
impl From<UnixDatagram> for Inbox {
    fn from(socket: UnixDatagram) -> Self {
        Self { socket }
    }
}

impl AsFd for Inbox {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Makes the folder of a socket, which contains nothing else and which all users may use, unless the
/// folders above deny it.
///
/// # Errors
/// What mkdir(2) or chmod(2) reports.
pub fn make_folder(folder: &Path) -> rustix::io::Result<()> {
    let mode = Mode::from_raw_mode(0o755);
    match rustix::fs::mkdir(folder, mode) {
        // The umask applies to mkdir(2).
        Ok(()) => rustix::fs::chmod(folder, mode),
        Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// Removes the folder of the socket `name`. Succeeds if it does not exist.
///
/// # Errors
/// What unlink(2) or rmdir(2) reports.
pub fn remove_folder(folder: &Path, name: &str) -> rustix::io::Result<()> {
    for path in [folder.join(name), folder.join(new(name))] {
        gone(rustix::fs::unlink(path))?;
    }
    gone(rustix::fs::rmdir(folder))
}

/// The name of a socket until it replaces an older one.
fn new(name: &str) -> String {
    format!("{name}.new")
}

fn gone(result: rustix::io::Result<()>) -> rustix::io::Result<()> {
    match result {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno),
    }
}

#[cfg(test)]
mod tests {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    use super::*;

    #[test]
    fn a_new_socket_replaces_the_old_one_and_nothing_that_was_sent_is_lost() {
        let place = tempfile::tempdir().unwrap();
        let bind = || Inbox::bind(place.path(), "socket", Descriptors::Refused).unwrap();
        let old = bind();
        let sender = UnixDatagram::unbound().unwrap();
        let path = place.path().join("socket");
        sender.connect(&path).unwrap();
        sender.send(b"one").unwrap();
        let new = bind();
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

    #[test]
    fn descriptors_that_the_kernel_had_no_room_for_are_lost() {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let sent = || {
            send(theirs.as_fd(), b"x", &[theirs.as_fd(), theirs.as_fd()]).unwrap();
            receive(ours.as_fd(), &mut [0; 8]).unwrap().unwrap()
        };
        let received = sent();
        assert_eq!((received.descriptors.len(), received.lost), (2, false));
        drop(received);
        let before = getrlimit(Resource::Nofile);
        let limit = Rlimit {
            current: Some(64),
            ..before
        };
        setrlimit(Resource::Nofile, limit).unwrap();
        let mut open = Vec::new();
        while let Ok(copy) = theirs.try_clone() {
            open.push(copy);
        }
        open.pop();
        let received = sent();
        setrlimit(Resource::Nofile, before).unwrap();
        assert_eq!((received.descriptors.len(), received.lost), (1, true));
    }
}
