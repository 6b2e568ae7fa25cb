//! Derives and checks the private folders.

use std::path::{Path, PathBuf};

use toml::Spanned;

use super::AppPaths;
use crate::manifest::problem::Problems;
use crate::manifest::raw::Manifest;
use crate::plan::model::HostAccess;
use crate::plan::view;

/// What `private = true` stands for where the host is writable. Its `/run` has no folder of the application.
const SHARED_PLACES: [&str; 3] = ["/dev/shm", "/tmp", "/var/tmp"];

/// The folders that `private = true` stands for, besides those that are a tenant's own.
pub(super) fn usual(manifest: &Manifest, app_paths: &AppPaths) -> Vec<Spanned<PathBuf>> {
    let Some(at) = &manifest.app.private.usual else {
        return Vec::new();
    };
    let paths = match (view::access(manifest), &manifest.app.name) {
        (HostAccess::Writable, _) => SHARED_PLACES.map(PathBuf::from).to_vec(),
        (HostAccess::ReadOnly, Some(name)) => {
            let run = Path::new("/run").join(name.get_ref().as_str());
            // Its data may be there.
            let mut data = app_paths.data().map(Spanned::get_ref);
            match data.any(|data| data.starts_with(&run) || run.starts_with(data)) {
                true => Vec::new(),
                false => vec![run],
            }
        }
        (HostAccess::ReadOnly, None) => Vec::new(),
    };
    let spanned = |path| Spanned::new(at.clone(), path);
    paths.into_iter().map(spanned).collect()
}

/// Reports private folders that cannot be.
pub(super) fn check(app_paths: &AppPaths, problems: &mut Problems) {
    for private in &app_paths.private {
        let path = private.get_ref();
        let name = path.display();
        let overlaps = |other: &Option<Spanned<PathBuf>>| {
            let other = other.as_ref().map(Spanned::get_ref);
            other.is_some_and(|other| other.starts_with(path) || path.starts_with(other))
        };
        let (message, help) = if path == Path::new("/") {
            ("`/` cannot be private".to_owned(), "use a folder below it")
        } else if app_paths.holds_program(path) {
            let message = format!("the private folder {name} would hide the program");
            (message, "use a folder that does not contain the program")
        } else if overlaps(&app_paths.target) {
            let message = format!("the private folder {name} and the datastore overlap");
            (
                message,
                "use a folder outside the datastore, which is private already",
            )
        } else if overlaps(&app_paths.datastores) {
            let message = format!("the private folder {name} and the folder of datastores overlap");
            (
                message,
                "remove it: the folder of datastores is hidden already",
            )
        } else {
            continue;
        };
        problems.report(&private.span(), message).help(help);
    }
    check_nested(app_paths, problems);
}

/// Private folders must not be nested: the outer one is empty, so the inner one would be missing.
fn check_nested(app_paths: &AppPaths, problems: &mut Problems) {
    let mut sorted: Vec<_> = app_paths.private.iter().collect();
    sorted.sort_by_key(|path| path.get_ref());
    for pair in sorted.windows(2) {
        let [outer, inner] = pair else { continue };
        let (above, path) = (outer.get_ref(), inner.get_ref());
        if path != above && path.starts_with(above) && above != Path::new("/") {
            let message = format!("{} is inside another private folder", path.display());
            problems
                .report(&inner.span(), message)
                .also(&outer.span(), "this folder is empty")
                .help("remove one of the two");
        }
    }
}
