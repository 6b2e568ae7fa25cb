//! The leaf of one tenant: list, signal and kill the processes of its program. For its other part see
//! [`visitors`](super::visitors).

use std::collections::HashSet;
use std::io::Error;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{XattrFlags, getxattr, removexattr, setxattr};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::failure;
use super::folders::{folders, is_gone, is_populated, of_program, pids_in, remove_folder};
use super::program::PROGRAM;
use crate::one_record;
use crate::process::{self, NAMED};
use tenantd_core::name::TenantName;
use tenantd_core::stage::{Failure, Stage};

/// The maximum number of rounds in which processes are killed one by one, on kernels without
/// `cgroup.kill` (before 5.14). Each round kills all processes that existed when it began.
const ROUNDS: u32 = 1000;

/// How many processes are held open at a time while a signal is sent to all of them.
const AT_ONCE: usize = 128;

/// The extended attribute of a leaf's folder that holds its note. cgroups have such attributes
/// since Linux 5.7, and systemd uses them in the same way.
const NOTE: &str = "user.tenantd.limits";

/// The maximum size of a note in bytes.
const NOTE_MAX: usize = 512;

/// The part of the leaf with the commands of `exec`.
pub(super) const VISITORS: &str = "visitors";

/// The cgroup that holds all processes of one tenant. Dropping this value does not remove the
/// cgroup.
///
/// It has two parts: `program` with the processes of the launch, and `visitors`, which exists once
/// a command was run in the tenant. What is in neither part counts as the program: a launch that an
/// earlier version made, or a process of the tenant that has moved itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    path: PathBuf,
    tenant: TenantName,
}

impl Leaf {
    pub(crate) fn new(path: PathBuf, tenant: TenantName) -> Self {
        Self { path, tenant }
    }

    /// The path of the cgroup.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The tenant that the leaf belongs to.
    #[must_use]
    pub fn tenant(&self) -> &TenantName {
        &self.tenant
    }

    /// Reads the note about the processes in the leaf, an extended attribute of its folder. Empty
    /// if there is none.
    ///
    /// # Errors
    /// A [`Failure`] of stage cgroup.
    pub fn note(&self) -> Result<String, Failure> {
        let mut bytes = [0; NOTE_MAX];
        match getxattr(&self.path, NOTE, &mut bytes) {
            Ok(length) => {
                let noted = bytes.get(..length).unwrap_or_default();
                Ok(String::from_utf8_lossy(noted).into_owned())
            }
            Err(Errno::NODATA | Errno::NOENT) => Ok(String::new()),
            Err(errno) => Err(failure(&self.path, &errno.into())),
        }
    }

    /// Replaces the note. An empty text removes it.
    ///
    /// # Errors
    /// A [`Failure`] of stage cgroup.
    pub fn keep_note(&self, text: &str) -> Result<(), Failure> {
        let kept = match text {
            "" => removexattr(&self.path, NOTE),
            text => setxattr(&self.path, NOTE, text.as_bytes(), XattrFlags::empty()),
        };
        match kept {
            Ok(()) | Err(Errno::NODATA) => Ok(()),
            Err(errno) => Err(failure(&self.path, &errno.into())),
        }
    }

    /// Whether a process of the program is alive. False if the leaf does not exist.
    ///
    /// # Errors
    /// A [`Failure`] of stage cgroup.
    pub fn is_populated(&self) -> Result<bool, Failure> {
        // In this order, since it costs nothing more while the program runs.
        if is_populated(&self.program())? {
            return Ok(true);
        }
        Ok(self.is_occupied()? && !self.pids()?.is_empty())
    }

    /// Whether any process is in the leaf, of the program or a visitor. False if it does not exist.
    ///
    /// # Errors
    /// A [`Failure`] of stage cgroup.
    pub fn is_occupied(&self) -> Result<bool, Failure> {
        is_populated(&self.path)
    }

    /// Whether its processes are frozen, see cgroups(7). A leaf that cannot be read is not.
    #[must_use]
    pub fn is_frozen(&self) -> bool {
        let events = one_record::read(self.path.join("cgroup.events"));
        events.is_ok_and(|events| events.lines().any(|line| line == "frozen 1"))
    }

