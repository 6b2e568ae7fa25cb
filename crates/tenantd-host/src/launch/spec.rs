//! Prepares everything that the child needs before the child exists: claim, mounts, C strings,
//! tables.
//!
//! The mounts made here are detached; the child only attaches each to its target. So the child
//! formats no mount options and resolves each path once.

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::{Errno, fcntl_dupfd_cloexec};
use rustix::process::{Gid, Rlimit, Uid};

use super::mounts::{Mount, Mounts};
pub(super) use super::privileges::Rights;
use super::report::Names;
use super::strings::Strings;
use super::templates::MountTemplates;
use super::trees;
use super::view::{self, View};
use super::{Order, child, idmap, lookup, rehearsal};
use crate::claim::Claim;
use crate::crash;
use crate::datastore::{self, init};
use crate::limits::{self, Setting};
use crate::lock::Lock;
use crate::sealed::{self, SealedCopy};
use crate::timeline;
use tenantd_core::plan::model::{DatastorePlan, LaunchPlan, ProcessAttributes};
use tenantd_core::plan::phase::{Executed, Phase};
use tenantd_core::stage::{Failure, Stage};

/// What the child does with the program.
pub(super) enum Purpose {
    /// Executes it in the network namespace.
    Launch {
        /// The tenant's network namespace.
        netns: OwnedFd,
        /// The claim of its datastore.
        claim: Box<Claim>,
    },
    /// Executes it behind a filter that ends it at its first system call.
    Rehearsal {
        /// The filter.
        filter: Vec<libc::sock_filter>,
    },
}

/// Everything that the child needs.
pub(super) struct Spec {
    pub(super) purpose: Purpose,
    /// In the order in which they are attached.
    pub(super) mounts: Vec<Mount>,
    pub(super) view: View,
    pub(super) rights: Rights,
    /// The signals to reset.
    pub(super) ignored: &'static [libc::c_int],
    pub(super) limits: Vec<Setting>,
    pub(super) attributes: ProcessAttributes,
    /// One of the attributes as text.
    pub(super) oom_score_adj: Vec<u8>,
    pub(super) groups: Vec<Gid>,
    pub(super) gid: Gid,
    pub(super) uid: Uid,
    pub(super) working_directory: CString,
    /// Standard input, output and error, each at a number above them.
    pub(super) stdio: [OwnedFd; 3],
    pub(super) program: CString,
    /// The file of the program, if that is this one.
    sealed: Option<SealedCopy>,
    pub(super) argv: Strings,
    pub(super) environment: Strings,
    names: Names,
}

impl Spec {
    /// Claims the datastore, makes the mounts, checks the program and builds all tables. Returns `None` if
    /// the order is to initialize the datastore, and it is not new.
    ///
    /// # Errors
    /// A [`Failure`] of a stage before the child exists, or of the stage to which a mount belongs.
    pub(super) fn new(order: &Order<'_>) -> Result<Option<Self>, Failure> {
        let source = order.datastore.source.as_path();
        let folder = datastore::open(source).map_err(on(Stage::Tree, source))?;
        let claim = Claim::take(folder.as_fd(), source, order.label, order.leaf)?;
        crash::point("launch: claimed", order.label);
        let known = match order.phase {
            Phase::Init if !init::begin(order.datastore, folder.as_fd(), order.label)? => {
                return Ok(None);
            }
            Phase::Init => None,
            Phase::Before | Phase::Main | Phase::Offline => {
                init::refuse_unfinished(order.datastore, folder.as_fd(), order.label)?
            }
        };
        let parts = timeline::span("launch: mounts of the datastore", order.label);
        let mut mounts = Mounts::default();
        let identity = &order.launch.identity;
        let map = idmap::of(order.datastore)?;
        for part in datastore::parts(order.datastore, folder, order.label, identity, known)? {
            let tree = trees::of_datastore(&part, map.as_ref())?;
            mounts.add_folder(Stage::Attach, tree, &part.target)?;
        }
        drop(parts);
        let own = timeline::span("launch: mounts of the tenant", order.label);
        view::syslog(order, &mut mounts)?;
        view::notify(order, &mut mounts)?;
        view::names(order, &mut mounts)?;
        view::machine::id(order, &mut mounts)?;
        lookup::add(order, &mut mounts)?;
        drop(own);
        let netns = above_stdio(order.netns).map_err(on(Stage::EnterNetns, Path::new("")))?;
        let outputs = [order.stdout, order.stderr];
        let purpose = Purpose::Launch {
            netns,
            claim: Box::new(claim),
        };
        let executed = (order.launch, order.phase);
        let spec = Self::build(
            executed,
            order.templates,
            mounts,
            outputs,
            order.descriptors,
            purpose,
        );
        let mut spec = spec?;
        if order.watchdog_pid {
            // Only the child knows its number.
            spec.environment = spec.environment.with_number("WATCHDOG_PID=");
        }
        Ok(Some(spec))
    }

