//! Joins a tenant: its namespaces, its cgroup and its user, and becomes a command there.
//!
//! All of it happens in the calling process, which must have one thread: setns(2) acts on a
//! thread, and a mount namespace cannot be entered while the working directory is shared.

use std::convert::Infallible;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use nix::sched::CloneFlags;
use nix::unistd::{Gid, Uid};
use rustix::process::{Pid, PidfdFlags};
use rustix::thread::CapabilitySet;

use crate::host::launch::{Capability, DROPPED};
use crate::host::process;
use crate::wire::Door;

/// Why the command does not run in the tenant.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The process that stood for the tenant has ended.
    #[error("its process {pid} has ended meanwhile: see `tenantd status`, then try again")]
    Gone {
        /// Which.
        pid: u32,
    },
    /// A step on the way in failed.
    #[error("cannot {step}{}", root_hint(.source))]
    Step {
        /// Which.
        step: String,
        /// Why.
        source: io::Error,
    },
    /// There is no such command in the tenant.
    #[error("{}: there is no such command in the tenant", .command.display())]
    NotFound {
        /// Which.
        command: OsString,
    },
    /// The command is there and cannot be executed.
    #[error("{}: cannot execute it", .command.display())]
    NotExecutable {
        /// Which.
        command: OsString,
        /// Why.
        source: io::Error,
    },
}

fn root_hint(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::PermissionDenied => " (joining a tenant needs root: try again with sudo)",
        _ => "",
    }
}

/// Becomes `command` with these arguments in the tenant behind `door`. Standard input, output and
/// error stay as they are: with a terminal there, the command has one.
///
/// # Errors
/// See [`JoinError`]. The process has then joined the tenant in part and must end.
pub fn join(
    door: &Door,
    command: &OsString,
    arguments: &[OsString],
) -> Result<Infallible, JoinError> {
    step("close the caller's descriptors", close_inherited())?;
    let process = open(door)?;
    // Before the namespaces: the tenant may not see the cgroup tree.
    if let Some(cgroup) = &door.cgroup {
        let procs = Path::new(cgroup).join("cgroup.procs");
        step("enter its cgroup", fs::write(procs, "0"))?;
    }
    let both = CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS;
    match nix::sched::setns(&process, both) {
        Err(nix::Error::ESRCH) => return Err(JoinError::Gone { pid: door.pid }),
        entered => step("enter its namespaces", entered)?,
    }
    let folder = &door.working_directory;
    step(
        &format!("enter the folder {folder}"),
        std::env::set_current_dir(folder),
    )?;
    become_user(door)?;
    Err(execute(door, command, arguments))
}

/// Closes all descriptors but standard input, output and error: what the caller's shell left open
/// would show the tenant the host (runc CVE-2024-21626).
fn close_inherited() -> io::Result<()> {
    let mut numbers: Vec<RawFd> = Vec::new();
    for entry in fs::read_dir("/proc/self/fd")? {
        let number = entry?.file_name().to_str().and_then(|n| n.parse().ok());
        numbers.extend(number.filter(|&number: &RawFd| number > 2));
    }
    for number in numbers {
        match nix::unistd::close(number) {
            // The one that the folder was read by.
            Ok(()) | Err(nix::Error::EBADF) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Holds the tenant's process by a descriptor, and makes sure that it is the one the door was
/// made for: opened first and looked at second, so that a number used again is noticed.
fn open(door: &Door) -> Result<OwnedFd, JoinError> {
    let gone = || JoinError::Gone { pid: door.pid };
    let pid = i32::try_from(door.pid).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(gone)?;
    let held = match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
        Err(rustix::io::Errno::SRCH) => return Err(gone()),
        opened => step("hold its process", opened)?,
    };
    if process::start_ticks(pid.as_raw_nonzero().get()) != Some(door.start_ticks) {
        return Err(gone());
    }
    Ok(held)
}

fn become_user(door: &Door) -> Result<(), JoinError> {
    for &Capability { number, name } in DROPPED {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            // The kernel is older than this capability: nobody has it.
            Err(rustix::io::Errno::INVAL) => {}
            dropped => step(&format!("drop the capability {name}"), dropped)?,
        }
    }
    let groups: Vec<Gid> = door.groups.iter().copied().map(Gid::from_raw).collect();
    step("set its groups", nix::unistd::setgroups(&groups))?;
    let (gid, uid) = (Gid::from_raw(door.gid), Uid::from_raw(door.uid));
    step("set its group", nix::unistd::setresgid(gid, gid, gid))?;
    step("set its user", nix::unistd::setresuid(uid, uid, uid))?;
    step(
        "forbid new privileges",
        rustix::thread::set_no_new_privs(true),
    )
}

fn execute(door: &Door, command: &OsString, arguments: &[OsString]) -> JoinError {
    let mut prepared = Command::new(command);
    prepared.args(arguments).env_clear().envs(&door.environment);
    if let Some(term) = std::env::var_os("TERM") {
        prepared.env("TERM", term);
    }
    // Looks in the tenant's PATH, not in the caller's.
    let source = prepared.exec();
    let command = command.clone();
    match source.kind() {
        io::ErrorKind::NotFound => JoinError::NotFound { command },
        _ => JoinError::NotExecutable { command, source },
    }
}

fn step<T, E: Into<io::Error>>(step: &str, result: Result<T, E>) -> Result<T, JoinError> {
    result.map_err(|source| JoinError::Step {
        step: step.to_owned(),
        source: source.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_used_again_is_noticed() {
        let mut door = Door {
            pid: std::process::id(),
            start_ticks: 1,
            cgroup: None,
            uid: 0,
            gid: 0,
            groups: Vec::new(),
            environment: std::collections::BTreeMap::new(),
            working_directory: "/".into(),
        };
        assert!(matches!(open(&door), Err(JoinError::Gone { .. })));
        let own = i32::try_from(std::process::id()).unwrap();
        door.start_ticks = process::start_ticks(own).unwrap();
        assert!(open(&door).is_ok());
        door.pid = u32::MAX;
        assert!(matches!(open(&door), Err(JoinError::Gone { .. })));
    }
}
