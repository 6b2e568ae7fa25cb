//! Whether this process may read logs itself.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::FOLDER;
use super::files::Generations;
use tenantd_api::wire::LogPlace;
use tenantd_core::name::{AppName, TenantName};

/// Where the journal's files are, see systemd-journald.service(8).
const JOURNALS: [&str; 2] = ["/var/log/journal", "/run/log/journal"];

/// Whether the supervisor must be asked for the logs of these tenants, because this process may not read them.
pub(super) fn needs_deputy(app: &AppName, place: LogPlace, tenants: &[TenantName]) -> bool {
    if rustix::process::geteuid().is_root() {
        return false;
    }
    match place {
        LogPlace::Journal => !system_journals()
            .iter()
            .any(|path| File::open(path).is_ok()),
        LogPlace::Files => {
            let folder = Path::new(FOLDER).join(app.as_str());
            let newest = |tenant| Generations::of(&folder, tenant).newest;
            tenants.iter().map(newest).any(|path| is_closed(&path))
        }
    }
}

/// The files of the journal that only some groups may read.
fn system_journals() -> Vec<PathBuf> {
    let folders = JOURNALS
        .into_iter()
        .filter_map(|path| fs::read_dir(path).ok());
    let machines = folders.flatten().filter_map(Result::ok);
    machines
        .map(|machine| machine.path().join("system.journal"))
        .collect()
}

fn is_closed(path: &Path) -> bool {
    File::open(path).is_err_and(|error| error.kind() == ErrorKind::PermissionDenied)
}
