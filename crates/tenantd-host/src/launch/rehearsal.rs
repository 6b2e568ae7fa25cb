//! The rehearsal of a launch: what a launch would refuse is known before.
//!
//! A real child goes through all stages in a mount namespace of its own, with a read-only datastore
//! and without a network namespace, and executes the program behind a filter that ends it at its
//! first system call. So the kernel itself judges the program's format, its interpreter, its
//! architecture and the permissions along its path. Missing libraries are not found: the dynamic
//! loader would report them, and it does not run.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::Rlimit;
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

use super::abandon;
use super::child::Pipes;
use super::child::steps::Steps;
use super::clone::{self, Cloned};
use super::idmap;
use super::memory::for_child;
use super::report::{self, Names, Outcome};
use super::spec::Spec;
use super::templates::MountTemplates;
use super::templates::spares::Used;
use super::view;
use crate::cgroup;
use crate::datastore::{init, rehearsal};
use crate::process::{self, Ended};
use crate::quota;
use crate::targets::MountNamespace;
use tenantd_core::name::AppName;
use tenantd_core::plan::model::{DatastorePlan, Identity, LaunchPlan, TenantPlan};
use tenantd_core::plan::phase::Phase;
use tenantd_core::stage::{Failure, Stage};

/// The time limit. A file may be on a filesystem that hangs.
const LIMIT: Duration = Duration::from_secs(10);

/// The filter: changing the user and its capabilities, executing the program, reporting a failure and exiting is allowed.
///
/// # Errors
/// A [`Failure`] of stage exec if there is none for this architecture.
pub(super) fn filter() -> Result<Vec<libc::sock_filter>, Failure> {
    let failed = |error: &dyn std::fmt::Display| {
        Failure::detail(Stage::Exec, "", format!("cannot make a filter: {error}"))
    };
    let allowed = [
        libc::SYS_setresuid,
        libc::SYS_capset,
        libc::SYS_prctl,
        libc::SYS_execve,
        libc::SYS_write,
        libc::SYS_exit_group,
    ];
    let architecture = std::env::consts::ARCH.try_into();
    let filter = SeccompFilter::new(
        allowed.map(|number| (number, Vec::new())).into(),
        SeccompAction::KillProcess,
        SeccompAction::Allow,
        architecture.map_err(|error| failed(&error))?,
    );
    let filter = filter.map_err(|error| failed(&error))?;
    let program: Result<BpfProgram, _> = filter.try_into();
    let program = program.map_err(|error: seccompiler::BackendError| failed(&error))?;
    let as_libc = |one: seccompiler::sock_filter| libc::sock_filter {
        code: one.code,
        jt: one.jt,
        jf: one.jf,
        k: one.k,
    };
    Ok(program.into_iter().map(as_libc).collect())
}

/// Rehearses the launch of a tenant, on the present host. Blocks for less than a millisecond, unless
/// a filesystem hangs. Changes nothing, and needs the privileges of a launch.
///
/// # Errors
/// The [`Failure`] that a launch would have.
pub fn rehearse(
    launch: &LaunchPlan,
    datastore: &DatastorePlan,
    descriptors: Rlimit,
) -> Result<(), Failure> {
    rehearse_with(&MountTemplates::default(), launch, datastore, descriptors)
}

fn rehearse_with(
    templates: &MountTemplates,
    launch: &LaunchPlan,
    datastore: &DatastorePlan,
    descriptors: Rlimit,
) -> Result<(), Failure> {
    let may_begin = launch.commands.init.is_some() && init::may_begin(datastore);
    for phase in [Phase::Init, Phase::Before] {
        let is_run = launch.commands.of(phase).is_some() && (phase != Phase::Init || may_begin);
        if is_run {
            rehearse_phase(templates, (launch, phase), datastore, descriptors)?;
        }
    }
    rehearse_phase(templates, (launch, Phase::Main), datastore, descriptors)
}

fn rehearse_phase(
    templates: &MountTemplates,
    executed: (&LaunchPlan, Phase),
    datastore: &DatastorePlan,
    descriptors: Rlimit,
) -> Result<(), Failure> {
    let made = || Spec::rehearsal(executed, datastore, templates, descriptors).map(Box::new);
    let mut spec = for_child(made)?;
    // Its child does not wait.
    spec.permit_writing()?;
    let (read, write) = report::pipe()?;
    let pipes = for_child(|| {
        Box::new(Pipes {
            report: write.as_fd(),
            // It has a copy from the start: what it uses is closed at once.
            parted: None,
            go: None,
            steps: Steps::NONE,
            kept: spec.descriptors(&[write.as_fd()]),
        })
    });
    let child = clone::clone(&spec, None, None, &pipes, "")?;
    drop(pipes);
    drop(write);
    // To close them here would delay the child. With the last reference to its mount namespace, it would remove all mounts
    // in it before its end is reported.
    let used = Used {
        kinds: std::mem::take(&mut spec.view.taken),
        mounts: std::mem::take(&mut spec.mounts),
        namespace: MountNamespace::of(child.pid).ok().flatten(),
    };
    let judged = judge(spec.into_names(), &read, &child);
    templates.hold(used);
    judged
}

