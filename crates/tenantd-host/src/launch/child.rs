//! The only code that runs between clone and exec: one line per [`Stage`], in order.
//!
//! The child is a copy of one thread of a threaded process, so a lock that another thread held is
//! never unlocked. The child therefore makes system calls and nothing else: it must never allocate,
//! lock, log, panic or drop.
#![allow(unsafe_code)]

pub(crate) mod attributes;
mod descriptors;
pub(crate) mod folder;
pub(super) mod privileges;
pub(super) mod signals;
pub(super) mod steps;

use std::ffi::{CStr, CString};
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use linux_raw_sys::general::{MOUNT_ATTR_RDONLY, MS_SLAVE, mount_attr};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags,
};
use rustix::mount::{fsconfig_create, fsconfig_set_fd, fsconfig_set_string, fsmount, fsopen};
use rustix::mount::{mount_change, move_mount};
use rustix::process::{Resource, Uid, setrlimit, setsid};
use rustix::thread::{
    LinkNameSpaceType, move_into_link_name_space, set_no_new_privs, set_thread_groups,
    set_thread_res_gid, set_thread_res_uid,
};

pub(super) use self::descriptors::Pipes;
use self::descriptors::{close_others, duplicate, may_go, pass_lock_only};
use self::signals::{reset_ignored, reset_signal};
use self::steps::Steps;
use super::mounts::{Mount, Union};
use super::raw::{landlock_restrict_self, last_errno, mount_setattr_at};
use super::report::record;
use super::spec::{Purpose, Spec};
use super::view::View;
use crate::limits::{NO_CORE, Setting};
use tenantd_core::stage::Stage;

/// A failed stage: the stage, the index of its object, the errno.
struct Fault(Stage, u16, Errno);

/// Runs the stages and executes the program. If a stage fails, reports it and exits.
pub(super) fn run(spec: &Spec, pipes: &Pipes<'_>) -> ! {
    let report = pipes.report;
    if let Err(errno) = close_others(pipes) {
        send(report, Stage::Descriptors, 0, errno.raw_os_error());
    } else {
        pipes.steps.end(Stage::Descriptors);
        // That changes nothing outside of this process, which the parent records meanwhile.
        let separated = separate(spec, pipes.steps);
        // Else the parent has died, or the launch has failed: nothing may run that has no record.
        let may_go = may_go(pipes.go);
        pipes.steps.end(Stage::Lock);
        if may_go
            && let Err(Fault(stage, object, errno)) = separated.and_then(|()| descend(spec, pipes))
        {
            send(report, stage, object, errno.raw_os_error());
        }
    }
    // SAFETY: _exit only ends the process; unlike exit(3) it runs nothing that was registered in
    // the parent. 127 is what shells give for a program that could not be started.
    unsafe { libc::_exit(127) }
}

/// Leaves the supervisor's session and network namespace, and attaches the mounts.
fn separate(spec: &Spec, steps: Steps<'_>) -> Result<(), Fault> {
    reset_ignored(spec.ignored).map_err(at(Stage::Signals))?;
    steps.end(Stage::Signals);
    setsid().map_err(at(Stage::Session))?;
    enter_netns(spec).map_err(at(Stage::EnterNetns))?;
    steps.end(Stage::EnterNetns);
    separate_mounts(&spec.view).map_err(at(Stage::Propagation))?;
    steps.end(Stage::Propagation);
    attach_all(&spec.mounts, steps)
}

