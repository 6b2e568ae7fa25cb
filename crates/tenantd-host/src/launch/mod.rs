//! The launch: one start of a tenant's program.
//!
//! A launch turns a provisioned tenant into a running one. The program gets the tenant's network
//! namespace and its cgroup leaf, which exist already, and a mount namespace of its own, in which
//! the tenant's datastore is mounted where the program expects its data, the private folders are
//! empty, and the folders that hold the datastores of other tenants are covered. It runs as the
//! tenant's user, without the capabilities that could undo this. A [`claim`](crate::claim) of the
//! datastore sees to it that no second launch can use it while a process of this one runs.
//!
//! ```text
//! parent                                        child
//! spec: claim, mounts, C strings, tables
//! clone: clone3 ──────────────────────────────▶ child: takes the descriptors that it needs, enters the
//! landlock: permit writing                      namespace, attaches the mounts, and waits
//! claim: record the process ──── go ──────────▶ one line per stage, in order
//! templates: mounts for the next launch
//! report: read to end of file  ◀── 8 bytes ──── (stage, object, errno), or (exec, 0) and execve
//! ```
//!
//! There are four steps. `spec` prepares, in the parent, everything that needs memory: it claims
//! the datastore, makes detached mounts and builds all C strings and tables. `clone` makes
//! the child with one clone3(2), which puts it into its cgroup and a new mount namespace and
//! returns a pidfd. The parent records the process in the claim, and does everything else that may
//! fail, before it writes a byte for which the child waits. Meanwhile the child enters the network
//! namespace and attaches the mounts, which changes nothing outside of it. If the supervisor dies
//! before it has written the byte, the child exits. `child` then runs the remaining stages in a fixed
//! order (enter the domain, drop capabilities, set limits and identity, put the descriptors in place)
//! and executes the program. If a stage fails, the child writes the stage, the index of the object and
//! the errno to a pipe and exits; a successful execve(2) closes the pipe. `report` reads that pipe
//! in the parent and turns it into success or a [`Failure`] that names the stage.
//!
//! The child is a copy of one thread of a threaded process: another thread may have held any lock
//! at that moment. It has only the [`memory`] that is made for it. Until execve(2) it only makes
//! system calls, and never allocates, locks, logs or panics. All `unsafe` code of tenantd is in this folder: these system calls, descriptors in
//! tokio's epoll ([`ready_fd`]), and options of sockets ([`option`](self::option)).
//!
//! A launch does not wait for the program to become ready and does not end it. If the supervisor is
//! killed during a launch, a child that may continue does so on its own; the claim, the cgroup leaf and
//! the network namespace lead the next supervisor to it.

pub mod attempt;
mod child;
mod clone;
pub mod domain;
mod idmap;
mod lid;
pub mod lookup;
pub mod memory;
mod mounts;
pub mod observe;
pub(super) mod option;
mod outer;
mod parting;
mod privileges;
pub(super) mod raw;
pub mod ready_fd;
mod rehearsal;
mod report;
mod seal;
mod spec;
mod strings;
mod templates;
mod tmpfs;
mod trees;
mod view;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::Rlimit;

use crate::children::Known;
use crate::crash;
use tenantd_core::plan::model::{DatastorePlan, LaunchPlan};
use tenantd_core::plan::phase::Phase;
use tenantd_core::stage::Failure;

use super::cgroup::Leaf;
use super::targets::MountNamespace;
use super::{limits, process, timeline};

use child::Pipes;
pub(crate) use child::attributes::join_keyring;
pub(crate) use child::folder;
pub(crate) use child::signals::reset_signals;
use child::steps::{Steps, StepsPipe};
pub(crate) use child::sysfs;
use clone::Cloned;
pub use domain::Domain;
pub use lid::Lid;
pub(crate) use lookup::FILES as LOOKUP_FILES;
use memory::for_child;
use parting::Parting;
pub use parting::{make_room, put_aside};
pub use privileges::Rights;
pub use rehearsal::{rehearse, rehearse_all};
pub use report::Report;
#[cfg(any(test, fuzzing))]
pub use report::fuzz as fuzz_report;
pub use templates::MountTemplates;
pub use templates::spares::Used;
pub(crate) use view::machine::FILE as MACHINE_ID;
pub(crate) use view::names::FILES as NAME_FILES;

/// How long a killed child may take to end. One that waits for a filesystem that hangs is reaped
/// later.
const ABANDONED: Duration = Duration::from_secs(5);

