//! Joins a tenant: its namespaces, its cgroup and its user, and becomes a command there.
//!
//! All of it happens in the calling process, which must have one thread: setns(2) acts on a
//! thread, and a mount namespace cannot be entered while the working directory is shared.

use std::collections::BTreeMap;
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

use crate::launch::{Capability, DROPPED};
use crate::process;

/// The tenant to join, as its supervisor describes it.
#[derive(Debug, Clone)]
pub struct Target {
    /// A process that is in the tenant's namespaces.
    pub pid: u32,
    /// When that process started, in clock ticks since boot: field 22 of proc_pid_stat(5).
    pub start_ticks: u64,
    /// The folder of the tenant's cgroup, if it has one.
    pub cgroup: Option<String>,
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// The supplementary groups.
    pub groups: Vec<u32>,
    /// The whole environment.
    pub environment: BTreeMap<String, String>,
    /// The folder to start in, as seen inside the tenant's mount namespace.
    pub working_directory: String,
}

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

/// Becomes `command` with these arguments in the tenant behind `target`. Standard input, output and
/// error stay as they are: with a terminal there, the command has one.
///
/// # Errors
/// See [`JoinError`]. The process has then joined the tenant in part and must end.
pub fn join(
    target: &Target,
    command: &OsString,
    arguments: &[OsString],
) -> Result<Infallible, JoinError> {
    step("close the caller's descriptors", close_inherited())?;
    let process = open(target)?;
    // Before the namespaces: the tenant may not see the cgroup tree.
    if let Some(cgroup) = &target.cgroup {
        let procs = Path::new(cgroup).join("cgroup.procs");
        step("enter its cgroup", fs::write(procs, "0"))?;
    }
    let both = CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS;
    match nix::sched::setns(&process, both) {
        Err(nix::Error::ESRCH) => return Err(JoinError::Gone { pid: target.pid }),
        entered => step("enter its namespaces", entered)?,
    }
    let folder = &target.working_directory;
    step(
        &format!("enter the folder {folder}"),
        std::env::set_current_dir(folder),
    )?;
    become_user(target)?;
    Err(execute(target, command, arguments))
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

/// Holds the tenant's process by a descriptor, and makes sure that it is the one the target was
/// made for: opened first and looked at second, so that a number used again is noticed.
fn open(target: &Target) -> Result<OwnedFd, JoinError> {
    let gone = || JoinError::Gone { pid: target.pid };
    let pid = i32::try_from(target.pid).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(gone)?;
    let held = match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
        Err(rustix::io::Errno::SRCH) => return Err(gone()),
        opened => step("hold its process", opened)?,
    };
    if process::start_ticks(pid.as_raw_nonzero().get()) != Some(target.start_ticks) {
        return Err(gone());
    }
    Ok(held)
}

fn become_user(target: &Target) -> Result<(), JoinError> {
    for &Capability { number, name } in DROPPED {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            // The kernel is older than this capability: nobody has it.
            Err(rustix::io::Errno::INVAL) => {}
            dropped => step(&format!("drop the capability {name}"), dropped)?,
        }
    }
    let groups: Vec<Gid> = target.groups.iter().copied().map(Gid::from_raw).collect();
    step("set its groups", nix::unistd::setgroups(&groups))?;
    let (gid, uid) = (Gid::from_raw(target.gid), Uid::from_raw(target.uid));
    step("set its group", nix::unistd::setresgid(gid, gid, gid))?;
    step("set its user", nix::unistd::setresuid(uid, uid, uid))?;
    step(
        "forbid new privileges",
        rustix::thread::set_no_new_privs(true),
    )
}

fn execute(target: &Target, command: &OsString, arguments: &[OsString]) -> JoinError {
    let mut prepared = Command::new(command);
    prepared
        .args(arguments)
        .env_clear()
        .envs(&target.environment);
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
        let mut target = Target {
            pid: std::process::id(),
            start_ticks: 1,
            cgroup: None,
            uid: 0,
            gid: 0,
            groups: Vec::new(),
            environment: std::collections::BTreeMap::new(),
            working_directory: "/".into(),
        };
        assert!(matches!(open(&target), Err(JoinError::Gone { .. })));
        let own = i32::try_from(std::process::id()).unwrap();
        target.start_ticks = process::start_ticks(own).unwrap();
        assert!(open(&target).is_ok());
        target.pid = u32::MAX;
        assert!(matches!(open(&target), Err(JoinError::Gone { .. })));
    }
}
