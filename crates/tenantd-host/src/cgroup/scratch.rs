//! The cgroup of a scratch run, see [`crate::scratch`]: everything in it ends with the scratch run.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::{Leaf, failure, make, mounted};
use crate::process::start_ticks;
use tenantd_core::name::TenantName;
use tenantd_core::stage::{Failure, Stage};

/// The folder of all scratch runs, at the top of the tree.
const TOP: &str = "tenantd-learn";

/// Makes the cgroup of a scratch run of this process. Its name says whose it is, so that a later scratch run
/// removes it if this process and all that it started for the scratch run were killed.
///
/// # Errors
/// A [`Failure`] of stage cgroup; also if there is no cgroup tree of version 2.
pub fn begin(tenant: &TenantName) -> Result<Leaf, Failure> {
    let missing = || {
        let why = "there is no cgroup tree of version 2: it is needed to end all that a scratch run starts";
        Failure::detail(Stage::Cgroup, "/sys/fs/cgroup", why)
    };
    let top = mounted().ok_or_else(missing)?.join(TOP);
    sweep(&top, tenant)?;
    let pid = i32::try_from(std::process::id()).unwrap_or_default();
    let path = top.join(format!("{pid}-{}", start_ticks(pid).unwrap_or_default()));
    make(&path).map_err(|(path, error)| failure(&path, &error))?;
    Ok(Leaf::new(path, tenant.clone()))
}

/// The same cgroup for another process, which has the folder of the tree open as `top`.
#[must_use]
pub fn of(top: &Path, name: &str, tenant: &TenantName) -> Leaf {
    Leaf::new(top.join(TOP).join(name), tenant.clone())
}

/// The tree that the leaf of a scratch run is in, and the leaf's name.
#[must_use]
pub fn place(leaf: &Leaf) -> Option<(PathBuf, String)> {
    let name = leaf.path().file_name()?.to_str()?.to_owned();
    let top = leaf.path().parent()?.parent()?.to_owned();
    Some((top, name))
}

/// Kills all processes of a scratch run and removes its cgroup. Succeeds if there is none.
///
/// # Errors
/// A [`Failure`] of stage end or cgroup.
pub fn end(leaf: &Leaf) -> Result<(), Failure> {
    leaf.kill_all()?;
    let mut removed = leaf.remove();
    // A process that was killed is in its cgroup until it has ended.
    for _ in 0..500 {
        if removed.is_ok() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
        leaf.kill_all()?;
        removed = leaf.remove();
    }
    removed?;
    match leaf.path().parent().map(fs::remove_dir) {
        // Another scratch run uses it.
        None | Some(Ok(())) => Ok(()),
        Some(Err(error)) if is_kept(&error) => Ok(()),
        Some(Err(error)) => Err(failure(leaf.path(), &error)),
    }
}

fn is_kept(error: &io::Error) -> bool {
    let kept = [libc::EBUSY, libc::ENOTEMPTY];
    error.kind() == ErrorKind::NotFound || error.raw_os_error().is_some_and(|it| kept.contains(&it))
}

/// Ends the scratch runs whose process is gone.
fn sweep(top: &Path, tenant: &TenantName) -> Result<(), Failure> {
    let entries = match fs::read_dir(top) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failure(top, &error)),
    };
    for entry in entries {
        let entry = entry.map_err(|error| failure(top, &error))?;
        let name = entry.file_name();
        let owner = name.to_str().and_then(|name| name.split_once('-'));
        let Some((pid, ticks)) = owner else {
            continue;
        };
        let now = pid.parse().ok().and_then(start_ticks);
        if now.map(|now| now.to_string()).as_deref() != Some(ticks) {
            end(&Leaf::new(entry.path(), tenant.clone()))?;
        }
    }
    Ok(())
}