fn descend(spec: &Spec, pipes: &Pipes<'_>) -> Result<(), Fault> {
    let (report, steps) = (pipes.report, pipes.steps);
    enter_domain(&spec.view).map_err(at(Stage::Landlock))?;
    steps.end(Stage::Landlock);
    privileges::drop_capabilities(&spec.rights)?;
    steps.end(Stage::Capabilities);
    // The program may later lower them, and raise a soft limit up to the hard limit.
    each(Stage::Limits, &spec.limits, Setting::set)?;
    steps.end(Stage::Limits);
    attributes::set(&spec.attributes, &spec.oom_score_adj)?;
    steps.end(Stage::Attributes);
    set_thread_groups(&spec.groups).map_err(at(Stage::Groups))?;
    set_thread_res_gid(spec.gid, spec.gid, spec.gid).map_err(at(Stage::Group))?;
    steps.end(Stage::Groups);
    privileges::restrict_calls(&spec.rights)?;
    steps.end(Stage::SystemCalls);
    // The real and the saved user stay root: no process of the tenant's user can stop this one.
    set_thread_res_uid(Uid::ROOT, spec.uid, Uid::ROOT).map_err(at(Stage::User))?;
    folder::enter(&spec.working_directory).map_err(at(Stage::WorkingDirectory))?;
    steps.end(Stage::WorkingDirectory);
    put_stdio(spec)?;
    pass_lock_only(spec).map_err(at(Stage::Descriptors))?;
    spec.environment.set_number(std::process::id());
    privileges::keep_for_user(&spec.rights)?;
    if let Purpose::Rehearsal { filter } = &spec.purpose {
        reset_signal(libc::SIGPIPE).map_err(at(Stage::Signals))?;
        end_at_first_call(filter).map_err(at(Stage::Exec))?;
    }
    send(report, Stage::Exec, 0, 0);
    if let Purpose::Launch { .. } = &spec.purpose {
        reset_signal(libc::SIGPIPE).map_err(at(Stage::Signals))?;
    }
    // It also drops the permitted capabilities, see "Effect of user ID changes" in capabilities(7).
    set_thread_res_uid(spec.uid, spec.uid, spec.uid).map_err(at(Stage::User))?;
    privileges::give_to_user(&spec.rights)?;
    steps.end(Stage::User);
    Err(Fault(Stage::Exec, 0, execute(spec)))
}

fn at(stage: Stage) -> impl Fn(Errno) -> Fault {
    move |errno| Fault(stage, 0, errno)
}

fn each<T>(
    stage: Stage,
    objects: &[T],
    act: impl Fn(&T) -> Result<(), Errno>,
) -> Result<(), Fault> {
    let mut number: u16 = 0;
    for object in objects {
        act(object).map_err(|errno| Fault(stage, number, errno))?;
        number = number.saturating_add(1);
    }
    Ok(())
}

fn attach_all(mounts: &[Mount], steps: Steps<'_>) -> Result<(), Fault> {
    let mut number: u16 = 0;
    let (mut sys, mut above) = (None, None);
    for mount in mounts {
        if !attach_beside(mount, &mut above) {
            attach(mount, &mut sys).map_err(|errno| Fault(mount.stage, number, errno))?;
        }
        steps.end(mount.stage);
        number = number.saturating_add(1);
    }
    Ok(())
}

/// Writes one record. A write of eight bytes is atomic (pipe(7), PIPE_BUF). An error means that the
/// parent no longer reads, so it is ignored.
fn send(report: BorrowedFd<'_>, stage: Stage, object: u16, errno: i32) {
    let bytes = record(stage, object, errno);
    while rustix::io::write(report, &bytes) == Err(Errno::INTR) {}
}

/// A rehearsal stays where it is: nothing in the namespace could make it fail.
fn enter_netns(spec: &Spec) -> Result<(), Errno> {
    match &spec.purpose {
        Purpose::Launch { netns, .. } => {
            move_into_link_name_space(netns.as_fd(), Some(LinkNameSpaceType::Network))
        }
        Purpose::Rehearsal { .. } => Ok(()),
    }
}

