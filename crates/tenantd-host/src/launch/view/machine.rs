//! The id of the machine in a tenant, see machine-id(5): one of its own, derived from that of the host.
//!
//! The file is mounted over the host's, as those of [`names`](super::names) are: if the host replaces its file, the tenant
//! sees the host's id until its next launch.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::{on, opened};
use crate::launch::Order;
use crate::launch::mounts::Mounts;
use crate::launch::trees;
use tenantd_core::machine_id;
use tenantd_core::plan::model::MACHINE_IDS;
use tenantd_core::stage::{Failure, Stage};

const STAGE: Stage = Stage::Files;

/// The name of the file in the tenant's runtime folder.
pub(crate) const FILE: &str = "machine-id";

/// Adds the files, where the host has them and nothing of the tenant's is there. Not one that the manifest shows.
///
/// # Errors
/// A [`Failure`] of stage files.
pub(in crate::launch) fn id(order: &Order<'_>, mounts: &mut Mounts) -> Result<(), Failure> {
    let mut added: Vec<PathBuf> = Vec::new();
    let mut is_written = false;
    for path in MACHINE_IDS.map(Path::new) {
        let failed =
            |error: io::Error| on(STAGE, path)(Errno::from_io_error(&error).unwrap_or(Errno::IO));
        let (real, text) =
            match fs::canonicalize(path).and_then(|real| Ok((fs::read_to_string(&real)?, real))) {
                Ok((text, real)) => (real, text),
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(failed(error)),
            };
        // Before the first boot has ended it is a word.
        let Some(host) = machine_id::parse(&text) else {
            continue;
        };
        let is_shown = order.launch.view.visible.iter().any(|shown| shown == path);
        if is_shown || added.contains(&real) || is_tenants(order, mounts, &real) {
            continue;
        }
        let own = super::names::folder(order.label).join(FILE);
        // A tenant has one id, also if the host's second file has another than the first. A second write would
        // replace the file of the first mount, and a mount of a file without a name cannot be moved to its place.
        if !is_written {
            let id = machine_id::derived(host, &format!("tenantd:{}", order.label));
            write(&own, &format!("{}\n", machine_id::plain(id))).map_err(failed)?;
            is_written = true;
        }
        let tree = opened(&own).and_then(|found| trees::clone_alone(&found, true));
        mounts.add(STAGE, tree.map_err(on(STAGE, path))?, &real)?;
        added.push(real);
    }
    Ok(())
}

/// Whether the file is in a folder of the tenant.
fn is_tenants(order: &Order<'_>, mounts: &Mounts, file: &Path) -> bool {
    let mut folders = mounts.targets().map(|(_, target)| target);
    let mut private = order.launch.private.iter();
    folders.any(|folder| file.starts_with(folder)) || private.any(|folder| file.starts_with(folder))
}

/// Writes it, unless it is there.
fn write(path: &Path, text: &str) -> io::Result<()> {
    if fs::read_to_string(path).is_ok_and(|found| found == text) {
        return Ok(());
    }
    let new = path.with_extension("new");
    fs::write(&new, text)?;
    fs::set_permissions(&new, fs::Permissions::from_mode(0o444))?;
    fs::rename(&new, path)
}
