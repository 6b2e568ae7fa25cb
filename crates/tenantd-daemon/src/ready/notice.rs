//! Notices of programs about themselves: the socket at a tenant's `NOTIFY_SOCKET`, see
//! sd_notify(3).
//!
//! One socket serves all tenants. The kernel identifies the sender, never the message: it reports
//! the sender's process (`SO_PASSCRED`, unix(7)), and the process is in a network namespace. If a
//! process ends before its message is read, the message is ignored; systemd-notify(1) and
//! sd_notify_barrier(3) wait until it has been read. A program with CAP_SYS_ADMIN may send in the
//! name of another process (unix(7)), as systemd-notify(1) does for its parent. That is acceptable:
//! readiness informs the operator, and the isolation of tenants does not depend on it.

use std::fs::DirBuilder;
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, recvmsg, sockopt,
};
use tokio::io::Interest;
use tokio::net::UnixDatagram;

use crate::logs::split::shown;
use tenantd_core::name::AppName;

/// The longest message in bytes, that of systemd's own socket (`NOTIFY_BUFFER_MAX`).
const MESSAGE_MAX: usize = 4096;

/// The longest status kept, in characters: a line of a table.
const STATUS_MAX: usize = 200;

/// A notice of a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// The process that sent it.
    pub pid: u32,
    /// The inode of its network namespace, which identifies its tenant.
    pub netns_inode: u64,
    /// Whether it contains `READY=1`.
    pub ready: bool,
    /// The status text, with unsafe characters escaped.
    pub status: Option<String>,
}

/// The socket that programs send notices to.
#[derive(Debug)]
pub struct Notify {
    socket: UnixDatagram,
    path: PathBuf,
    buffer: Box<[u8]>,
}

impl Drop for Notify {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove the notify socket");
        }
    }
}

/// The path of the socket of an application: the value of `NOTIFY_SOCKET`.
#[must_use]
pub fn path(app: &AppName) -> PathBuf {
    tenantd_core::layout::notify_socket(app)
}

/// Makes another link to the socket in `folder`, for tenants that do not see the runtime folder. It
/// replaces that of an earlier supervisor.
fn show(socket: &Path, folder: &Path) -> io::Result<()> {
    for made in [folder.parent().unwrap_or(folder), folder] {
        match DirBuilder::new().mode(0o711).create(made) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        // The umask may have removed bits that tenants need.
        std::fs::set_permissions(made, std::fs::Permissions::from_mode(0o711))?;
    }
    let new = folder.join("new");
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    std::fs::hard_link(socket, &new)?;
    std::fs::rename(&new, folder.join(socket.file_name().unwrap_or_default()))
}

impl Notify {
    /// Binds the socket of `app`, in its runtime folder, which must exist. Replaces the socket of
    /// an earlier supervisor.
    ///
    /// # Errors
    /// What unlink(2), bind(2), chmod(2) or setsockopt(2) reports.
    pub fn bind(app: &AppName) -> io::Result<Self> {
        let path = path(app);
        let bound = Self::bind_at(&path)?;
        show(&path, &tenantd_core::layout::sockets(app.as_str()))?;
        Ok(bound)
    }

    fn bind_at(path: &Path) -> io::Result<Self> {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let socket = UnixDatagram::bind(path)?;
        sockopt::set_socket_passcred(&socket, true)?;
        // Tenants may run as any user.
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666))?;
        Ok(Self {
            socket,
            path: path.to_owned(),
            buffer: vec![0; MESSAGE_MAX].into_boxed_slice(),
        })
    }

    /// The next notice whose sender still exists. Cancelling this loses nothing.
    ///
    /// # Errors
    /// What recvmsg(2) reports.
    pub async fn next(&mut self) -> io::Result<Notice> {
        loop {
            let (socket, buffer) = (&self.socket, &mut self.buffer);
            let receive = || receive(socket, buffer);
            let Some((pid, len)) = socket.async_io(Interest::READABLE, receive).await? else {
                tracing::debug!("ignoring a notice that is too long or has no sender");
                continue;
            };
            let Some((ready, status)) = parse(&self.buffer[..len]) else {
                continue;
            };
            match std::fs::metadata(format!("/proc/{pid}/ns/net")) {
                Ok(netns) => {
                    return Ok(Notice {
                        pid,
                        netns_inode: netns.ino(),
                        ready,
                        status,
                    });
                }
                Err(error) => {
                    tracing::debug!(pid, %error, "ignoring a notice whose sender has exited");
                }
            }
        }
    }
}

