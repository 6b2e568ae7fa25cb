//! Paths: what each of them is, and which of them get into each other's way.

use std::path::{Component, Path, PathBuf};

use toml::Spanned;

use super::facts::{HostFacts, ProgramFact};
use super::model::Readiness;
use crate::manifest::problem::{Problems, Span};
use crate::manifest::raw::{App, Manifest};
use crate::manifest::template::{Slot, Template};

/// The folder that is tenantd's own on the host: datastores lie in it unless the manifest says
/// otherwise, those of all applications.
pub const STATE: &str = "/var/lib/tenantd";

/// At most so many folders are hidden: each of them costs every tenant a mount.
pub const HIDDEN_MAX: usize = 8;

/// The longest path in bytes, less its NUL: `PATH_MAX` of linux/limits.h.
const PATH_BYTES: usize = 4095;

/// The paths of an application that are the same for all tenants, as far as they are known.
#[derive(Debug, Default)]
pub(super) struct AppPaths {
    /// The program.
    pub(super) program: Option<Spanned<PathBuf>>,
    /// The program without symbolic links.
    pub(super) real_program: Option<PathBuf>,
    /// Where the program looks for its data.
    pub(super) target: Option<Spanned<PathBuf>>,
    /// The folder that relative datastores lie in.
    pub(super) root: Option<Spanned<PathBuf>>,
    /// The folder that is hidden because the root is in it, or is it.
    pub(super) datastores: Option<Spanned<PathBuf>>,
    /// Empty folders of each tenant's own.
    pub(super) private: Vec<Spanned<PathBuf>>,
    /// The folder that the program starts in.
    pub(super) working_directory: Option<Spanned<PathBuf>>,
}

/// A path that has been filled in: absolute, without `..`, `.` or doubled slashes.
pub(super) fn clean(text: &str, span: &Span, problems: &mut Problems) -> Option<PathBuf> {
    let path = Path::new(text);
    let (message, help) = if !path.is_absolute() {
        let message = format!("the path {text:?} is relative");
        (message, "begin it with `/`, or with `{manifest_dir}/`")
    } else if path.components().any(|part| part == Component::ParentDir) {
        (
            format!("the path {text:?} holds `..`"),
            "name the folder itself",
        )
    } else if text.len() > PATH_BYTES {
        let message = format!("the path has {} bytes, 4095 are possible", text.len());
        (message, "name a shorter one")
    } else {
        return Some(path.components().collect());
    };
    problems.report(span, message).help(help);
    None
}

/// Reads the paths of the application and tells which of them cannot be, or not together.
pub(super) fn app_paths(
    manifest: &Manifest,
    folder: &str,
    host: &dyn HostFacts,
    problems: &mut Problems,
) -> AppPaths {
    let app = &manifest.app;
    let mut app_paths = AppPaths::default();
    if let Some(command) = &app.command {
        app_paths.program = filled(&command.get_ref().program, app, folder, None, problems);
    }
    if let Some(program) = &app_paths.program {
        app_paths.real_program = program_fact(program, host, problems);
    }
    let path = |template: &Option<Spanned<Template>>, problems: &mut Problems| {
        filled(template.as_ref()?, app, folder, None, problems)
    };
    app_paths.target = path(&app.datastore.path, problems);
    app_paths.root = path(&app.datastore.root, problems);
    app_paths.datastores = app_paths.root.as_ref().map(|root| {
        let inside = root.get_ref().starts_with(STATE);
        let datastores = if inside {
            Path::new(STATE)
        } else {
            root.get_ref()
        };
        Spanned::new(root.span(), datastores.to_owned())
    });
    let target = app_paths.target.as_ref().map(Spanned::get_ref);
    let fill = |template: &Spanned<Template>, problems: &mut Problems| {
        filled(template, app, folder, target, problems)
    };
    let start = app.working_directory.as_ref();
    app_paths.working_directory = start.and_then(|text| fill(text, problems));
    app_paths.private = app
        .private
        .iter()
        .flat_map(Spanned::get_ref)
        .filter_map(|text| fill(text, problems))
        .collect();
    check_target(&app_paths, problems);
    check_datastores(&app_paths, problems);
    check_private(&app_paths, problems);
    check_start(&app_paths, problems);
    app_paths
}