    /// Whether the program is paused: its cgroup or a part of it is frozen, or a process of it is
    /// stopped, as by SIGSTOP.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        let frozen = |folder: &PathBuf| {
            let events = one_record::read(folder.join("cgroup.events"));
            events.is_ok_and(|events| events.lines().any(|line| line == "frozen 1"))
        };
        let visitors = [self.visitors_path()];
        let any = folders(&self.path, &visitors).is_ok_and(|all| all.iter().any(frozen));
        any || self
            .pids()
            .is_ok_and(|pids| pids.into_iter().any(process::is_stopped))
    }

    /// The processes of the program. Empty if the leaf does not exist.
    ///
    /// # Errors
    /// A [`Failure`] of stage cgroup.
    pub fn pids(&self) -> Result<Vec<i32>, Failure> {
        pids_in(of_program(&self.path, PROGRAM, VISITORS)?)
    }

    /// The processes of the program without those that have moved to another part of the leaf, or that an earlier version
    /// launched. Makes fewer system calls than [`pids`](Self::pids): for what is shown, not for a proof that a program has ended. Empty
    /// if the leaf does not exist.
    ///
    /// # Errors
    /// A [`Failure`] of stage cgroup.
    pub fn unmoved_pids(&self) -> Result<Vec<i32>, Failure> {
        pids_in(vec![self.program()])
    }

    /// All processes in the leaf, those of the program and visitors.
    ///
    /// # Errors
    /// A [`Failure`] of stage cgroup.
    pub fn all_pids(&self) -> Result<Vec<i32>, Failure> {
        pids_in(folders(&self.path, &[])?)
    }

    /// Kills every process of the program, including processes that are being forked. Visitors are
    /// killed too if a process of the program is in no part of the leaf.
    ///
    /// # Errors
    /// A [`Failure`] of stage end.
    pub fn kill(&self) -> Result<(), Failure> {
        self.kill_in(&self.program(), Self::signal)?;
        let parts = [self.program(), self.visitors_path()];
        match pids_in(folders(&self.path, &parts)?)?.is_empty() {
            true => Ok(()),
            false => self.kill_all(),
        }
    }

    /// Kills every process in the leaf, also visitors.
    ///
    /// # Errors
    /// A [`Failure`] of stage end.
    pub fn kill_all(&self) -> Result<(), Failure> {
        self.kill_in(&self.path, |leaf, signal| {
            leaf.signal_those(|| leaf.all_pids(), signal, |_| true)
        })
    }

    /// Writes `cgroup.kill` of a part of the leaf; without that file, signals the processes in it one
    /// by one.
    pub(super) fn kill_in(
        &self,
        part: &Path,
        one_by_one: impl Fn(&Self, i32) -> Result<usize, Failure>,
    ) -> Result<(), Failure> {
        match std::fs::OpenOptions::new()
            .write(true)
            .open(part.join("cgroup.kill"))
        {
            Ok(mut file) => std::io::Write::write_all(&mut file, b"1")
                .or_else(|error| if is_gone(&error) { Ok(()) } else { Err(error) })
                .map_err(|error| self.end_failure(&error)),
            Err(error) if is_gone(&error) && !part.exists() => Ok(()),
            Err(error) if is_gone(&error) => self.kill_one_by_one(one_by_one),
            Err(error) => Err(self.end_failure(&error)),
        }
    }

    fn kill_one_by_one(
        &self,
        one_by_one: impl Fn(&Self, i32) -> Result<usize, Failure>,
    ) -> Result<(), Failure> {
        for _ in 0..ROUNDS {
            if one_by_one(self, libc::SIGKILL)? == 0 {
                return Ok(());
            }
        }
        let left = self.all_pids()?;
        let object = self.path.display().to_string();
        let named = process::name_some(&left[..left.len().min(NAMED)]);
        Err(Failure::detail(
            Stage::End,
            object,
            format!("still running: {named}"),
        ))
    }

    /// Sends a signal to every process of the program. Returns the number of processes.
    ///
    /// # Errors
    /// A [`Failure`] of stage end or cgroup.
    pub fn signal(&self, signal: i32) -> Result<usize, Failure> {
        self.signal_those(|| self.pids(), signal, |_| true)
    }

    /// Sends a signal to every process of the program, also those that it forks meanwhile if that is
    /// SIGKILL. Returns the number of processes.
    ///
    /// # Errors
    /// A [`Failure`] of stage end or cgroup.
    pub fn send(&self, signal: i32) -> Result<usize, Failure> {
        if signal != libc::SIGKILL {
            return self.signal(signal);
        }
        let count = self.pids()?.len();
        self.kill().map(|()| count)
    }

    /// What tells the part of the program from that of the next launch; `None` if there is none.
    #[must_use]
    pub fn program_id(&self) -> Option<u64> {
        let found = std::fs::metadata(self.program()).ok()?;
        Some(found.ino())
    }

    /// Does something with the processes of the program that had this [`Leaf::program_id`]. Those of the next
    /// launch are spared.
    ///
    /// # Errors
    /// Those of `act`.
    pub fn unless_next<T: Default>(
        &self,
        program: Option<u64>,
        act: impl FnOnce(&Self) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        match self.program_id() == program {
            true => act(self),
            false => Ok(T::default()),
        }
    }

    /// Thaws the leaf and the cgroups below it, and sends SIGCONT to every process of the program that
    /// is stopped, so that a stop signal reaches it.
    ///
    /// # Errors
    /// A [`Failure`] of stage end or cgroup.
    pub fn resume(&self) -> Result<(), Failure> {
        for folder in folders(&self.path, &[])? {
            let path = folder.join("cgroup.freeze");
            let file = std::fs::OpenOptions::new().write(true).open(&path);
            match file.and_then(|mut file| std::io::Write::write_all(&mut file, b"0")) {
                Ok(()) => {}
                // Removed, or Linux before 5.2, which cannot freeze it.
                Err(error) if is_gone(&error) => {}
                Err(error) => return Err(self.end_failure(&error)),
            }
        }
        self.signal_those(|| self.pids(), libc::SIGCONT, process::is_stopped)
            .map(drop)
    }

    /// Sends a signal to some of these processes in the leaf. Returns their number.
    pub(super) fn signal_those(
        &self,
        pids: impl Fn() -> Result<Vec<i32>, Failure>,
        signal: i32,
        are: impl Fn(i32) -> bool,
    ) -> Result<usize, Failure> {
        let mut sent = 0;
        // A tenant may have more processes than this one may have descriptors.
        for some in pids()?.chunks(AT_ONCE) {
            let mut held = Vec::with_capacity(some.len());
            for &pid in some {
                let opened = Pid::from_raw(pid).map(|pid| pidfd_open(pid, PidfdFlags::empty()));
                match opened {
                    Some(Ok(pidfd)) => held.push((pid, pidfd)),
                    None | Some(Err(Errno::SRCH)) => {}
                    Some(Err(errno)) => return Err(self.end_failure(&errno.into())),
                }
            }
            // With a pidfd open, a process ID that is still in the leaf was not reused.
            let still: HashSet<i32> = pids()?.into_iter().collect();
            for (_, pidfd) in held
                .iter()
                .filter(|(pid, _)| still.contains(pid) && are(*pid))
            {
                match process::signal(pidfd.as_fd(), signal) {
                    Ok(()) => sent += 1,
                    Err(Errno::SRCH) => {}
                    Err(errno) => return Err(self.end_failure(&errno.into())),
                }
            }
        }
        Ok(sent)
    }

    /// Removes the leaf and all cgroups that its processes made below it. Succeeds if it does not
    /// exist.
    ///
    /// # Errors
    /// A [`Failure`] of stage cgroup; `EBUSY` if a process is in it.
    pub fn remove(&self) -> Result<(), Failure> {
        self.remove_below(0)
    }

    /// Removes all folders of the leaf but the first ones.
    pub(super) fn remove_below(&self, kept: usize) -> Result<(), Failure> {
        for folder in folders(&self.path, &[])?.iter().skip(kept).rev() {
            remove_folder(folder).or_else(|error| Err(self.in_use(folder, &error)?))?;
        }
        Ok(())
    }

    pub(super) fn in_use(&self, folder: &Path, error: &Error) -> Result<Failure, Failure> {
        let named = process::name_some(&self.all_pids()?);
        Ok(failure(folder, error).with(format!("still in use by {named}")))
    }

    fn end_failure(&self, error: &Error) -> Failure {
        let errno = error.raw_os_error().unwrap_or(libc::EIO);
        Failure::errno(Stage::End, self.path.display().to_string(), errno)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_launch_is_spared() {
        let folder = tempfile::tempdir().unwrap();
        let leaf = Leaf::new(folder.path().to_owned(), "acme".parse().unwrap());
        std::fs::create_dir(leaf.program()).unwrap();
        let first = leaf.program_id();
        assert!(leaf.unless_next(first, |_| Ok(true)).unwrap());
        let next = folder.path().join("next");
        std::fs::create_dir(&next).unwrap();
        std::fs::remove_dir(leaf.program()).unwrap();
        assert!(!leaf.unless_next(first, |_| Ok(true)).unwrap());
        std::fs::rename(next, leaf.program()).unwrap();
        assert!(!leaf.unless_next(first, |_| Ok(true)).unwrap());
    }
}