/// Makes all mounts slaves, not private, so that what the host unmounts later disappears here too,
/// and read-only, if the host is read-only for the tenant; the cgroup file systems in any case.
fn separate_mounts(view: &View) -> Result<(), Errno> {
    let mut read_only = mount_attr {
        attr_set: MOUNT_ATTR_RDONLY.into(),
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    if !view.read_only {
        let slave = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
        mount_change(c"/", slave)?;
        // A process of root could leave its cgroup, and so a stop of its tenant.
        return each_mount(view.cgroups.iter().map(CString::as_c_str), &read_only);
    }
    read_only.propagation = MS_SLAVE.into();
    mount_setattr_at(libc::AT_FDCWD, c"/", libc::AT_RECURSIVE, &read_only)?;
    let writable = mount_attr {
        attr_set: 0,
        attr_clr: MOUNT_ATTR_RDONLY.into(),
        propagation: 0,
        userns_fd: 0,
    };
    each_mount(view.writable.iter().copied(), &writable)
}

/// Makes a sysfs by a context of one, with the interfaces of the network namespace that this thread is in.
pub(crate) fn sysfs(context: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    fsconfig_create(context)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY
        .union(MountAttrFlags::MOUNT_ATTR_NOSUID)
        .union(MountAttrFlags::MOUNT_ATTR_NODEV)
        .union(MountAttrFlags::MOUNT_ATTR_NOEXEC);
    fsmount(context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

/// Sets the attributes of the mounts at these paths.
fn each_mount<'p>(
    paths: impl Iterator<Item = &'p CStr>,
    attributes: &mount_attr,
) -> Result<(), Errno> {
    for path in paths {
        match mount_setattr_at(libc::AT_FDCWD, path, 0, attributes) {
            // Nothing is mounted there.
            Ok(()) | Err(Errno::NOENT | Errno::INVAL) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// After the mounts, which a domain that restricts writing prevents, and before the user changes: later it
/// would need no_new_privs.
fn enter_domain(view: &View) -> Result<(), Errno> {
    match &view.rules {
        Some(rules) => landlock_restrict_self(rules.ruleset.as_fd()),
        None => Ok(()),
    }
}

/// Makes the read-only union of a mount and the folder at its target, see overlayfs in the kernel's
/// documentation. Until Linux 6.15, each layer must be mounted in the namespace of the caller: so the
/// mount is attached, and covered by the union later. To unmount it would cost much more.
fn union(mount: &Mount, union: &Union) -> Result<OwnedFd, Errno> {
    // What is not dropped here is closed by exec.
    let target = ManuallyDrop::new(open_target(&mount.target, true)?);
    move_to(mount.tree.as_fd(), target.as_fd())?;
    let overlay = ManuallyDrop::new(fsopen(c"overlay", FsOpenFlags::FSOPEN_CLOEXEC)?);
    fsconfig_set_string(overlay.as_fd(), c"source", c"tenantd")?;
    if set_layers(overlay.as_fd(), [mount.tree.as_fd(), target.as_fd()]).is_err() {
        // Before Linux 6.15; and what else is wrong, this fails for too.
        duplicate(target.as_fd(), union.lower.as_raw_fd())?;
        fsconfig_set_string(overlay.as_fd(), c"lowerdir", union.layers.as_c_str())?;
    }
    fsconfig_create(overlay.as_fd())?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
        .union(MountAttrFlags::MOUNT_ATTR_NODEV)
        .union(MountAttrFlags::MOUNT_ATTR_RDONLY);
    fsmount(overlay.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

/// Sets the layers of a union, the uppermost first.
fn set_layers(overlay: BorrowedFd<'_>, layers: [BorrowedFd<'_>; 2]) -> Result<(), Errno> {
    for layer in layers {
        fsconfig_set_fd(overlay, c"lowerdir+", layer)?;
    }
    Ok(())
}

/// Attaches a mount by the name of its target in `above`, a folder that is opened for the first mount in it. Returns
/// false if it is to be attached otherwise, which also says what is wrong.
fn attach_beside(mount: &Mount, above: &mut Option<ManuallyDrop<OwnedFd>>) -> bool {
    let Some(beside) = &mount.beside else {
        return false;
    };
    if let Some(folder) = &beside.above {
        *above = open_target(folder, true).ok().map(ManuallyDrop::new);
    }
    let target = mount.target.to_bytes_with_nul();
    let name = target.get(beside.name..).map(CStr::from_bytes_with_nul);
    let (Some(above), Some(Ok(name))) = (above, name) else {
        return false;
    };
    // Without another flag, no symbolic link is followed: a folder cannot be attached to one.
    let from = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    move_mount(mount.tree.as_fd(), c"", above.as_fd(), name, from).is_ok()
}

/// Attaches a mount to its target. The target is resolved in this mount namespace and must not
/// contain a symbolic link. `sys` is the sysfs of this process, once it is mounted.
fn attach(mount: &Mount, sys: &mut Option<ManuallyDrop<OwnedFd>>) -> Result<(), Errno> {
    if mount.is_sysfs {
        // What is not closed here is closed by exec.
        let context = ManuallyDrop::new(fsopen(c"sysfs", FsOpenFlags::FSOPEN_CLOEXEC)?);
        let tree = ManuallyDrop::new(sysfs(context.as_fd())?);
        let target = ManuallyDrop::new(open_target(&mount.target, true)?);
        move_to(tree.as_fd(), target.as_fd())?;
        *sys = Some(tree);
        return Ok(());
    }
    if let (Some(path), Some(sys)) = (&mount.in_sysfs, sys.as_ref()) {
        // From its own root, and nobody but the kernel makes what is in it: that needs no look at each part of the path.
        let from = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
        return match move_mount(mount.tree.as_fd(), c"", sys.as_fd(), path.as_c_str(), from) {
            // What is not there needs no cover.
            Err(Errno::NOENT) => Ok(()),
            attached => attached,
        };
    }
    let Some(layers) = &mount.union else {
        let target = ManuallyDrop::new(open_target(&mount.target, mount.is_folder)?);
        return move_to(mount.tree.as_fd(), target.as_fd());
    };
    let union = ManuallyDrop::new(union(mount, layers)?);
    let target = ManuallyDrop::new(open_target(&mount.target, true)?);
    move_to(union.as_fd(), target.as_fd())
}

/// Not to be closed; exec closes it.
fn open_target(target: &CStr, is_folder: bool) -> Result<OwnedFd, Errno> {
    let kind = match is_folder {
        true => OFlags::DIRECTORY,
        false => OFlags::empty(),
    };
    openat2(
        CWD,
        target,
        OFlags::PATH | OFlags::CLOEXEC | kind,
        Mode::empty(),
        ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS,
    )
}

fn move_to(tree: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<(), Errno> {
    let by_fd = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(tree, c"", target, c"", by_fd)
}

fn put_stdio(spec: &Spec) -> Result<(), Fault> {
    let [stdin, stdout, stderr] = &spec.stdio;
    for (number, fd) in [(0, stdin), (1, stdout), (2, stderr)] {
        duplicate(fd.as_fd(), i32::from(number))
            .map_err(|errno| Fault(Stage::Stdio, number, errno))?;
    }
    Ok(())
}

/// Makes the program end with SIGSYS at its first system call, without a core file.
fn end_at_first_call(filter: &[libc::sock_filter]) -> Result<(), Errno> {
    // A filter needs it once CAP_SYS_ADMIN is gone.
    set_no_new_privs(true)?;
    setrlimit(Resource::Core, NO_CORE)?;
    privileges::load(filter)
}

fn execute(spec: &Spec) -> Errno {
    // SAFETY: the path is a C string, and both tables end with a null pointer and hold pointers to
    // C strings that are valid as long as the spec. execve only returns when it has failed.
    unsafe {
        libc::execve(
            spec.program.as_ptr(),
            spec.argv.as_ptr(),
            spec.environment.as_ptr(),
        );
    }
    last_errno()
}
