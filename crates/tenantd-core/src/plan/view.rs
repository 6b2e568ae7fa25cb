//! Derives what tenants see of the host's files, and checks it.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use toml::Spanned;

use super::fields::See;
use super::fields::field::Key::{First, Later};
use super::fields::field::relaunches;
use super::model::{Bound, CONTROL, DEVICES, HostAccess, MACHINE_IDS, Measure, OWN, ViewPlan};
use super::paths::{AppPaths, outermost};
use super::secrets;
use crate::manifest::problem::Problems;
use crate::manifest::raw::Manifest;
use crate::manifest::value;

/// The default of `private_size`: 1 GiB.
pub(super) const PRIVATE_SIZE: u64 = 1 << 30;

/// What tenants may do with the host's files. Read-only if the value is invalid.
pub(super) fn access(manifest: &Manifest) -> HostAccess {
    match manifest.app.host.as_ref().map(Spanned::get_ref) {
        Some(value::HostAccess::Writable) => HostAccess::Writable,
        Some(value::HostAccess::ReadOnly) | None => HostAccess::ReadOnly,
    }
}

/// Derives the view of the tenants, and reports paths in it that are invalid.
pub(super) fn view(manifest: &Manifest, app_paths: &AppPaths, problems: &mut Problems) -> ViewPlan {
    let host = access(manifest);
    check_shared(host, app_paths, problems);
    check_visible(host, app_paths, problems);
    secrets::check(manifest, problems);
    if host == HostAccess::ReadOnly {
        check_program(app_paths, problems);
    }
    let plain = |paths: &[Spanned<PathBuf>]| paths.iter().map(|it| it.get_ref().clone()).collect();
    let size = manifest.app.private_size.as_ref();
    ViewPlan {
        host,
        shared: outermost(plain(&app_paths.shared)),
        visible: outermost(plain(&app_paths.visible)),
        private_size: size.map_or(PRIVATE_SIZE, |size| size.get_ref().0),
        private_modes: app_paths.private_modes.clone(),
    }
}

/// Visits its parts.
pub(super) fn fields(view: &ViewPlan, see: See<'_>) {
    let ViewPlan {
        host,
        shared,
        visible,
        private_size,
        // Part of the private folders.
        private_modes: _,
    } = view;
    let read_only = *host == HostAccess::ReadOnly;
    let own = OWN.join(", ");
    let value = match host {
        HostAccess::ReadOnly => format!("read-only, with own {own}"),
        HostAccess::Writable => "writable".to_owned(),
    };
    see(relaunches(Later("host"), "host", &value).default_is(read_only));
    for path in shared {
        let path = path.display();
        see(relaunches(Later("shared"), "shared", &"the host's").item(&path));
    }
    for path in visible {
        let path = path.display();
        see(relaunches(Later("visible"), "visible", &"the host's").item(&path));
    }
    let at_default = *private_size == PRIVATE_SIZE;
    let size = Bound::Number(*private_size).shown(Measure::Bytes);
    see(relaunches(Later("private size"), "private size", &size).default_is(at_default));
}

/// Visits the private folders.
pub(super) fn private_fields(private: &[PathBuf], view: &ViewPlan, see: See<'_>) {
    for path in private {
        let value = match view.private_modes.get(path) {
            Some(mode) => format!("empty, mode {mode:04o}"),
            None => "empty".to_owned(),
        };
        let path = path.display();
        see(relaunches(First("private"), "private", &value).item(&path));
    }
}

/// The private folders as JSON: paths, and tables where the manifest sets a mode.
pub(super) fn private_data(private: &[PathBuf], view: &ViewPlan) -> Value {
    let each = private
        .iter()
        .map(|path| match view.private_modes.get(path) {
            Some(mode) => json!({ "path": path, "mode": format!("{mode:04o}") }),
            None => json!(path),
        });
    each.collect()
}

fn check_shared(host: HostAccess, app_paths: &AppPaths, problems: &mut Problems) {
    let overlaps = |path: &Path, other: Option<&Spanned<PathBuf>>| {
        let other = other.map(Spanned::get_ref);
        other.is_some_and(|other| other.starts_with(path) || path.starts_with(other))
    };
    for shared in &app_paths.shared {
        let path = shared.get_ref();
        let name = path.display();
        let (message, help) = if host == HostAccess::Writable {
            (
                format!("{name} is writable already: `host` is \"writable\""),
                "remove it, or set `host = \"read-only\"`",
            )
        } else if path == Path::new("/") {
            (
                "`/` cannot be shared".to_owned(),
                "to let tenants write wherever their user can, set `host = \"writable\"`",
            )
        } else if overlaps(path, app_paths.datastores.as_ref()) {
            (
                format!("the shared path {name} and the folder of datastores overlap"),
                "use a folder outside of it: each tenant sees only its own datastore",
            )
        } else if app_paths.data().any(|data| overlaps(path, Some(data))) {
            (
                format!("the shared path {name} and the datastore overlap"),
                "remove it: the datastore is writable already",
            )
        } else if app_paths.private.iter().any(|it| it.get_ref() == path) {
            (
                format!("{name} is private and shared"),
                "remove it from `private` or from `shared`",
            )
        } else {
            continue;
        };
        problems.report(&shared.span(), message).help(help);
    }
}

fn check_visible(host: HostAccess, app_paths: &AppPaths, problems: &mut Problems) {
    for visible in &app_paths.visible {
        let path = visible.get_ref();
        let inside = |outer: &Path| path.starts_with(outer) && path != outer;
        let own = host == HostAccess::ReadOnly && OWN.iter().any(|own| inside(Path::new(own)));
        let control = CONTROL.iter().any(|folder| path.starts_with(folder));
        let machine = (MACHINE_IDS.iter().chain([&DEVICES])).any(|it| path == Path::new(it));
        if own || control || machine || app_paths.private.iter().any(|it| inside(it.get_ref())) {
            continue;
        }
        let message = format!("{} is in no private folder", path.display());
        let problem = problems.report(&visible.span(), message);
        match path.strip_prefix("/var/run") {
            Ok(below) if host == HostAccess::ReadOnly => problem.help(format!(
                "name it by its path below `/run`: `/run/{}`",
                below.display()
            )),
            Ok(_) | Err(_) => problem.help("remove it: tenants see the rest of the host anyway"),
        };
    }
}

/// The program must be visible to tenants.
fn check_program(app_paths: &AppPaths, problems: &mut Problems) {
    let Some(program) = &app_paths.program else {
        return;
    };
    let hides = |own: &&&str| app_paths.holds_program(Path::new(own));
    let Some(own) = OWN.iter().find(hides) else {
        return;
    };
    let shown = app_paths.visible.iter().chain(&app_paths.shared);
    let mut shown = shown.map(Spanned::get_ref);
    if shown.any(|shown| app_paths.holds_program(shown)) {
        return;
    }
    let path = program.get_ref().display();
    let message = format!("tenants do not see the program {path}: their {own} is their own");
    problems.report(&program.span(), message).help(format!(
        "move it, or make it visible: `visible = [\"{path}\"]`"
    ));
}