/// Fills in what a path of the application may hold. Nothing where a part of it is not known.
fn filled(
    template: &Spanned<Template>,
    app: &App,
    folder: &str,
    target: Option<&PathBuf>,
    problems: &mut Problems,
) -> Option<Spanned<PathBuf>> {
    let unknown = std::cell::Cell::new(false);
    let text = template.get_ref().fill(|slot| {
        let value = match slot {
            Slot::App => app.name.as_ref().map(|name| name.get_ref().to_string()),
            Slot::ManifestDir => Some(folder.to_owned()),
            Slot::Datastore => target.map(|path| path.display().to_string()),
            Slot::Tenant | Slot::Ip | Slot::Gateway => None,
        };
        unknown.set(unknown.get() || value.is_none());
        value.unwrap_or_default()
    });
    if unknown.get() {
        return None;
    }
    let path = clean(&text, &template.span(), problems)?;
    Some(Spanned::new(template.span(), path))
}

fn program_fact(
    program: &Spanned<PathBuf>,
    host: &dyn HostFacts,
    problems: &mut Problems,
) -> Option<PathBuf> {
    let path = program.get_ref().display();
    let (message, help) = match host.program(program.get_ref()) {
        ProgramFact::Executable(real) => return Some(real),
        ProgramFact::Missing => (
            format!("there is no program {path}"),
            "install it, or name the one that is installed",
        ),
        ProgramFact::NoFile => (
            format!("{path} is no file"),
            "name the program's file, not its folder",
        ),
        ProgramFact::NotExecutable => (
            format!("{path} cannot be executed"),
            "make it executable: chmod +x",
        ),
        ProgramFact::Unknown(errno) => (
            format!("cannot look at the program {path}: {}", errno.desc()),
            "make its folder readable",
        ),
    };
    problems.report(&program.span(), message).help(help);
    None
}

impl AppPaths {
    /// Whether a folder holds the program, under one of the names that it has.
    fn holds_program(&self, folder: &Path) -> bool {
        let program = self.program.as_ref().map(|path| path.get_ref().as_path());
        let names = [program, self.real_program.as_deref()];
        names
            .into_iter()
            .flatten()
            .any(|name| name.starts_with(folder))
    }

    /// Whether the datastore or a private folder is mounted over this folder anyway.
    pub(super) fn covers(&self, folder: &Path) -> bool {
        let mounts = self.target.iter().chain(&self.private);
        mounts
            .into_iter()
            .any(|mount| folder.starts_with(mount.get_ref()))
    }

    /// Why a folder cannot be covered, if it cannot.
    pub(super) fn needs(&self, folder: &Path) -> Option<&'static str> {
        let target = self.target.as_ref().map(Spanned::get_ref);
        if folder == Path::new("/") {
            Some("everything else")
        } else if self.holds_program(folder) {
            Some("the program")
        } else if target.is_some_and(|path| path.starts_with(folder)) {
            Some("the path of the datastore")
        } else if self
            .private
            .iter()
            .any(|path| path.get_ref().starts_with(folder))
        {
            Some("a private folder")
        } else {
            None
        }
    }
}

fn check_target(app_paths: &AppPaths, problems: &mut Problems) {
    let Some(target) = &app_paths.target else {
        return;
    };
    let path = target.get_ref();
    if path == Path::new("/") {
        problems
            .report(&target.span(), "the datastore cannot be bound at `/`")
            .help("name the folder in which the program keeps its data");
    } else if app_paths.holds_program(path) {
        problems
            .report(
                &target.span(),
                "the datastore would cover the program itself",
            )
            .help("name the folder in which the program keeps its data and nothing else");
    }
}

