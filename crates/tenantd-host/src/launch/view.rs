//! What a tenant sees of the host's files.
//!
//! The host is read-only for a tenant, which has folders of its own where programs expect to be able
//! to write: `/run`, `/tmp`, `/var/tmp`, `/dev/shm`, and a small `/dev`. The child makes all mounts
//! of its namespace read-only with one mount_setattr(2), and then attaches mounts that were made
//! here, before: those stay writable.
//!
//! A mount that the host makes later arrives in the namespace as the host made it: writable. So the
//! child also restricts itself with Landlock, which permits writing only beneath what is the
//! tenant's own; see [`lid`].
//!
//! Mount points that the host does not have are made inside the tenant, never on the host: below
//! `/run` and the like in the tenant's own folder, elsewhere in a union over the folder that would
//! contain them, see [`missing`].

mod control;
mod files;
pub(super) mod lid;
pub(crate) mod machine;
mod missing;
pub(crate) mod names;
pub(super) mod own;
pub(super) mod secrets;
mod sys;

use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2, stat};
use rustix::io::Errno;

use super::domain::{Domain, Rules};
use super::mounts::Mounts;
use super::templates::spares::Kind;
use super::templates::{MountTemplates, Taken};
use super::tmpfs::{Owner, Tmpfs};
use super::trees;
use super::{Lid, Order};
pub(super) use names::names;
use own::OwnFolders;
use tenantd_core::layout;
use tenantd_core::plan::model::{DEVICES, HostAccess, Identity, LaunchPlan};
use tenantd_core::plan::phase::Phase;
use tenantd_core::stage::{Failure, Stage};

/// What the child does with the host's files.
pub(super) struct View {
    /// Whether it makes them read-only.
    pub(super) read_only: bool,
    /// The mounts that it makes writable again.
    pub(super) writable: &'static [&'static std::ffi::CStr],
    /// The mount points of the cgroup file systems, which it makes read-only if all others are not.
    pub(super) cgroups: Vec<CString>,
    /// The Landlock rules that it applies to itself; `None` if it has no domain.
    pub(super) rules: Option<Rules>,
    /// The domain that these make.
    pub(super) domain: Domain,
    /// What prevents writing to the host's files.
    pub(super) lid: Lid,
    /// What it has taken of the mounts that were made before.
    pub(super) taken: Vec<Kind>,
}

/// Mounts of the kernel's own state, which has its own permissions: `/proc/self/oom_score_adj` and
/// the like.
const WRITABLE: &[&std::ffi::CStr] = &[c"/proc"];

/// Adds to `mounts`, which contains those of the datastore, all others: private and hidden folders, files,
/// and the tenant's own where the host is read-only.
///
/// # Errors
/// A [`Failure`] of the stage to which the mount belongs.
pub(super) fn view(
    launch: &LaunchPlan,
    templates: &MountTemplates,
    is_rehearsal: bool,
    mounts: &mut Mounts,
) -> Result<View, Failure> {
    let read_only = launch.view.host == HostAccess::ReadOnly;
    let mut wanted: Vec<(Stage, PathBuf)> = mounts
        .targets()
        .map(|(stage, target)| (stage, target.to_owned()))
        .collect();
    let mut taken = Taken::none(templates);
    let mut own = match read_only {
        true => own_folders(launch, &wanted, &mut taken)?,
        false => OwnFolders::default(),
    };
    control::seal(launch, &wanted, &mut own)?;
    private(launch, &own, mounts, &mut wanted)?;
    for (stage, path) in bound(launch, &own, mounts) {
        let tree = host_tree(&path, stage == Stage::Visible).map_err(on(stage, &path))?;
        own.place(stage, &path, &tree)?;
        mounts.add(stage, tree, &path)?;
    }
    for (stage, target, tree) in mounts.files() {
        own.place(stage, target, tree)?;
    }
    for (stage, target) in wanted.iter().filter(|(stage, _)| *stage != Stage::Files) {
        own.folder(*stage, target, Owner::ROOT)?;
    }
    if let Some((socket, folder)) = notify_socket(launch) {
        own.link(Stage::Own, socket, &folder)?;
    }
    hide(launch, &own, &mut taken, mounts, &mut wanted)?;
    if is_rehearsal {
        // The provision makes the folder of the datastores.
        wanted.retain(|(stage, target)| *stage != Stage::Hide || exists(target));
        mounts.retain(|stage, target| stage != Stage::Hide || exists(target));
    }
    secrets::add(launch, &own, mounts)?;
    let added = files::write(launch, &own, mounts, is_rehearsal)?;
    // A writable host must have the mount points.
    let elsewhere = wanted
        .iter()
        .filter(|(_, target)| read_only && !own.holds(target));
    missing::add(elsewhere, &added, &mut taken, mounts)?;
    own.attach(mounts)?;
    sys::add(launch, &mut taken, mounts)?;
    for (path, tree) in templates.proc(launch.wall.hidepid)? {
        mounts.add(Stage::Own, tree, &path)?;
    }
    let (rules, domain) = lid::rules(launch, read_only)?;
    Ok(View {
        read_only,
        writable: WRITABLE,
        cgroups: match read_only {
            true => Vec::new(),
            false => templates.cgroups()?,
        },
        lid: lid::of(read_only, domain),
        domain,
        rules,
        taken: taken.kinds,
    })
}