/// Rehearses the launches of several tenants. Returns those that would fail. Tenants that differ in
/// nothing that a launch could fail on from the one before share its child.
///
/// `templates` are those [of rehearsals](MountTemplates::for_rehearsals), or have no other use.
#[must_use]
pub fn rehearse_all<'a>(
    templates: &MountTemplates,
    app: &AppName,
    tenants: impl IntoIterator<Item = &'a TenantPlan>,
    descriptors: Rlimit,
) -> Vec<(&'a TenantPlan, Failure)> {
    let mut failed = Vec::new();
    // Compared with one only: the work per tenant must not grow with their number.
    let mut launched: Option<&TenantPlan> = None;
    for plan in tenants {
        let is_alike = launched.is_some_and(|other| is_alike(other, plan));
        let known = rehearsal::claim(app, &plan.name, &plan.datastore);
        let known = known.and_then(|()| cgroup::can_limit(&plan.launch.group));
        let known = known.and_then(|()| quota::can_limit(plan));
        let rehearsed = known.and_then(|()| match is_alike {
            true => rehearsal::shown(&plan.datastore)
                .and_then(|_| idmap::rehearse(&plan.datastore))
                .and_then(|()| view::secrets::rehearse(&plan.launch)),
            false => rehearse_with(templates, &plan.launch, &plan.datastore, descriptors),
        });
        match rehearsed {
            Ok(()) => launched = Some(plan),
            Err(why) => failed.push((plan, why)),
        }
    }
    failed
}

/// Whether two users differ at most in being each the only tenant's.
fn is_alike_user(one: &Identity, other: &Identity) -> bool {
    one == other || (one.own && other.own)
}

/// Whether two tenants differ only in arguments, environment, limits, the place of their data, the files of their
/// secrets, and the number of a user of their own.
fn is_alike(one: &TenantPlan, other: &TenantPlan) -> bool {
    let (a, b) = (&one.launch, &other.launch);
    let (data, others) = (&one.datastore, &other.datastore);
    // What is in the data differs from tenant to tenant.
    let files = || a.files.iter().map(|file| file.path.as_path());
    let needs_data = data.targets().any(|target| {
        a.working_directory.starts_with(target) || files().any(|file| file.starts_with(target))
    });
    !needs_data
        && a.program == b.program
        && a.working_directory == b.working_directory
        && is_alike_user(&a.identity, &b.identity)
        && a.view == b.view
        && a.private == b.private
        && a.process == b.process
        && a.wall == b.wall
        && a.hidden == b.hidden
        && a.secrets.keys().eq(b.secrets.keys())
        && files().eq(b.files.iter().map(|file| file.path.as_path()))
        && is_alike_before(one, other)
        && data.targets().eq(others.targets())
}

/// Whether the commands before the program differ only in arguments and environment, and both
/// datastores are new, or both are not.
fn is_alike_before(one: &TenantPlan, other: &TenantPlan) -> bool {
    let executed = |plan: &TenantPlan| {
        let each =
            [Phase::Init, Phase::Before].map(|phase| plan.launch.commands.of(phase).cloned());
        each.map(|one| one.map(|one| (one.program, one.identity)))
    };
    let has_init = one.launch.commands.init.is_some();
    executed(one) == executed(other)
        && (!has_init || init::may_begin(&one.datastore) == init::may_begin(&other.datastore))
}

/// Waits for the end of the child, and returns its failure.
fn judge(names: Names, read: &OwnedFd, child: &Cloned) -> Result<(), Failure> {
    let Cloned { pidfd, known, .. } = child;
    let program = names.program.clone();
    let vanished = |why: &str| Failure::detail(Stage::Vanished, program.as_str(), why);
    let broken =
        |errno: Errno| Failure::errno(Stage::Vanished, program.as_str(), errno.raw_os_error());
    let ended = process::reap_within(pidfd.as_fd(), known, LIMIT).map_err(broken)?;
    if ended.is_none() {
        let why = format!(
            "the rehearsal of its launch took more than {} s",
            LIMIT.as_secs()
        );
        return Err(abandon(None, (pidfd, known), vanished(&why)));
    }
    let mut bytes = [0_u8; report::ROOM];
    let len = match rustix::io::read(read, &mut bytes) {
        Ok(len) => len,
        Err(errno) => return Err(broken(errno)),
    };
    match report::decode(bytes.get(..len).unwrap_or_default()) {
        Outcome::Failed {
            stage,
            object,
            errno,
        } => {
            let failure = Failure::errno(stage, names.of(stage, object), errno);
            Err(crate::program::explain(failure))
        }
        // The filter ended it: the kernel had loaded the program.
        Outcome::Running if ended == Some(Ended::Signal(libc::SIGSYS)) => Ok(()),
        Outcome::Running => Err(Failure::detail(
            Stage::Exec,
            program,
            "the kernel cannot load it: the file is damaged",
        )),
        Outcome::Vanished => Err(vanished(
            "the child was killed before it executed the program",
        )),
    }
}
