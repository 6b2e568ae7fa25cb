//! Folders of the host outside of the tenant's own ones that have sockets by which services take orders, see
//! [`CONTROL`].
//!
//! A read-only mount does not prevent connecting to a socket. So the whole folder is covered, and in the cover is
//! only what the manifest names. A cover over a single socket would be gone as soon as the service makes the socket
//! again.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::on;
use super::own::OwnFolders;
use tenantd_core::plan::model::{CONTROL, LaunchPlan};
use tenantd_core::plan::phase::Phase;
use tenantd_core::stage::{Failure, Stage};

const STAGE: Stage = Stage::Hide;

/// Covers those that exist.
///
/// # Errors
/// A [`Failure`] of stage hide.
pub(super) fn seal(
    launch: &LaunchPlan,
    mounted: &[(Stage, PathBuf)],
    own: &mut OwnFolders,
) -> Result<(), Failure> {
    for folder in CONTROL.map(Path::new) {
        // Most hosts have few of them, and one call tells that.
        let found = std::fs::metadata(folder).and_then(|_| std::fs::canonicalize(folder));
        let real = match found {
            Ok(real) => real,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => {
                let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
                return Err(on(STAGE, folder)(errno));
            }
        };
        let is_own = own.is_one(&real) || own.holds(&real);
        if !is_own && !is_listed(launch, &real) && !is_tenants(launch, mounted, &real) {
            own.seal(real)?;
        }
    }
    Ok(())
}

/// Whether the manifest names the whole folder, or one that contains it.
fn is_listed(launch: &LaunchPlan, folder: &Path) -> bool {
    let shared = &launch.view.shared;
    launch.view.visible.iter().any(|path| path == folder)
        || shared.iter().any(|path| path == folder)
}

/// Whether something of the tenant's own is at the folder or above it, or its program is in it.
fn is_tenants(launch: &LaunchPlan, mounted: &[(Stage, PathBuf)], folder: &Path) -> bool {
    let mounted = mounted.iter().map(|(_, target)| target);
    let mut above = mounted.chain(&*launch.private);
    let phases = [Phase::Main, Phase::Init, Phase::Before];
    let mut executed = phases.iter().filter_map(|phase| launch.executed(*phase));
    above.any(|target| folder.starts_with(target))
        || executed.any(|it| it.program.starts_with(folder))
        || launch.working_directory.starts_with(folder)
}