/// The tenant's own folders on a read-only host.
fn own_folders(
    launch: &LaunchPlan,
    wanted: &[(Stage, PathBuf)],
    taken: &mut Taken<'_>,
) -> Result<OwnFolders, Failure> {
    let plan = &launch.view;
    let others = launch.private.iter().chain(&plan.shared);
    let others = others.chain(&plan.visible).map(PathBuf::as_path);
    OwnFolders::make(taken, plan.private_size, wanted, others)
}

/// The tenant's `/dev` alone.
///
/// # Errors
/// A [`Failure`] of stage own.
pub(super) fn devices(size: u64) -> Result<Vec<(PathBuf, OwnedFd)>, Failure> {
    OwnFolders::devices(size)
}

fn exists(path: &Path) -> bool {
    stat(path).is_ok()
}

pub(super) fn on(stage: Stage, object: &Path) -> impl Fn(Errno) -> Failure {
    move |errno| Failure::errno(stage, object.display().to_string(), errno.raw_os_error())
}

/// Adds the private folders. Those in one of the tenant's own folders are folders there, except in
/// `/dev`, which is read-only.
fn private(
    launch: &LaunchPlan,
    own: &OwnFolders,
    mounts: &mut Mounts,
    wanted: &mut Vec<(Stage, PathBuf)>,
) -> Result<(), Failure> {
    let stage = Stage::Private;
    for target in &*launch.private {
        let mode = launch.view.private_modes.get(target).copied();
        if own.is_one(target) {
            if let Some(mode) = mode {
                own.set_mode(target, mode).map_err(on(stage, target))?;
            }
            continue;
        }
        let mut owner = covered(target, &launch.identity).map_err(on(stage, target))?;
        owner.mode = mode.unwrap_or(owner.mode);
        if own.is_writable_at(target) {
            own.folder(stage, target, owner)?;
            continue;
        }
        let tmpfs = Tmpfs::writable(owner, launch.view.private_size);
        mounts.add(stage, tmpfs.mount().map_err(on(stage, target))?, target)?;
        wanted.push((stage, target.clone()));
    }
    Ok(())
}

/// The owner and mode of a private folder: those of the host's folder that it covers. If there is
/// none, only root can write to it, or the tenant has a user of its own, it belongs to the tenant's user.
fn covered(target: &Path, identity: &Identity) -> Result<Owner, Errno> {
    let tenants = Owner {
        uid: identity.uid,
        gid: identity.gid,
        mode: 0o755,
    };
    match stat(target) {
        Ok(found) => {
            let mode = found.st_mode & 0o7777;
            let only_root = found.st_uid == 0 && mode & 0o022 == 0;
            Ok(match only_root || identity.own {
                true => Owner { mode, ..tenants },
                false => Owner {
                    uid: found.st_uid,
                    gid: found.st_gid,
                    mode,
                },
            })
        }
        Err(Errno::NOENT) => Ok(tenants),
        Err(errno) => Err(errno),
    }
}

/// The paths of the host that the tenant sees at the same path: shared and visible ones, and the
/// folder of the file to which resolv.conf(5) is a link, unless the tenant has one of its own.
fn bound(launch: &LaunchPlan, own: &OwnFolders, mounts: &Mounts) -> Vec<(Stage, PathBuf)> {
    let view = &launch.view;
    let shared = view.shared.iter().map(|path| (Stage::Shared, path.clone()));
    let visible = view
        .visible
        .iter()
        .map(|path| (Stage::Visible, path.clone()));
    let visible = visible.filter(|(_, path)| path != Path::new(DEVICES));
    let is_own = |folder: &PathBuf| mounts.files().any(|(_, file, _)| file.starts_with(folder));
    let resolver = own::resolver(own).filter(|path| !is_own(path));
    let resolver = resolver.map(|path| (Stage::Visible, path));
    shared.chain(visible).chain(resolver).collect()
}

/// Makes a mount of a path of the host, with the mounts below it, as a slave of the host's.
fn host_tree(path: &Path, read_only: bool) -> Result<OwnedFd, Errno> {
    trees::clone_host(&opened(path)?, read_only)
}

/// Opens a path of the host that leads through no symbolic link.
pub(super) fn opened(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    openat2(CWD, path, flags, Mode::empty(), resolve)
}

