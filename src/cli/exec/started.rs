//! The process that becomes a command: started by this one, or by the keeper of the launch, whose commands reach
//! the program.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus};

use rustix::process::{Pid, PidfdFlags, pidfd_open};

use tenantd_core::name::TenantName;
use tenantd_host::keeper::{Kept, ORDER, Offer};
use tenantd_host::sealed::{ITSELF, SealedCopy};

/// A process that becomes a command.
pub(super) enum Started {
    /// A child of this process.
    Own(Child),
    /// A child of a keeper.
    Kept(Kept),
}

impl Started {
    pub(super) fn pid(&self) -> Pid {
        match self {
            Self::Own(child) => Pid::from_child(child),
            Self::Kept(kept) => kept.pid(),
        }
    }

    /// It, also if it has ended: the keeper may have reaped it by now.
    ///
    /// # Errors
    /// Those of pidfd_open(2) and fcntl(2).
    pub(super) fn pidfd(&self) -> io::Result<OwnedFd> {
        match self {
            Self::Own(child) => {
                let pid = Pid::from_child(child);
                Ok(pidfd_open(pid, PidfdFlags::empty())?)
            }
            Self::Kept(kept) => kept.pidfd(),
        }
    }

    /// How it ended, once it has.
    ///
    /// # Errors
    /// Those of waitid(2); or that the keeper is gone.
    pub(super) fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        match self {
            Self::Own(child) => child.try_wait(),
            Self::Kept(kept) => kept.try_wait(),
        }
    }

    /// Kills it. One of a keeper ends with the connection.
    ///
    /// # Errors
    /// Those of kill(2).
    pub(super) fn kill(&mut self) -> io::Result<()> {
        match self {
            Self::Own(child) => child.kill().and_then(|()| child.wait().map(drop)),
            Self::Kept(_) => Ok(()),
        }
    }
}

/// Asks the keeper of a launch, if it has one. Without an answer, the command is confined more: it does not reach
/// the program, which is said.
pub(super) fn offer(tenant: &TenantName, keeper: Option<String>) -> Option<Offer> {
    let socket = keeper?;
    match Offer::of(Path::new(&socket)) {
        Ok(offer) => Some(offer),
        Err(error) => {
            anstream::eprintln!(
                "tenantd: {tenant}: the command does not reach the program, because the process that \
                 starts such commands does not answer ({error}): `tenantd restart {tenant}` starts another"
            );
            None
        }
    }
}

/// Starts this program again, as the process that enters the tenant and becomes the command of an order.
pub(super) fn start(
    order: &File,
    streams: [OwnedFd; 3],
    copy: Option<&SealedCopy>,
    offer: Option<Offer>,
    term: Option<OsString>,
) -> io::Result<Started> {
    if let Some(offer) = offer {
        let itself = File::open(ITSELF)?;
        let program = copy.map_or(itself.as_fd(), AsFd::as_fd);
        let term = term.unwrap_or_default();
        let kept = offer.start(program, order.as_fd(), &streams, term.as_encoded_bytes())?;
        return Ok(Started::Kept(kept));
    }
    let itself = copy.map_or(ITSELF.into(), SealedCopy::path);
    let [stdin, stdout, stderr] = streams;
    let mut child = Command::new(itself);
    child.arg0("tenantd");
    // The tenant is hostile, and the operator's environment is none of its business.
    let child = child
        .env_clear()
        .env(ORDER, std::os::fd::AsRawFd::as_raw_fd(order).to_string())
        .envs(term.map(|term| ("TERM", term)))
        .stdin(stdin)
        .stdout(stdout)
        .stderr(stderr)
        .spawn()?;
    Ok(Started::Own(child))
}