/// Receives one message. Returns its sender and its length, or None if it cannot be used.
fn receive(socket: &UnixDatagram, buffer: &mut [u8]) -> io::Result<Option<(u32, usize)>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmCredentials(1), ScmRights(4))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let message = recvmsg(socket, &mut [IoSliceMut::new(buffer)], &mut control, flags)?;
    let mut sender = None;
    // Received descriptors are closed here, and the kernel has closed those that did not fit.
    // sd_notify_barrier(3) waits for that.
    for piece in control.drain() {
        if let RecvAncillaryMessage::ScmCredentials(credentials) = piece {
            sender = u32::try_from(credentials.pid.as_raw_nonzero().get()).ok();
        }
    }
    let is_whole = !message.flags.contains(ReturnFlags::TRUNC);
    Ok(sender.filter(|_| is_whole).map(|pid| (pid, message.bytes)))
}

/// Reads a message: whether it contains `READY=1`, and its status. Other assignments of
/// sd_notify(3) are ignored. As systemd does, it permits one NUL byte at the end and no other. A
/// status that is not UTF-8 does not spoil the rest: its invalid bytes are replaced.
fn parse(message: &[u8]) -> Option<(bool, Option<String>)> {
    let text = message.strip_suffix(b"\0").unwrap_or(message);
    if text.contains(&0) {
        return None;
    }
    let mut ready = false;
    let mut status = None;
    for line in text.split(|byte| *byte == b'\n') {
        if line == b"READY=1" {
            ready = true;
        } else if let Some(said) = line.strip_prefix(b"STATUS=") {
            let said = String::from_utf8_lossy(said);
            let said: String = said.chars().take(STATUS_MAX).collect();
            status = Some(shown(&said).into_owned());
        }
    }
    (ready || status.is_some()).then_some((ready, status))
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixDatagram as Plain;

    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

    use super::*;

    #[test]
    fn only_ready_and_status_are_read() {
        assert_eq!(parse(b"READY=1\n"), Some((true, None)));
        assert_eq!(
            parse(b"MAINPID=4\nSTATUS=up \x1b[1m\nREADY=1"),
            Some((true, Some("up \\x1b[1m".to_owned())))
        );
        assert_eq!(parse(b"READY=1\0"), Some((true, None)));
        assert_eq!(
            parse(b"STATUS=pr\xeat\nREADY=1"),
            Some((true, Some("pr\u{fffd}t".to_owned())))
        );
        for nothing in [
            b"STOPPING=1".as_slice(),
            b"READY=0",
            b"",
            b"READY=1\0\nSTATUS=up",
            b"READY=10",
            b"READY",
        ] {
            assert_eq!(parse(nothing), None);
        }
        let long = format!("STATUS={}", "x".repeat(1_000));
        let (_, status) = parse(long.as_bytes()).unwrap();
        assert_eq!(status.unwrap().len(), STATUS_MAX);
    }

    #[test]
    fn long_messages_and_descriptors_are_harmless() {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_io().build().unwrap().block_on(async {
            let place = tempfile::tempdir().unwrap();
            let path = place.path().join("notify");
            let mut notify = Notify::bind_at(&path).unwrap();
            let sender = Plain::unbound().unwrap();
            sender.connect(&path).unwrap();
            sender
                .send(&[b"READY=1\n".as_slice(), &[b'x'; 8192]].concat())
                .unwrap();
            let (mut reader, writer) = std::io::pipe().unwrap();
            let fds = [writer.as_fd(); 7];
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(7))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            assert!(control.push(SendAncillaryMessage::ScmRights(&fds)));
            let barrier = [io::IoSlice::new(b"BARRIER=1")];
            sendmsg(&sender, &barrier, &mut control, SendFlags::empty()).unwrap();
            drop(writer);
            sender.send(b"STATUS=last").unwrap();
            let notice = notify.next().await.unwrap();
            assert_eq!(notice.pid, std::process::id());
            assert_eq!(
                (notice.ready, notice.status.as_deref()),
                (false, Some("last"))
            );
            // The end of file proves that all copies of the other end are closed.
            assert_eq!(reader.read(&mut [0; 1]).unwrap(), 0);
            // A second supervisor takes the name over.
            drop(Notify::bind_at(&path).unwrap());
        });
    }
}
