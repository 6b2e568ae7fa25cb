//! Checks the paths of an application, each alone and against each other.

mod private;

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use toml::Spanned;

use super::facts::{HostFacts, ProgramFact};
use super::folders;
use super::vars;
use crate::manifest::problem::{Problems, Span};
use crate::manifest::raw::{Known, Manifest};
use crate::manifest::template::{Slot, Template};

/// The folder on the host that contains the datastores of all applications by default.
pub const STATE: &str = "/var/lib/tenantd";

/// The maximum number of hidden folders. Each costs every tenant a mount.
pub const HIDDEN_MAX: usize = 8;

/// What [`AppPaths::needs`] says of a folder of the datastore.
const FOLDER: &str = "the path of a folder of the datastore";

/// The maximum length of a path in bytes: `PATH_MAX` of linux/limits.h without the NUL.
const PATH_BYTES: usize = 4095;

/// The paths of an application that are the same for all tenants; `None` where a path is invalid.
#[derive(Debug, Default)]
pub(super) struct AppPaths {
    /// The program.
    pub(super) program: Option<Spanned<PathBuf>>,
    /// The program without symbolic links.
    pub(super) real_program: Option<PathBuf>,
    /// Where the program looks for its data.
    pub(super) target: Option<Spanned<PathBuf>>,
    /// The other folders that the program expects.
    pub(super) folders: Vec<Spanned<PathBuf>>,
    /// The folder that relative datastores are below.
    pub(super) root: Option<Spanned<PathBuf>>,
    /// The hidden folder that contains the root, or is the root.
    pub(super) datastores: Option<Spanned<PathBuf>>,
    /// Private folders.
    pub(super) private: Vec<Spanned<PathBuf>>,
    /// The modes of those that have one in the manifest.
    pub(super) private_modes: BTreeMap<PathBuf, u32>,
    /// Paths of the host that tenants may write to.
    pub(super) shared: Vec<Spanned<PathBuf>>,
    /// Paths of the host that tenants see below private folders.
    pub(super) visible: Vec<Spanned<PathBuf>>,
    /// Log files, with wildcards.
    pub(super) logs: Vec<Spanned<PathBuf>>,
    /// The folder that the program starts in.
    pub(super) working_directory: Option<Spanned<PathBuf>>,
    /// The file with the number of the main process.
    pub(super) pid_file: Option<Spanned<PathBuf>>,
}

impl AppPaths {
    /// The file with the number of the main process.
    pub(super) fn pid_file(&self) -> Option<&Path> {
        Some(self.pid_file.as_ref()?.get_ref())
    }
}

/// Normalizes an expanded path: absolute, without `..`, `.` or repeated slashes.
pub(super) fn clean(text: &str, span: &Span, problems: &mut Problems) -> Option<PathBuf> {
    let path = Path::new(text);
    let (message, help) = if !path.is_absolute() {
        let message = format!("the path {text:?} is relative");
        (message, "start it with `/`, or with `{manifest_dir}/`")
    } else if path.components().any(|part| part == Component::ParentDir) {
        (
            format!("the path {text:?} contains `..`"),
            "write the path without `..`",
        )
    } else if text.len() > PATH_BYTES {
        let message = format!(
            "the path has {} bytes, at most 4095 are allowed",
            text.len()
        );
        (message, "use a shorter path")
    } else {
        return Some(path.components().collect());
    };
    problems.report(span, message).help(help);
    None
}

/// Derives the paths of the application and reports those that are invalid or conflict.
pub(super) fn app_paths(
    manifest: &Manifest,
    folder: &str,
    host: &dyn HostFacts,
    problems: &mut Problems,
) -> AppPaths {
    let app = &manifest.app;
    let mut app_paths = AppPaths::default();
    if let Some(command) = &app.command {
        app_paths.program = filled(&command.get_ref().program, manifest, folder, None, problems);
    }
    if let Some(program) = &app_paths.program {
        app_paths.real_program = program_fact(program, host, problems);
    }
    let path = |template: &Option<Spanned<Template>>, problems: &mut Problems| {
        filled(template.as_ref()?, manifest, folder, None, problems)
    };
    app_paths.target = path(&app.datastore.path.value, problems);
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
    let folders = app.datastore.folders.iter();
    app_paths.folders = folders
        .filter_map(|folder| path(&folder.path, problems))
        .collect();
    let target = app_paths.target.as_ref().map(Spanned::get_ref);
    let fill = |template: &Spanned<Template>, problems: &mut Problems| {
        filled(template, manifest, folder, target, problems)
    };
    let start = app.working_directory.as_ref();
    app_paths.working_directory = start.and_then(|text| fill(text, problems));
    let file = app.pid_file.as_ref();
    app_paths.pid_file = file.and_then(|text| fill(text, problems));
    for private in &app.private.folders {
        let Some(path) = private.path.as_ref().and_then(|it| fill(it, problems)) else {
            continue;
        };
        let mode = private.mode.as_ref().map(|mode| mode.get_ref().0);
        let modes = mode.map(|mode| (path.get_ref().clone(), mode));
        app_paths.private_modes.extend(modes);
        app_paths.private.push(path);
    }
    let usual = private::usual(manifest, &app_paths);
    app_paths.private.extend(usual);
    let mut all = |texts: &Known<Vec<Spanned<Template>>>| -> Vec<Spanned<PathBuf>> {
        let texts = texts.iter().flat_map(Spanned::get_ref);
        texts.filter_map(|text| fill(text, problems)).collect()
    };
    app_paths.shared = all(&app.shared);
    app_paths.visible = all(&app.visible);
    app_paths.logs = all(&app.logs);
    check_target(&app_paths, problems);
    check_datastores(&app_paths, problems);
    private::check(&app_paths, problems);
    folders::check(&app_paths, problems);
    check_start(&app_paths, problems);
    app_paths
}