    /// The same for a rehearsal: without a claim, and with a read-only datastore.
    ///
    /// # Errors
    /// See [`Spec::new`].
    pub(super) fn rehearsal(
        (launch, phase): (&LaunchPlan, Phase),
        datastore: &DatastorePlan,
        templates: &MountTemplates,
        descriptors: Rlimit,
    ) -> Result<Self, Failure> {
        let mut mounts = Mounts::default();
        idmap::rehearse(datastore)?;
        let map = idmap::of(datastore)?;
        for shown in datastore::rehearsal::shown(datastore)? {
            let tree = trees::of_rehearsal(&shown, datastore, map.as_ref());
            let tree = tree.map_err(on(Stage::Tree, &shown.target))?;
            mounts.add(Stage::Attach, tree, &shown.target)?;
        }
        let null = null()?;
        let outputs = [null.as_fd(), null.as_fd()];
        let filter = rehearsal::filter()?;
        let purpose = Purpose::Rehearsal { filter };
        let executed = (launch, phase);
        Self::build(executed, templates, mounts, outputs, descriptors, purpose)
    }

    fn build(
        (launch, phase): (&LaunchPlan, Phase),
        templates: &MountTemplates,
        mut mounts: Mounts,
        outputs: [BorrowedFd<'_>; 2],
        descriptors: Rlimit,
        purpose: Purpose,
    ) -> Result<Self, Failure> {
        let executed = launch.executed(phase).ok_or_else(|| {
            let why = format!("the plan has no {phase} command");
            Failure::detail(Stage::Program, "", why)
        })?;
        let identity = executed.identity;
        let is_rehearsal = matches!(purpose, Purpose::Rehearsal { .. });
        let viewed = timeline::span("launch: view", "");
        let view = view::view(launch, templates, is_rehearsal, &mut mounts)?;
        drop(viewed);
        let _tables = timeline::span("launch: tables", "");
        check_program(executed.program)?;
        let mounts = mounts.in_order();
        let [input, output, error] = stdio(&mounts, outputs)?;
        let uid = identity.uid;
        let privileges = launch.wall.privileges.of_user(uid, launch.identity.uid);
        let rights = Rights::new(&privileges, uid)?;
        let limits = limits::at_launch(&launch.limits, descriptors);
        let sealed = sealed(executed.program)?;
        Ok(Self {
            names: names(launch, executed, &mounts, &rights, &limits),
            purpose,
            mounts,
            view,
            ignored: child::signals::ignored().map_err(on(Stage::Signals, Path::new("")))?,
            limits,
            rights,
            attributes: launch.process,
            oom_score_adj: launch.process.oom_score_adj.to_string().into_bytes(),
            groups: identity.groups.iter().copied().map(Gid::from_raw).collect(),
            gid: Gid::from_raw(identity.gid),
            uid: Uid::from_raw(identity.uid),
            working_directory: path(Stage::WorkingDirectory, &launch.working_directory)?,
            stdio: [input, output, error],
            program: match &sealed {
                Some(copy) => path(Stage::Exec, &copy.path())?,
                None => path(Stage::Exec, executed.program)?,
            },
            sealed,
            argv: argv(executed)?,
            environment: environment(executed)?,
        })
    }

    /// The lock that the program inherits.
    pub(super) fn lock(&self) -> Option<&Lock> {
        match &self.purpose {
            Purpose::Launch { claim, .. } => claim.lock(),
            Purpose::Rehearsal { .. } => None,
        }
    }

    /// The descriptors that the child uses, in order: these and what `more` has. It closes all others.
    pub(super) fn descriptors(&self, more: &[BorrowedFd<'_>]) -> Vec<u32> {
        let mut used: Vec<BorrowedFd<'_>> = more.to_vec();
        if let Purpose::Launch { netns, .. } = &self.purpose {
            used.push(netns.as_fd());
        }
        used.extend(self.lock().map(AsFd::as_fd));
        for mount in &self.mounts {
            used.push(mount.tree.as_fd());
            used.extend(mount.union.as_ref().map(|union| union.lower.as_fd()));
        }
        used.extend(self.view.rules.as_ref().map(|it| it.ruleset.as_fd()));
        used.extend(self.sealed.as_ref().map(AsFd::as_fd));
        used.extend(self.stdio.iter().map(AsFd::as_fd));
        let numbers = used.iter().map(|fd| fd.as_raw_fd().unsigned_abs());
        let mut numbers: Vec<u32> = numbers.collect();
        numbers.sort_unstable();
        numbers
    }

    /// Permits the program to write to what is the tenant's own. Needed before the child enters its domain,
    /// not before there is a child.
    ///
    /// # Errors
    /// A [`Failure`] of stage landlock.
    pub(super) fn permit_writing(&self) -> Result<(), Failure> {
        let [_, stdout, stderr] = &self.stdio;
        match &self.view.rules {
            Some(rules) => view::lid::permit(rules, &self.mounts, [stdout.as_fd(), stderr.as_fd()]),
            None => Ok(()),
        }
    }

    /// Records the process of the launch in the claim. Returns the names, which the report needs.
    ///
    /// # Errors
    /// A [`Failure`] of stage lock.
    pub(super) fn record_process(&mut self, pid: i32) -> Result<Names, Failure> {
        if let Purpose::Launch { claim, .. } = &mut self.purpose {
            claim.set_process(pid)?;
        }
        Ok(std::mem::take(&mut self.names))
    }

    /// Drops everything but the names, which the report needs.
    pub(super) fn into_names(self) -> Names {
        self.names
    }
}

fn on(stage: Stage, object: &Path) -> impl Fn(Errno) -> Failure {
    move |errno| Failure::errno(stage, object.display().to_string(), errno.raw_os_error())
}

fn c_string(stage: Stage, text: &[u8]) -> Result<CString, Failure> {
    CString::new(text).map_err(|_| {
        let shown = String::from_utf8_lossy(text).replace('\0', "\\0");
        Failure::detail(stage, shown, "contains a NUL byte")
    })
}

fn path(stage: Stage, path: &Path) -> Result<CString, Failure> {
    c_string(stage, path.as_os_str().as_bytes())
}

fn argv(executed: Executed<'_>) -> Result<Strings, Failure> {
    let strings = executed
        .argv
        .iter()
        .map(|arg| c_string(Stage::Exec, arg.as_bytes()));
    strings.collect::<Result<_, _>>().map(Strings::new)
}

fn environment(executed: Executed<'_>) -> Result<Strings, Failure> {
    let pairs = executed.environment.iter();
    let strings =
        pairs.map(|(key, value)| c_string(Stage::Exec, format!("{key}={value}").as_bytes()));
    strings.collect::<Result<_, _>>().map(Strings::new)
}

/// Checks the program as the host sees it. What the tenant's mounts change, execve(2) reports.
fn check_program(program: &Path) -> Result<(), Failure> {
    let object = program.display().to_string();
    let found = match std::fs::metadata(program) {
        Ok(found) => found,
        Err(error) => {
            let errno = error.raw_os_error().unwrap_or(libc::EINVAL);
            return Err(Failure::errno(Stage::Program, object, errno));
        }
    };
    if !found.is_file() {
        return Err(Failure::detail(
            Stage::Program,
            object,
            "not a regular file",
        ));
    }
    if found.permissions().mode() & 0o111 == 0 {
        return Err(Failure::errno(Stage::Program, object, libc::EACCES));
    }
    Ok(())
}

/// A copy of this program, if that is what is executed in the tenant.
fn sealed(program: &Path) -> Result<Option<SealedCopy>, Failure> {
    let is_itself = program == Path::new(sealed::ITSELF);
    let made = is_itself.then(SealedCopy::make).transpose();
    made.map_err(|error| {
        let why = format!("cannot copy it for the tenant: {error}");
        Failure::detail(Stage::Program, program.display().to_string(), why)
    })
}

/// Duplicates a descriptor to a number above 2, because the child overwrites 0 to 2.
fn above_stdio(fd: impl AsFd) -> Result<OwnedFd, Errno> {
    fcntl_dupfd_cloexec(fd, 3)
}

fn null() -> Result<OwnedFd, Failure> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    let null = openat(CWD, c"/dev/null", flags, Mode::empty());
    null.map_err(|errno| Failure::errno(Stage::Stdio, "/dev/null", errno.raw_os_error()))
}

/// The standard input: `/dev/null` of the tenant's own `/dev`, if it has one. The host's would let a program of root
/// change its owner and mode for everybody (fchmod(2)), as it was not opened through a read-only mount.
fn input(mounts: &[Mount]) -> Result<OwnedFd, Failure> {
    let Some(dev) = mounts.iter().find(|it| &*it.target == c"/dev") else {
        return null();
    };
    let null = openat(
        &dev.tree,
        c"null",
        OFlags::RDWR | OFlags::CLOEXEC,
        Mode::empty(),
    );
    null.map_err(|errno| Failure::errno(Stage::Stdio, "/dev/null", errno.raw_os_error()))
}

fn stdio(mounts: &[Mount], [stdout, stderr]: [BorrowedFd<'_>; 2]) -> Result<[OwnedFd; 3], Failure> {
    let failed = |object: &'static str| {
        move |errno: Errno| Failure::errno(Stage::Stdio, object, errno.raw_os_error())
    };
    Ok([
        above_stdio(input(mounts)?).map_err(failed("at 0"))?,
        above_stdio(stdout).map_err(failed("at 1"))?,
        above_stdio(stderr).map_err(failed("at 2"))?,
    ])
}

fn names(
    launch: &LaunchPlan,
    executed: Executed<'_>,
    mounts: &[Mount],
    rights: &Rights,
    limits: &[Setting],
) -> Names {
    let shown = |path: &Path| path.display().to_string();
    let targets = mounts.iter().map(|mount| mount.target.to_string_lossy());
    let identity = executed.identity;
    let groups: Vec<String> = identity.groups.iter().map(ToString::to_string).collect();
    Names {
        program: shown(executed.program),
        targets: targets.map(std::borrow::Cow::into_owned).collect(),
        capabilities: rights.dropped().map(|one| one.to_string()).collect(),
        limits: limits.iter().map(|limit| limit.what).collect(),
        user: identity.user.clone(),
        group: identity.gid.to_string(),
        groups: groups.join(", "),
        working_directory: shown(&launch.working_directory),
    }
}
