//! The applications of this host: those that run, and those that have a manifest in `/etc/tenantd`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use tenantd_api::client::Connection;
use tenantd_api::client::app;
use tenantd_api::client::survey::{PATIENCE, survey};
use tenantd_api::wire::AppStatus;
use tenantd_core::name::AppName;
use tenantd_core::plan::model::Plan;
use tenantd_daemon::manifest::ManifestFile;

/// The folder of manifests.
const MANIFESTS: &str = "/etc/tenantd";

/// What the supervisors that run say. Empty without the right to ask them.
pub(super) fn running() -> Vec<AppStatus> {
    let Ok(apps) = app::running() else {
        return Vec::new();
    };
    let asked = super::converse(async { Ok(survey(apps, PATIENCE).await) });
    let found = asked.into_iter().flatten();
    found.filter_map(|found| found.status.ok()).collect()
}

/// The process of the supervisor of an application, if one runs and answers.
pub(super) fn supervisor(app: &AppName) -> Option<u32> {
    let asked = super::converse(async {
        let mut connection = Connection::open(app).await?;
        Ok(connection.status(&[]).await?.pid)
    });
    asked.ok()
}

/// The plans of all manifests: those in the folder, and those of these supervisors. What cannot be read or has problems
/// is left out: `tenantd check` of that manifest says why.
pub(super) fn plans(running: &[AppStatus]) -> impl Iterator<Item = (PathBuf, Plan)> {
    let of_running = running.iter().filter_map(|status| status.manifest.clone());
    let manifests: BTreeSet<PathBuf> = in_folder(Path::new(MANIFESTS))
        .chain(of_running.map(PathBuf::from))
        .collect();
    manifests.into_iter().filter_map(|path| {
        let plan = ManifestFile::at(&path).ok()?.plan().ok()?;
        Some((path, plan))
    })
}

fn in_folder(folder: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path());
    paths.filter(|path| path.extension().is_some_and(|it| it == "toml"))
}
