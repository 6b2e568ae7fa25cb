//! A tenant's folders for a rehearsal of its launch: as they are, or as they would be made, and
//! read-only. Nothing is made, and nothing is claimed.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{StatVfsMountFlags, fstatvfs};
use rustix::io::Errno;

use super::folders::{no_seed, open_host};
use super::{Known, check_mounted, convert, failure, layout, open};
use tenantd_core::name::{AppName, TenantName};
use tenantd_core::plan::model::{DatastorePlan, FolderPlan, Seed};
use tenantd_core::stage::Failure;

/// What a tenant would see at a path.
#[derive(Debug)]
pub(crate) struct Shown {
    /// The path.
    pub(crate) target: PathBuf,
    /// The folders whose contents it would see there, the uppermost first; none if it would be a new
    /// and empty one.
    pub(crate) layers: Vec<OwnedFd>,
    /// Whether the lowest of them is the host's, not the datastore's.
    pub(crate) of_host: bool,
}

/// Checks that the provision would take the datastore for the one that the tenant had before.
///
/// # Errors
/// The [`Failure`] that [`claim`](super::claim) would have.
pub(crate) fn claim(
    app: &AppName,
    tenant: &TenantName,
    plan: &DatastorePlan,
) -> Result<(), Failure> {
    let known = Known::read(app, tenant, plan)?;
    check_mounted(plan)?;
    match open(&plan.source) {
        Ok(datastore) => known.check_found(datastore.as_fd()).map(drop),
        Err(Errno::NOENT) => known.check_missing(),
        // [`shown`] says it.
        Err(_) => Ok(()),
    }
}

/// Looks at the folders of a datastore.
///
/// # Errors
/// A [`Failure`] of stage datastore: what would keep the datastore or a folder from being made.
pub(crate) fn shown(plan: &DatastorePlan) -> Result<Vec<Shown>, Failure> {
    let source = match open(&plan.source) {
        Ok(source) => Some(source),
        Err(Errno::NOENT) => {
            can_be_made(plan)?;
            None
        }
        Err(errno) => return Err(failure(&plan.source, errno)),
    };
    check_mounted(plan)?;
    if let Some(source) = &source {
        convert::rehearse(plan, source.as_fd())?;
    }
    let is_plain = match &source {
        None => false,
        Some(source) => {
            let own = layout::open_own(source.as_fd());
            own.map_err(|errno| failure(&plan.source, errno))?.is_none()
        }
    };
    let mut all = Vec::new();
    if let Some(target) = plan.target.as_deref() {
        let place = match is_plain {
            true => plan.source.clone(),
            false => plan.place(target),
        };
        all.push(Shown {
            target: target.to_owned(),
            layers: existing(&place)?.into_iter().collect(),
            of_host: false,
        });
    }
    for folder in &*plan.folders {
        let found = match is_plain {
            // The conversion puts what is there to the path of the datastore.
            true => None,
            false => existing(&plan.place(&folder.target))?,
        };
        let of_host = found.is_none() || folder.seed == Seed::Overlay;
        all.push(Shown {
            target: folder.target.clone(),
            of_host,
            layers: layers(folder, found)?,
        });
    }
    Ok(all)
}

fn existing(place: &Path) -> Result<Option<OwnedFd>, Failure> {
    match open(place) {
        Ok(found) => Ok(Some(found)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(failure(place, errno)),
    }
}

/// The layers of a folder that exists as `found`, or is made at the launch.
fn layers(folder: &FolderPlan, found: Option<OwnedFd>) -> Result<Vec<OwnedFd>, Failure> {
    let seed = |path: &Path| open_host(path).map_err(|errno| no_seed(path, errno));
    Ok(match (&folder.seed, found) {
        (Seed::Overlay, Some(found)) => vec![found, seed(&folder.target)?],
        (Seed::Empty | Seed::Copy | Seed::Template(_), Some(found)) => vec![found],
        (Seed::Empty, None) => Vec::new(),
        (Seed::Copy | Seed::Overlay, None) => vec![seed(&folder.target)?],
        (Seed::Template(path), None) => vec![seed(path)?],
    })
}

/// Checks that the provision could make the datastore.
fn can_be_made(plan: &DatastorePlan) -> Result<(), Failure> {
    if plan.must_exist {
        return Err(super::must_exist(plan));
    }
    let mut above = plan.root.parent().unwrap_or(&plan.root);
    // Below the root, the folders that exist count.
    for folder in plan.source.ancestors().skip(1) {
        if !folder.starts_with(above) {
            break;
        }
        if open(folder).is_ok() {
            above = folder;
            break;
        }
    }
    let folder = open(above).map_err(|errno| failure(above, errno))?;
    let system = fstatvfs(&folder).map_err(|errno| failure(above, errno))?;
    match system.f_flag.contains(StatVfsMountFlags::RDONLY) {
        true => Err(failure(&plan.source, Errno::ROFS)),
        false => Ok(()),
    }
}
