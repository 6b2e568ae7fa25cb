//! Joins a running tenant and executes a command in it: `tenantd exec`.
//!
//! The calling process enters the tenant's cgroup, namespaces and working directory, takes its
//! resource limits and identity, and executes the command. It must have a single thread: setns(2) acts on one thread,
//! and a mount namespace cannot be entered while another thread shares the working directory.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::ffi::{CString, OsString};
use std::fs;
use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use nix::sched::CloneFlags;
use nix::unistd::{Gid, Uid};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, set_parent_process_death_signal};

use crate::launch::domain::{self, CommandDomain};
use crate::launch::{Rights, folder, join_keyring, reset_signals};
use crate::limits::{self, JoinLimit};
use crate::process;
use tenantd_core::plan::privileges::Privileges;

/// The tenant to join, as its supervisor describes it.
#[derive(Debug, Clone)]
pub struct Target {
    /// The process ID of the caller's parent, with which the command ends.
    pub parent: u32,
    /// The process ID of a process in the tenant's namespaces.
    pub pid: u32,
    /// The start time of that process in clock ticks since boot: field 22 of proc_pid_stat(5).
    pub start_ticks: u64,
    /// The path of the tenant's cgroup leaf, if it has one.
    pub cgroup: Option<String>,
    /// The user ID.
    pub uid: u32,
    /// The group ID.
    pub gid: u32,
    /// The supplementary group IDs.
    pub groups: Vec<u32>,
    /// The complete environment, except for `TERM`.
    pub environment: BTreeMap<String, String>,
    /// The working directory, as seen inside the tenant's mount namespace.
    pub working_directory: String,
    /// The resource limits.
    pub limits: Vec<JoinLimit>,
    /// What the command may do beyond what every user may.
    pub privileges: Privileges,
    /// The Landlock domain that the command gets.
    pub domain: CommandDomain,
    /// A descriptor of the caller that stays open until the command is executed, for its errors: the caller is a
    /// deputy.
    pub kept: Option<RawFd>,
}

/// Why the command could not be run in the tenant.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The process whose namespaces were to be joined has ended.
    #[error("process {pid} of the tenant has ended: see `tenantd status`, then try again")]
    Gone {
        /// The process ID.
        pid: u32,
    },
    /// A step of joining failed.
    #[error("cannot {step}{}", root_hint(.source))]
    Step {
        /// The step, as a verb.
        step: String,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The working directory is not in the tenant, or is closed to its user.
    #[error(
        "cannot enter the folder {folder}: the tenant's user may not pass it, or a symbolic link in it leads \
         out of the tenant through /proc"
    )]
    Closed {
        /// The folder.
        folder: String,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The command was not found in the tenant's PATH.
    #[error("{}: command not found in the tenant", .command.display())]
    NotFound {
        /// The command.
        command: OsString,
    },
    /// The command exists but cannot be executed.
    #[error("{}: cannot execute the command", .command.display())]
    NotExecutable {
        /// The command.
        command: OsString,
        /// The error of the operating system.
        source: io::Error,
    },
}

fn root_hint(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::PermissionDenied => " (joining a tenant needs root: try again with sudo)",
        _ => "",
    }
}

/// Joins the tenant and executes `command` in place of this process, a child of `target.parent`. Standard
/// input, output and error are kept. The caller has put nothing there that the tenant must not have.
///
/// # Errors
/// See [`JoinError`]. The process may have joined the tenant in part and must exit.
pub fn join(
    target: &Target,
    command: &OsString,
    arguments: &[OsString],
) -> Result<Infallible, JoinError> {
    step(
        "close the caller's descriptors",
        close_inherited(target.kept),
    )?;
    let process = open(target)?;
    // Before the namespaces, because the tenant may not see the cgroup tree.
    if let Some(cgroup) = &target.cgroup {
        let procs = Path::new(cgroup).join("cgroup.procs");
        step("enter its cgroup", fs::write(procs, "0"))?;
    }
    let both = CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS;
    match nix::sched::setns(&process, both) {
        Err(nix::Error::ESRCH) => return Err(JoinError::Gone { pid: target.pid }),
        entered => step("enter its namespaces", entered)?,
    }
    // As root: a limit may be above that of the caller.
    for limit in &target.limits {
        let what = &limit.resource;
        step(&format!("set the limit `{what}`"), limits::set(limit))?;
    }
    let confined = domain::confine_command(target.domain).map_err(io::Error::other);
    step("confine the command", confined)?;
    // An operator's nohup(1) holds for the command. What the supervisor ignores does not.
    if target.kept.is_some() {
        step("reset its signals", reset_signals())?;
    }
    become_user(target)?;
    // As the tenant's user, who may not pass each folder that root passes.
    enter_folder(&target.working_directory)?;
    end_with(target.parent)?;
    Err(execute(target, command, arguments))
}