fn check_datastores(app_paths: &AppPaths, problems: &mut Problems) {
    let Some(datastores) = &app_paths.datastores else {
        return;
    };
    let path = datastores.get_ref();
    let name = path.display();
    let overlap = app_paths.target.as_ref().filter(|target| {
        let target = target.get_ref();
        target.starts_with(path) || (path.starts_with(target) && target != Path::new("/"))
    });
    if let Some(target) = overlap {
        let message = format!(
            "the datastore's path {} and the folder of all datastores overlap",
            target.get_ref().display()
        );
        problems
            .report(&target.span(), message)
            .also(
                &datastores.span(),
                format!("{name} holds all datastores and is hidden"),
            )
            .help("keep the datastores elsewhere, such as `root = \"/var/lib/tenantd/{app}\"`");
    } else if let Some(what) = app_paths
        .needs(path)
        .filter(|what| *what != "a private folder")
    {
        problems
            .report(
                &datastores.span(),
                format!("{name} holds all datastores and {what}, so it cannot be hidden"),
            )
            .help("keep the datastores in a folder that holds nothing else");
    }
}

fn check_private(app_paths: &AppPaths, problems: &mut Problems) {
    for private in &app_paths.private {
        let path = private.get_ref();
        let name = path.display();
        let overlaps = |other: &Option<Spanned<PathBuf>>| {
            let other = other.as_ref().map(Spanned::get_ref);
            other.is_some_and(|other| other.starts_with(path) || path.starts_with(other))
        };
        let (message, help) = if path == Path::new("/") {
            ("`/` cannot be private".to_owned(), "name a folder")
        } else if app_paths.holds_program(path) {
            let message = format!("the private folder {name} would cover the program itself");
            (
                message,
                "name a folder that holds no more than has to be empty",
            )
        } else if overlaps(&app_paths.target) {
            let message = format!("the private folder {name} and the datastore overlap");
            (
                message,
                "keep them apart: what lies in the datastore is private anyway",
            )
        } else if overlaps(&app_paths.datastores) {
            let message = format!("the private folder {name} and the folder of datastores overlap");
            (
                message,
                "leave it out: the folder of datastores is hidden anyway",
            )
        } else {
            continue;
        };
        problems.report(&private.span(), message).help(help);
    }
    check_nested(app_paths, problems);
}

/// A private folder within another would have to be made there first, since that one is empty.
fn check_nested(app_paths: &AppPaths, problems: &mut Problems) {
    let mut sorted: Vec<_> = app_paths.private.iter().collect();
    sorted.sort_by_key(|path| path.get_ref());
    for pair in sorted.windows(2) {
        let [outer, inner] = pair else { continue };
        let (above, path) = (outer.get_ref(), inner.get_ref());
        if path != above && path.starts_with(above) && above != Path::new("/") {
            let message = format!("{} lies in a folder that is private itself", path.display());
            problems
                .report(&inner.span(), message)
                .also(&outer.span(), "this one is empty")
                .help("one of the two is enough");
        }
    }
}

/// A program cannot start in a folder that is covered by an empty one.
fn check_start(app_paths: &AppPaths, problems: &mut Problems) {
    let Some(start) = &app_paths.working_directory else {
        return;
    };
    let path = start.get_ref();
    let inside = |cover: &&Spanned<PathBuf>| path.starts_with(cover.get_ref());
    let private = app_paths
        .private
        .iter()
        .filter(|cover| cover.get_ref() != path);
    if let Some(cover) = app_paths.datastores.iter().chain(private).find(inside) {
        let message = format!("the program cannot start in {}", path.display());
        problems
            .report(&start.span(), message)
            .also(
                &cover.span(),
                "what lies in this folder is not there for a tenant",
            )
            .help("start it elsewhere, such as in `/` or `{datastore}`");
    }
}

/// The socket over which a program says that it is ready must stay in sight.
pub(super) fn check_notify(
    app_paths: &AppPaths,
    ready: Option<&Readiness>,
    socket: Option<&Path>,
    problems: &mut Problems,
) {
    let (Some(Readiness::Notify), Some(socket)) = (ready, socket) else {
        return;
    };
    for private in &app_paths.private {
        let path = private.get_ref();
        if socket.starts_with(path) && path != Path::new("/") {
            let message = format!(
                "the private folder {} covers the notify socket",
                path.display()
            );
            problems
                .report(&private.span(), message)
                .help(format!("leave {} in sight", socket.display()));
        }
    }
}

/// Removes paths that are there twice or lie within another of the list, and sorts the rest.
pub(super) fn outermost(mut paths: Vec<PathBuf>) -> Vec<PathBuf> {
    paths.sort();
    paths.dedup_by(|path, above| path.starts_with(above));
    paths
}
