//! What is mounted where the program finds its data.

use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags, StatxFlags, openat2, statx};
use rustix::io::Errno;

use super::Drift;
use crate::targets::{self, MountNamespace, Visit};
use tenantd_core::plan::model::{DatastorePlan, Seed, TenantPlan};

pub(super) fn verify(tenant: &TenantPlan, pid: u32) -> io::Result<Vec<Drift>> {
    let pid = i32::try_from(pid).map_err(io::Error::other)?;
    let Some(namespace) = MountNamespace::of(pid)? else {
        return Err(io::ErrorKind::NotFound.into());
    };
    let datastore = &tenant.datastore;
    let wanted = targets::resolved(&targets::of(&tenant.launch, datastore));
    let visits = [Visit {
        namespace,
        seal: false,
    }];
    let visited = targets::visit(&visits, &wanted)?;
    let unmounted = visited
        .into_iter()
        .next()
        .transpose()?
        .map(|it| it.unmounted);
    let unmounted = unmounted.unwrap_or_default();
    let mut drifts: Vec<Drift> = unmounted.iter().map(|path| taken(path)).collect();
    let mut binds = binds(datastore);
    binds.retain(|(target, _)| !unmounted.contains(target));
    let [Visit { namespace, .. }] = &visits;
    drifts.extend(foreign(namespace, &binds)?);
    Ok(drifts)
}

fn taken(path: &Path) -> Drift {
    Drift {
        what: "mount",
        planned: format!("{} mounted", path.display()),
        found: "not mounted".to_owned(),
    }
}

/// Where folders of the host are bound. In an overlay is another filesystem.
fn binds(datastore: &DatastorePlan) -> Vec<(PathBuf, PathBuf)> {
    let overlays = datastore.folders.iter();
    let overlays = overlays.filter(|folder| matches!(folder.seed, Seed::Overlay));
    let overlays: Vec<&Path> = overlays.map(|folder| folder.target.as_path()).collect();
    let targets = datastore
        .targets()
        .filter(|target| !overlays.contains(target));
    targets
        .filter_map(|target| Some((target.to_owned(), datastore.place_of(target)?)))
        .collect()
}

/// A folder by its device and its inode; `None` if it does not exist.
type Identity = Option<(u32, u32, u64)>;

/// Which folder is at a path that leads through no link, in the mount namespace of the calling thread.
fn identity(path: &Path) -> Result<Identity, Errno> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let folder = match openat2(CWD, path, flags, Mode::empty(), resolve) {
        Ok(folder) => folder,
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(None),
        Err(errno) => return Err(errno),
    };
    let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
    let found = statx(&folder, c"", flags, StatxFlags::INO)?;
    Ok(Some((
        found.stx_dev_major,
        found.stx_dev_minor,
        found.stx_ino,
    )))
}

/// The folders that are bound and are not those of the plan.
fn foreign(namespace: &MountNamespace, binds: &[(PathBuf, PathBuf)]) -> io::Result<Vec<Drift>> {
    let planned: Result<Vec<Identity>, Errno> =
        binds.iter().map(|(_, source)| identity(source)).collect();
    let found: Result<Vec<Identity>, Errno> = targets::on_own_thread(|| {
        namespace
            .enter()
            .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        binds.iter().map(|(target, _)| identity(target)).collect()
    })?;
    let (planned, found) = (planned?, found?);
    let all = binds.iter().zip(planned).zip(found);
    let drifts = all.filter(|((_, planned), found)| planned != found || planned.is_none());
    Ok(drifts
        .map(|(((target, source), planned), _)| Drift {
            what: "folder of a datastore",
            planned: format!("{} at {}", source.display(), target.display()),
            found: match planned {
                Some(_) => "another folder".to_owned(),
                None => format!("{} does not exist", source.display()),
            },
        })
        .collect())
}