fn enter_folder(path: &str) -> Result<(), JoinError> {
    let enter = format!("enter the folder {path}");
    let name = step(&enter, CString::new(path))?;
    match folder::enter(&name) {
        Err(source @ (Errno::LOOP | Errno::ACCESS)) => Err(JoinError::Closed {
            folder: path.to_owned(),
            source: source.into(),
        }),
        entered => step(&enter, entered),
    }
}

/// Ends the command if its parent is killed, which then cannot end it. A change of the user would undo
/// this.
fn end_with(parent: u32) -> Result<(), JoinError> {
    let end = "end with its parent";
    step(end, set_parent_process_death_signal(Some(Signal::HUP)))?;
    let now = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get());
    match now.is_some_and(|now| u32::try_from(now) == Ok(parent)) {
        true => Ok(()),
        false => step(end, Err(io::Error::from_raw_os_error(libc::ESRCH))),
    }
}

/// Closes all descriptors but standard input, output and error: one that the caller's shell left
/// open would give the tenant access to the host (runc CVE-2024-21626).
fn close_inherited(kept: Option<RawFd>) -> io::Result<()> {
    let mut numbers: Vec<RawFd> = Vec::new();
    for entry in fs::read_dir("/proc/self/fd")? {
        let number = entry?.file_name().to_str().and_then(|n| n.parse().ok());
        numbers.extend(number.filter(|&number: &RawFd| number > 2 && Some(number) != kept));
    }
    for number in numbers {
        match nix::unistd::close(number) {
            // The descriptor that read the folder is closed already.
            Ok(()) | Err(nix::Error::EBADF) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Opens a pidfd of the tenant's process, then compares the start time, so that a reused process ID
/// is noticed.
fn open(target: &Target) -> Result<OwnedFd, JoinError> {
    let gone = || JoinError::Gone { pid: target.pid };
    let pid = i32::try_from(target.pid).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(gone)?;
    let held = match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
        Err(rustix::io::Errno::SRCH) => return Err(gone()),
        opened => step("open its process", opened)?,
    };
    if process::start_ticks(pid.as_raw_nonzero().get()) != Some(target.start_ticks) {
        return Err(gone());
    }
    Ok(held)
}

fn become_user(target: &Target) -> Result<(), JoinError> {
    // Otherwise it has the keys of the operator.
    step("join a session keyring of its own", join_keyring())?;
    let rights = Rights::new(&target.privileges, target.uid);
    let rights = step("load its filter", rights.map_err(io::Error::other))?;
    step("drop capabilities", rights.drop_capabilities())?;
    let groups: Vec<Gid> = target.groups.iter().copied().map(Gid::from_raw).collect();
    step("set its groups", nix::unistd::setgroups(&groups))?;
    let (gid, uid) = (Gid::from_raw(target.gid), Uid::from_raw(target.uid));
    step("set its group", nix::unistd::setresgid(gid, gid, gid))?;
    step("restrict its system calls", rights.restrict_calls())?;
    let change = || {
        let changed = nix::unistd::setresuid(uid, uid, uid);
        changed.map_err(|errno| Errno::from_raw_os_error(errno as i32))
    };
    step("set its user", rights.changing_user(change))
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
    // Searches the tenant's PATH, not the caller's.
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
    fn a_reused_process_id_is_noticed() {
        let mut target = Target {
            parent: 1,
            pid: std::process::id(),
            start_ticks: 1,
            cgroup: None,
            uid: 0,
            gid: 0,
            groups: Vec::new(),
            environment: std::collections::BTreeMap::new(),
            working_directory: "/".into(),
            limits: Vec::new(),
            privileges: Privileges::default(),
            domain: CommandDomain::None,
            kept: None,
        };
        assert!(matches!(open(&target), Err(JoinError::Gone { .. })));
        let own = i32::try_from(std::process::id()).unwrap();
        target.start_ticks = process::start_ticks(own).unwrap();
        assert!(open(&target).is_ok());
        target.pid = u32::MAX;
        assert!(matches!(open(&target), Err(JoinError::Gone { .. })));
    }
}
