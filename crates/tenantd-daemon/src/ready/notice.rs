//! What programs say about themselves: the socket behind a tenant's `NOTIFY_SOCKET`, see
//! sd_notify(3).
//!
//! One socket serves all tenants. Who spoke is known from the kernel, never from the message: the
//! sender's process (`SO_PASSCRED`, unix(7)), and that process's network namespace. A program that
//! speaks and is gone before its message is read is not heard; systemd-notify(1) and
//! sd_notify_barrier(3) wait until it has been. A program that runs as root with CAP_SYS_ADMIN may
//! speak in another process's name (unix(7)), which systemd-notify(1) does for its parent: to be
//! ready is a word between a tenant and its operator, and no wall stands on it.

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
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

/// What a program said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// The process that said it.
    pub pid: u32,
    /// The inode of its network namespace, by which its tenant is known.
    pub netns_inode: u64,
    /// Whether it said that it is ready.
    pub ready: bool,
    /// How it says it is, fit to be shown.
    pub status: Option<String>,
}

/// The socket that programs speak to.
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

/// Where the programs of an application find the socket: the value of `NOTIFY_SOCKET`.
#[must_use]
pub fn path(app: &AppName) -> PathBuf {
    tenantd_core::layout::notify_socket(app)
}

impl Notify {
    /// Binds the socket of `app`, in its runtime folder, which must be there. What an earlier
    /// supervisor left is replaced.
    ///
    /// # Errors
    /// What unlink(2), bind(2), chmod(2) or setsockopt(2) reports.
    pub fn bind(app: &AppName) -> io::Result<Self> {
        Self::bind_at(&path(app))
    }

    fn bind_at(path: &Path) -> io::Result<Self> {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let socket = UnixDatagram::bind(path)?;
        sockopt::set_socket_passcred(&socket, true)?;
        // Tenants have any user.
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666))?;
        Ok(Self {
            socket,
            path: path.to_owned(),
            buffer: vec![0; MESSAGE_MAX].into_boxed_slice(),
        })
    }

    /// The next thing said by somebody who is still there. Nothing is lost when it is cancelled.
    ///
    /// # Errors
    /// What recvmsg(2) reports.
    pub async fn next(&mut self) -> io::Result<Notice> {
        loop {
            let (socket, buffer) = (&self.socket, &mut self.buffer);
            let receive = || receive(socket, buffer);
            let Some((pid, len)) = socket.async_io(Interest::READABLE, receive).await? else {
                tracing::debug!("a notice that was too long or had no sender is ignored");
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
                    tracing::debug!(pid, %error, "a notice whose sender is gone is ignored");
                }
            }
        }
    }
}

/// Receives one message: its sender and its length, or None where it cannot be used.
fn receive(socket: &UnixDatagram, buffer: &mut [u8]) -> io::Result<Option<(u32, usize)>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmCredentials(1), ScmRights(4))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let message = recvmsg(socket, &mut [IoSliceMut::new(buffer)], &mut control, flags)?;
    let mut sender = None;
    // Descriptors that came along are closed as they are dropped here, and what did not fit has
    // been closed by the kernel; sd_notify_barrier(3) waits for just that.
    for piece in control.drain() {
        if let RecvAncillaryMessage::ScmCredentials(credentials) = piece {
            sender = u32::try_from(credentials.pid.as_raw_nonzero().get()).ok();
        }
    }
    let is_whole = !message.flags.contains(ReturnFlags::TRUNC);
    Ok(sender.filter(|_| is_whole).map(|pid| (pid, message.bytes)))
}

/// What of a message concerns us: whether it says ready, and a status. The other assignments of
/// sd_notify(3) are known and mean nothing here.
fn parse(message: &[u8]) -> Option<(bool, Option<String>)> {
    let text = std::str::from_utf8(message).ok()?;
    let mut ready = false;
    let mut status = None;
    for line in text.lines() {
        match line.split_once('=') {
            Some(("READY", "1")) => ready = true,
            Some(("STATUS", said)) => {
                let said: String = said.chars().take(STATUS_MAX).collect();
                status = Some(shown(&said).into_owned());
            }
            _ => {}
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
    fn only_ready_and_status_concern_us() {
        assert_eq!(parse(b"READY=1\n"), Some((true, None)));
        assert_eq!(
            parse(b"MAINPID=4\nSTATUS=up \x1b[1m\nREADY=1"),
            Some((true, Some("up \\x1b[1m".to_owned())))
        );
        for nothing in [
            b"STOPPING=1".as_slice(),
            b"READY=0",
            b"",
            b"\xff\nREADY=1",
            b"READY",
        ] {
            assert_eq!(parse(nothing), None);
        }
        let long = format!("STATUS={}", "x".repeat(1_000));
        let (_, status) = parse(long.as_bytes()).unwrap();
        assert_eq!(status.unwrap().len(), STATUS_MAX);
    }

    #[test]
    fn what_is_too_long_or_brings_descriptors_does_no_harm() {
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
            // The end of file is the proof that all copies of the other end are closed.
            assert_eq!(reader.read(&mut [0; 1]).unwrap(), 0);
            // A second supervisor takes the name over.
            drop(Notify::bind_at(&path).unwrap());
        });
    }
}