/// Expands the placeholders of a path. Returns `None` if the value of one is unknown.
pub(super) fn filled(
    template: &Spanned<Template>,
    manifest: &Manifest,
    folder: &str,
    target: Option<&PathBuf>,
    problems: &mut Problems,
) -> Option<Spanned<PathBuf>> {
    let name = manifest.app.name.as_ref();
    let slot = |slot| match slot {
        Slot::App => name.map(|name| name.get_ref().to_string()),
        Slot::ManifestDir => Some(folder.to_owned()),
        Slot::Datastore => target.map(|path| path.display().to_string()),
        Slot::Tenant
        | Slot::Ip
        | Slot::Gateway
        | Slot::Ip6
        | Slot::Gateway6
        | Slot::User
        | Slot::Uid
        | Slot::Gid => None,
    };
    let text = vars::fill(template.get_ref(), slot, |name| {
        vars::shared(manifest, name)
    })?;
    let path = clean(&text, &template.span(), problems)?;
    Some(Spanned::new(template.span(), path))
}

pub(super) fn program_fact(
    program: &Spanned<PathBuf>,
    host: &dyn HostFacts,
    problems: &mut Problems,
) -> Option<PathBuf> {
    let path = program.get_ref().display();
    let (message, help) = match host.program(program.get_ref()) {
        ProgramFact::Executable(real) => return Some(real),
        ProgramFact::Missing => (
            format!("the program {path} does not exist"),
            "install it, or correct the path",
        ),
        ProgramFact::NoFile => (
            format!("{path} is not a regular file"),
            "give the path of the program's file, not of its folder",
        ),
        ProgramFact::NotExecutable => (
            format!("{path} is not executable"),
            "make it executable with chmod +x",
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
    /// Whether a folder contains the program, by its path or by its path without symbolic links.
    pub(super) fn holds_program(&self, folder: &Path) -> bool {
        let program = self.program.as_ref().map(|path| path.get_ref().as_path());
        let names = [program, self.real_program.as_deref()];
        names
            .into_iter()
            .flatten()
            .any(|name| name.starts_with(folder))
    }

    /// Whether the datastore or a private folder is mounted over this folder.
    pub(super) fn covers(&self, folder: &Path) -> bool {
        let mounts = self.data().chain(&self.private);
        mounts
            .into_iter()
            .any(|mount| folder.starts_with(mount.get_ref()))
    }

    /// The paths at which the program expects its data.
    pub(super) fn data(&self) -> impl Iterator<Item = &Spanned<PathBuf>> {
        self.target.iter().chain(&self.folders)
    }

    /// What a folder contains that must stay visible, if anything.
    pub(super) fn needs(&self, folder: &Path) -> Option<&'static str> {
        let target = self.target.as_ref().map(Spanned::get_ref);
        if folder == Path::new("/") {
            Some("everything else")
        } else if self.holds_program(folder) {
            Some("the program")
        } else if target.is_some_and(|path| path.starts_with(folder)) {
            Some("the path of the datastore")
        } else if (self.folders.iter()).any(|path| path.get_ref().starts_with(folder)) {
            Some(FOLDER)
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
            .report(&target.span(), "the datastore cannot be mounted at `/`")
            .help("use the folder in which the program keeps its data");
    } else if app_paths.holds_program(path) {
        problems
            .report(&target.span(), "the datastore would hide the program")
            .help("use a folder that contains only the program's data");
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
                format!("{name} contains all datastores and is hidden"),
            )
            .help("keep the datastores elsewhere, for example `root = \"/var/lib/tenantd/{app}\"`");
    } else if let Some(what) = app_paths
        .needs(path)
        .filter(|what| !["a private folder", FOLDER].contains(what))
    {
        problems
            .report(
                &datastores.span(),
                format!("{name} contains all datastores and {what}, so it cannot be hidden"),
            )
            .help("keep the datastores in a folder that contains nothing else");
    }
}

/// The working directory must not be hidden.
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
                "tenants do not see the contents of this folder",
            )
            .help("use another folder, for example `/` or `{datastore}`");
    }
}

/// The notify socket, if there is one, must not be hidden.
pub(super) fn check_notify(app_paths: &AppPaths, socket: Option<&Path>, problems: &mut Problems) {
    let Some(socket) = socket else {
        return;
    };
    let private = app_paths
        .private
        .iter()
        .map(|path| (path, "private folder"));
    let folders = app_paths.folders.iter().map(|path| (path, "folder"));
    for (covering, what) in private.chain(folders) {
        let path = covering.get_ref();
        if socket.starts_with(path) && path != Path::new("/") {
            let message = format!("the {what} {} hides the notify socket", path.display());
            problems.report(&covering.span(), message).help(format!(
                "use a folder that does not contain {}",
                socket.display()
            ));
        }
    }
}

/// Sorts paths and removes duplicates and those inside another one of the list.
pub(super) fn outermost(mut paths: Vec<PathBuf>) -> Vec<PathBuf> {
    paths.sort();
    paths.dedup_by(|path, above| path.starts_with(above));
    paths
}