/// How long a child may take until its first system call.
const UNPARTED: Duration = Duration::from_secs(5);

/// The parameters of a launch.
#[derive(Debug, Clone, Copy)]
pub struct Order<'a> {
    /// The program and the commands before it.
    pub launch: &'a LaunchPlan,
    /// What is executed.
    pub phase: Phase,
    /// The datastore, which must exist.
    pub datastore: &'a DatastorePlan,
    /// The mounts that all launches share.
    pub templates: &'a MountTemplates,
    /// The tenant's network namespace.
    pub netns: BorrowedFd<'a>,
    /// The leaf that tracks the tenant's processes; `None` if there is no cgroup tree.
    pub leaf: Option<&'a Leaf>,
    /// The program's standard output.
    pub stdout: BorrowedFd<'a>,
    /// The program's standard error.
    pub stderr: BorrowedFd<'a>,
    /// The limit on open files if the plan sets none (`RLIMIT_NOFILE`, getrlimit(2)).
    pub descriptors: Rlimit,
    /// `APP/TENANT`, which has the claim of the datastore.
    pub label: &'a str,
    /// The folder of its syslog socket, which must exist; `None` if there is no log collector.
    pub syslog: Option<&'a Path>,
    /// The files by which it looks names up.
    pub lookup: &'a [lookup::OwnFile],
    /// The folder of its notify socket, which must exist; `None` if its program uses none.
    pub notify: Option<&'a Path>,
    /// The folder for the socket of its keeper, which must exist; `None` if it has none in any case.
    pub keeper: Option<&'a Path>,
    /// Whether the program gets its own number in `WATCHDOG_PID`. Only the process with that number heeds its
    /// watchdog, see sd_watchdog_enabled(3).
    pub watchdog_pid: bool,
}

/// What is known of the mounts of a launch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaunchView {
    /// What prevents writing to the host's files; `None` if the supervisor ended during the launch.
    pub lid: Option<Lid>,
    /// The domain of its processes; `None` if it is not known.
    pub domain: Option<Domain>,
    /// The inode of its mount namespace; 0 if it is not known.
    pub mount_namespace: u64,
}

impl LaunchView {
    /// A launch by this version of which no more is known yet.
    pub const BEGUN: Self = Self {
        lid: None,
        domain: None,
        mount_namespace: 0,
    };
}

/// A child that has not yet executed its program, as far as is known.
#[derive(Debug)]
pub struct Child<W> {
    /// What is known of its mounts.
    pub view: LaunchView,
    /// The process ID, which is also the session ID.
    pub pid: i32,
    /// A pidfd of the child.
    pub pidfd: OwnedFd,
    /// Its registration, which keeps its exit status.
    pub known: Known,
    /// By what the caller watches it.
    pub watched: W,
    /// What it has used, for [`MountTemplates::replenish`].
    pub used: Used,
}

/// Whether the kernel has a Landlock that a launch can use, see landlock(7).
#[must_use]
pub fn has_landlock() -> bool {
    domain::version() >= domain::RENAMES
}

/// Makes a small `/dev`, as a tenant has it, with the folders that are mounted in it. Each is a detached
/// mount with the path to attach it to.
///
/// # Errors
/// A [`Failure`] of stage own.
pub(crate) fn devices(size: u64) -> Result<Vec<(PathBuf, OwnedFd)>, Failure> {
    view::devices(size)
}

/// What a child has of the pipes to its parent.
struct Ends {
    report: OwnedFd,
    waits: OwnedFd,
    parting: Parting,
    steps: Option<StepsPipe>,
}

impl Ends {
    /// Also returns the parent's ends: from which it reads the report, and to which it writes that the child may continue.
    fn new() -> Result<(Self, OwnedFd, OwnedFd), Failure> {
        let (read, report) = report::pipe()?;
        let (waits, go) = report::go_pipe()?;
        let (parting, steps) = (Parting::new()?, StepsPipe::new()?);
        let ends = Self {
            report,
            waits,
            parting,
            steps,
        };
        Ok((ends, read, go))
    }

    fn pipes(&self, spec: &spec::Spec) -> Box<Pipes<'_>> {
        let mut kept = vec![self.report.as_fd(), self.waits.as_fd(), self.parting.fd()];
        kept.extend(self.steps.as_ref().map(StepsPipe::fd));
        for_child(|| {
            Box::new(Pipes {
                report: self.report.as_fd(),
                parted: Some(self.parting.fd()),
                go: Some(self.waits.as_fd()),
                steps: self.steps.as_ref().map_or(Steps::NONE, StepsPipe::steps),
                kept: spec.descriptors(&kept),
            })
        })
    }
}