/// Adds the covers of the folders that contain datastores, except those below the tenant's own
/// folders, where it does not see them anyway. A folder that does not exist is covered too: it may
/// be made later.
fn hide(
    launch: &LaunchPlan,
    own: &OwnFolders,
    taken: &mut Taken<'_>,
    mounts: &mut Mounts,
    wanted: &mut Vec<(Stage, PathBuf)>,
) -> Result<(), Failure> {
    let stage = Stage::Hide;
    let ours = ours(launch, wanted);
    // In a cover is nothing, and so no mount point of another one.
    let inner = |target: &Path| ours.iter().any(|outer| target.starts_with(outer));
    let hidden = launch.hidden.iter().filter(|target| !inner(target));
    for target in hidden.chain(&ours) {
        if !own.is_one(target) && !own.holds(target) {
            let tree = taken.own(Kind::Cover).map_err(on(stage, target))?;
            mounts.add_folder(stage, tree, target)?;
            wanted.push((stage, target.clone()));
        }
    }
    Ok(())
}

/// Manifests, which may hold secrets of all tenants, their logs, and datastores of other applications.
const OURS: [&str; 3] = ["/etc/tenantd", "/var/log/tenantd", "/var/lib/tenantd"];

/// Folders of tenantd to hide besides those of the plan, where they exist. Not one that the launch refers to,
/// as by `{manifest_dir}`.
fn ours(launch: &LaunchPlan, wanted: &[(Stage, PathBuf)]) -> Vec<PathBuf> {
    let hidden = |folder: &Path| launch.hidden.iter().any(|outer| folder.starts_with(outer));
    // A folder in one of the tenant's is not the host's, and one with something of the tenant's is needed.
    let mounted = |folder: &Path| {
        let mut targets = wanted.iter().map(|(_, target)| target);
        targets.any(|target| target.starts_with(folder) || folder.starts_with(target))
    };
    let folders = OURS.iter().map(Path::new);
    folders
        .filter(|folder| exists(folder) && !hidden(folder) && !mounted(folder))
        .filter(|folder| !refers_to(launch, folder))
        .map(Path::to_path_buf)
        .collect()
}

fn refers_to(launch: &LaunchPlan, folder: &Path) -> bool {
    let paths = launch.view.shared.iter().chain(&launch.view.visible);
    let mut paths = paths.chain([&launch.working_directory]);
    if paths.any(|path| path.starts_with(folder)) {
        return true;
    }
    let folder_itself = folder.display().to_string();
    let below = format!("{folder_itself}/");
    // Also `DIR`, `--dir=DIR` and the last of `DIR:DIR`.
    let is_value = |before: &str| before.is_empty() || before.ends_with(['=', ':', ',']);
    let names = |word: &String| {
        word.contains(&below) || word.strip_suffix(&folder_itself).is_some_and(is_value)
    };
    if launch.visits.iter().any(names) {
        return true;
    }
    let phases = [Phase::Main, Phase::Init, Phase::Before];
    phases.iter().any(|phase| {
        launch.executed(*phase).is_some_and(|it| {
            it.program.starts_with(folder)
                || it.argv.iter().any(names)
                || it.environment.values().any(names)
        })
    })
}

/// The notify socket of a program that uses it, and where the tenant sees its folder.
fn notify_socket(launch: &LaunchPlan) -> Option<(&Path, PathBuf)> {
    let socket = Path::new(launch.environment.get("NOTIFY_SOCKET")?);
    // Otherwise another socket, which the manifest names.
    let below = socket.strip_prefix(layout::RUNTIME).ok()?;
    let app = below.parent()?.to_str().filter(|app| !app.is_empty())?;
    Some((socket, layout::sockets(app)))
}

/// Adds the folder of the tenant's notify socket, if the program uses it. Not the socket itself is bound
/// but its folder: a later supervisor makes a new socket there.
///
/// # Errors
/// A [`Failure`] of stage visible.
pub(super) fn notify(order: &Order<'_>, mounts: &mut Mounts) -> Result<(), Failure> {
    let (Some(folder), Some((_, target))) = (order.notify, notify_socket(order.launch)) else {
        return Ok(());
    };
    let stage = Stage::Visible;
    let tree = host_tree(folder, true).map_err(on(stage, folder))?;
    mounts.add(stage, tree, &target)
}

/// Adds the folder of the tenant's syslog socket, to which its `/dev/log` is a link, where it has a `/dev`
/// of its own. Not the socket itself is bound: a later log collector makes a new socket in the folder.
///
/// # Errors
/// A [`Failure`] of stage visible.
pub(super) fn syslog(order: &Order<'_>, mounts: &mut Mounts) -> Result<(), Failure> {
    let Some(folder) = order.syslog else {
        return Ok(());
    };
    if order.launch.view.host == HostAccess::Writable {
        return Ok(());
    }
    let stage = Stage::Visible;
    let tree = host_tree(folder, true).map_err(on(stage, folder))?;
    mounts.add(stage, tree, Path::new(layout::LOG))
}
