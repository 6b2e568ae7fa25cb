//! All processes of one command of `exec`.

use std::io;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};

use tenantd_core::stage::Failure;
use tenantd_host::cgroup::Leaf;

/// The processes of a command.
pub(super) enum Group {
    /// Those in a cgroup of its own.
    Cgroup(Leaf),
    /// Without cgroups: those that did not leave the process group of this leader.
    Session(Pid),
}

impl Group {
    /// Whether any process is left.
    pub(super) fn is_occupied(&self) -> Result<bool, Failure> {
        match self {
            Self::Cgroup(leaf) => leaf.is_occupied(),
            Self::Session(leader) => Ok(test_kill_process_group(*leader).is_ok()),
        }
    }

    /// Tells all of them to go.
    pub(super) fn hang_up(&self) -> anyhow::Result<()> {
        match self {
            Self::Cgroup(leaf) => {
                leaf.signal(libc::SIGHUP)?;
                // One that is stopped gets its signal only once it continues.
                leaf.signal(libc::SIGCONT)?;
            }
            Self::Session(leader) => {
                to_group(*leader, Signal::HUP)?;
                to_group(*leader, Signal::CONT)?;
            }
        }
        Ok(())
    }

    /// Kills all of them.
    pub(super) fn kill(&self) -> anyhow::Result<()> {
        match self {
            Self::Cgroup(leaf) => leaf.kill_all()?,
            Self::Session(leader) => to_group(*leader, Signal::KILL)?,
        }
        Ok(())
    }

    /// Removes what is left of it: nothing, once no process is in it.
    pub(super) fn remove(&self) -> Result<(), Failure> {
        match self {
            Self::Cgroup(leaf) => leaf.remove(),
            Self::Session(_) => Ok(()),
        }
    }
}

fn to_group(leader: Pid, signal: Signal) -> io::Result<()> {
    match kill_process_group(leader, signal) {
        Ok(()) | Err(Errno::SRCH) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Passes a signal to the process group of a command.
///
/// # Errors
/// Those of kill(2).
pub(super) fn pass(leader: Pid, signal: nix::sys::signal::Signal) -> io::Result<()> {
    let number = Signal::from_named_raw(signal as i32).ok_or(io::ErrorKind::InvalidInput)?;
    to_group(leader, number)
}