/// Prepares and makes the child. The caller then waits for [`Report::outcome`]. Blocks for about a
/// millisecond, and for 5 s if the child is stopped before it has parted from this process's descriptors, so call it on a
/// blocking thread; the child does not depend on that thread.
///
/// `watch` gets a pidfd of the child, and its report. It does everything of the caller's that may fail,
/// since the child does not continue before.
///
/// Returns `None` if the order is to initialize the datastore, and it is not new.
///
/// # Errors
/// A [`Failure`] of a stage before the child continues. No process is left then.
pub fn launch<W>(
    order: &Order<'_>,
    watch: impl FnOnce(&OwnedFd, Report) -> Result<W, Failure>,
) -> Result<Option<Child<W>>, Failure> {
    order.templates.replenish_if_many();
    let spec = for_child(|| spec::Spec::new(order).map(|made| made.map(Box::new)));
    let Some(mut spec) = spec? else {
        return Ok(None);
    };
    let cgroup = order.leaf.map(Leaf::fd).transpose()?;
    if let Some(leaf) = order.leaf {
        limits::note_launch(leaf, &order.launch.limits)?;
    }
    let cgroup = cgroup.as_ref().map(AsFd::as_fd);
    crash::point("launch: before the clone", order.label);
    let (ends, read, go) = Ends::new()?;
    let pipes = ends.pipes(&spec);
    let outer = outer::prepare(order)?;
    let begun = timeline::now();
    let Cloned { pid, pidfd, known } =
        clone::clone(&spec, outer.as_ref(), cgroup, &pipes, order.label)?;
    crash::point("launch: cloned", order.label);
    // The program does not run yet, so the child is in the namespace that it was made in.
    let namespace = MountNamespace::of(pid).ok().flatten();
    let view = LaunchView {
        lid: Some(spec.view.lid),
        domain: Some(spec.view.domain),
        mount_namespace: namespace.map_or(0, |namespace| namespace.inode()),
    };
    let permitted = spec.permit_writing();
    let recorded = permitted.and_then(|()| spec.record_process(pid));
    crash::point("launch: process recorded", order.label);
    let watched = recorded.and_then(|names| watch(&pidfd, Report::new(read, names)));
    let watched = watched.map_err(|why| abandon(order.leaf, (&pidfd, &known), why))?;
    // It fails only if the child was killed: its report will say so.
    let _gone = rustix::io::write(&go, &[0]);
    crash::point("launch: told to go on", order.label);
    // Not before: the child is told as early as possible, and has parted long since if there was a processor for it.
    let parted = ends.parting.wait(pidfd.as_fd(), UNPARTED);
    parted.map_err(|why| abandon(order.leaf, (&pidfd, &known), why))?;
    if let Some(steps) = ends.steps {
        steps.follow(pid, order.label, begun);
    }
    // The child may be on this processor: to close three descriptors per folder here would delay it.
    let used = Used {
        kinds: std::mem::take(&mut spec.view.taken),
        mounts: std::mem::take(&mut spec.mounts),
        namespace: None,
    };
    Ok(Some(Child {
        view,
        pid,
        pidfd,
        known,
        watched,
        used,
    }))
}

/// Ends a launch that failed: kills all processes in its leaf, and kills and reaps the child. Returns
/// `why`, with a note if they could not be ended.
#[must_use]
pub fn abandon(leaf: Option<&Leaf>, (pidfd, known): (&OwnedFd, &Known), why: Failure) -> Failure {
    let emptied = leaf.map_or(Ok(()), Leaf::kill);
    let killed = match process::signal(pidfd.as_fd(), libc::SIGKILL) {
        // Killed with its leaf, and reaped by another thread.
        Err(Errno::SRCH) => Ok(()),
        killed => killed,
    };
    let ended = killed.and_then(|()| process::reap_within(pidfd.as_fd(), known, ABANDONED));
    match (ended, emptied) {
        (Ok(Some(_)), Ok(())) => why,
        (Ok(None), _) => why.with("and the child has not ended after SIGKILL".to_owned()),
        (Err(errno), _) => why.with(format!("and cannot end the child: {errno}")),
        (Ok(Some(_)), Err(failure)) => why.with(format!("and {failure}")),
    }
}
