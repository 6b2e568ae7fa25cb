//! A command that runs in the tenant, as the process sees it that waits for it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;

use nix::sys::signal::Signal;
use rustix::io::Errno;
use rustix::net::{SendFlags, Shutdown};

use super::group::{self, Group};
use super::started::Started;
use super::{Deputized, NOT_RUN};
use tenantd_api::wire::CommandEnd;
use tenantd_host::inbox;

/// The most bytes of the last message of a deputy.
const END_MAX: usize = 64 * 1024;

/// The command.
pub(super) enum Running {
    /// Of this process: its first process, and all of them.
    Own {
        child: Started,
        pidfd: OwnedFd,
        group: Group,
    },
    /// Of a deputy, at the other end of this socket.
    Deputy(OwnedFd),
}

impl Running {
    /// # Errors
    /// Those of pidfd_open(2) and fcntl(2). The command ends then.
    pub(super) fn own(mut child: Started, group: Option<Group>) -> io::Result<Self> {
        let pid = child.pid();
        let group = group.unwrap_or(Group::Session(pid));
        match child.pidfd() {
            Ok(pidfd) => Ok(Self::Own {
                child,
                pidfd,
                group,
            }),
            Err(error) => {
                child.kill()?;
                Err(error)
            }
        }
    }

    /// What becomes readable when the command has ended.
    pub(super) fn end_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Own { pidfd, .. } => pidfd.as_fd(),
            Self::Deputy(socket) => socket.as_fd(),
        }
    }

    /// The exit code of the command, once it has ended.
    ///
    /// # Errors
    /// Why it was not run, and those of waiting.
    pub(super) fn ended(&mut self) -> anyhow::Result<Option<i32>> {
        match self {
            Self::Own { child, .. } => {
                let status = child.try_wait()?;
                let code = |signal| 128 + signal;
                Ok(status.map(|status| {
                    let signal = status.signal().map(code);
                    signal.or(status.code()).unwrap_or_default()
                }))
            }
            Self::Deputy(socket) => {
                let mut bytes = vec![0; END_MAX];
                let received = match inbox::receive(socket.as_fd(), &mut bytes) {
                    // It ended without a look at all signals. Its last message comes after that error.
                    Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                        inbox::receive(socket.as_fd(), &mut bytes)?
                    }
                    received => received?,
                };
                let Some(received) = received else {
                    return Ok(None);
                };
                let end = bytes.get(..received.len).unwrap_or_default();
                let lost = || CommandEnd {
                    code: NOT_RUN,
                    error: Some(LOST.to_owned()),
                };
                let CommandEnd { code, error } =
                    serde_json::from_slice(end).unwrap_or_else(|_| lost());
                match error {
                    Some(text) => Err(Deputized { code, text }.into()),
                    None => Ok(Some(code.into())),
                }
            }
        }
    }

    /// Whether a process of it is left after it has ended.
    pub(super) fn is_left(&self) -> anyhow::Result<bool> {
        match self {
            Self::Own { group, .. } => Ok(group.is_occupied()?),
            Self::Deputy(_) => Ok(false),
        }
    }

    /// Tells all of it to go.
    pub(super) fn hang_up(&self) -> anyhow::Result<()> {
        match self {
            Self::Own { group, .. } => group.hang_up(),
            // The deputy does, and says when it is done.
            Self::Deputy(socket) => Ok(rustix::net::shutdown(socket, Shutdown::Write)?),
        }
    }

    /// Kills all of it.
    pub(super) fn kill(&self) -> anyhow::Result<()> {
        match self {
            Self::Own { group, .. } => group.kill(),
            Self::Deputy(_) => Ok(()),
        }
    }

    /// Removes what is left of it, once no process is.
    pub(super) fn remove(&self) -> anyhow::Result<()> {
        match self {
            Self::Own { group, .. } => Ok(group.remove()?),
            Self::Deputy(_) => Ok(()),
        }
    }

    /// Passes a signal to the process group of the command.
    ///
    /// # Errors
    /// Those of kill(2) and send(2).
    pub(super) fn pass(&self, signal: Signal) -> io::Result<()> {
        match self {
            Self::Own { child, .. } => group::pass(child.pid(), signal),
            Self::Deputy(socket) => {
                let number = u8::try_from(signal as i32).unwrap_or_default();
                match rustix::net::send(socket, &[number], SendFlags::NOSIGNAL) {
                    // It has ended.
                    Err(Errno::PIPE | Errno::CONNRESET) | Ok(_) => Ok(()),
                    Err(errno) => Err(errno.into()),
                }
            }
        }
    }
}

/// Why there is no end.
const LOST: &str = "the process that ran the command has ended: it was killed, or the right to run commands was taken \
     away: see `tenantd status`";
