//! Finds the application that a command addresses: by its name, by its manifest, or because it is
//! the only one that runs on this host.

use std::ffi::OsString;
use std::io::{self, Read};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use serde::Deserialize;

use crate::wire;
use tenantd_core::layout::{self, MANIFEST_MAX};
use tenantd_core::name::{AppName, NameError};

/// How an application is selected. If both fields are `None`, the only running one is meant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selector {
    /// The application's name, not yet checked.
    pub app: Option<String>,
    /// The path of the application's manifest. Ignored if `app` is set.
    pub config: Option<PathBuf>,
}

/// Why no application was found.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The name is not valid.
    #[error("{name:?}: not a valid application name")]
    Name {
        /// The name as it was given.
        name: String,
        /// The rule that the name breaks.
        source: NameError,
    },
    /// The manifest cannot be read.
    #[error("{}: cannot read the manifest{}", .path.display(), remedy(.source))]
    Read {
        /// The path of the manifest.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The manifest has no valid `app.name`.
    #[error("{}: cannot read app.name from the manifest (see `tenantd check`)", .path.display())]
    Manifest {
        /// The path of the manifest.
        path: PathBuf,
        /// The error of the TOML parser.
        source: Box<toml::de::Error>,
    },
    /// No application was selected, and none runs.
    #[error(
        "no supervisor is running on this host: start one with `tenantd run --config FILE`, or \
         name the application with --app NAME"
    )]
    None,
    /// No application was selected, and several run. Holds their names.
    #[error("several applications are running ({}): select one with --app NAME", .0.join(", "))]
    Several(Vec<String>),
    /// The runtime folder cannot be read.
    #[error("{}: cannot list the running applications", wire::RUNTIME)]
    List(#[source] io::Error),
}

/// What to do about an error of reading the manifest. The error itself follows.
#[must_use]
pub fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            ", this user may not read the file or enter its folder (try again with sudo)"
        }
        _ => "",
    }
}

/// Completes what was typed on the command line: if it selects nothing, `TENANTD_APP` and then
/// `TENANTD_CONFIG` of the environment do. An empty variable counts as unset.
#[must_use]
pub fn selector(typed: Selector, environment: impl Fn(&str) -> Option<OsString>) -> Selector {
    if typed != Selector::default() {
        return typed;
    }
    let set = |name| environment(name).filter(|value| !value.is_empty());
    let app = set("TENANTD_APP").map(|name| name.to_string_lossy().into_owned());
    let config = match app {
        Some(_) => None,
        None => set("TENANTD_CONFIG").map(PathBuf::from),
    };
    Selector { app, config }
}

/// Finds the selected application.
///
/// Without a name or a manifest, it is the only one with a live supervisor; if none is live, the
/// only one that left a control socket or a state file behind.
///
/// # Errors
/// See [`AppError`].
pub fn find(selector: &Selector) -> Result<AppName, AppError> {
    if let Some(name) = &selector.app {
        return name.parse().map_err(|source| AppError::Name {
            name: name.clone(),
            source,
        });
    }
    if let Some(path) = &selector.config {
        return of_manifest(path);
    }
    let mut running = running().map_err(AppError::List)?;
    if running.is_empty() {
        running = detached().map_err(AppError::List)?;
    }
    if running.len() > 1 {
        // The stale socket of a dead supervisor does not make the live one ambiguous.
        let (living, dead): (Vec<_>, Vec<_>) = running.into_iter().partition(is_served);
        running = if living.is_empty() { dead } else { living };
    }
    match running.len() {
        0 => Err(AppError::None),
        1 => Ok(running.remove(0)),
        _ => Err(AppError::Several(
            running.iter().map(ToString::to_string).collect(),
        )),
    }
}

/// Whether a process listens on the control socket of an application, as far as the caller may know.
/// Does not block.
#[must_use]
pub fn is_served(app: &AppName) -> bool {
    let Ok(address) = SocketAddrUnix::new(wire::control_socket(app)) else {
        return false;
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None);
    let connected = socket.and_then(|socket| net::connect(&socket, &address));
    // Other errors, such as EACCES, do not prove that the supervisor is dead.
    !matches!(connected, Err(Errno::CONNREFUSED | Errno::NOENT))
}

/// Reads `app.name` of a manifest and ignores everything else, so that a manifest with mistakes in
/// it still selects a supervisor.
fn of_manifest(path: &Path) -> Result<AppName, AppError> {
    #[derive(Deserialize)]
    struct Named {
        app: App,
    }
    #[derive(Deserialize)]
    struct App {
        name: AppName,
    }
    let path = path.to_owned();
    let text = match read_manifest(&path) {
        Ok(text) => text,
        Err(source) => return Err(AppError::Read { path, source }),
    };
    match toml::from_str::<Named>(&text) {
        Ok(named) => Ok(named.app.name),
        Err(source) => Err(AppError::Manifest {
            path,
            source: Box::new(source),
        }),
    }
}

/// Reads a manifest, which is a regular file of a limited size. Opening a FIFO would wait for its other
/// end, and a device has no end.
fn read_manifest(path: &Path) -> io::Result<String> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut text = String::new();
    let mut limited = std::fs::File::open(path)?.take(MANIFEST_MAX + 1);
    limited.read_to_string(&mut text)?;
    match u64::try_from(text.len()) {
        Ok(len) if len <= MANIFEST_MAX => Ok(text),
        Ok(_) | Err(_) => {
            let most = MANIFEST_MAX >> 20;
            Err(io::Error::other(format!("it is larger than {most} MiB")))
        }
    }
}

/// Lists the applications that have a control socket, sorted by name. A supervisor that was killed
/// leaves its socket behind, so being listed does not prove that a supervisor runs.
///
/// # Errors
/// If the runtime folder exists but cannot be read.
pub fn running() -> io::Result<Vec<AppName>> {
    let mut apps = all()?;
    apps.retain(has_socket);
    Ok(apps)
}

/// Lists the applications whose supervisor has detached, sorted by name: they have a state file,
/// but no control socket.
///
/// # Errors
/// If the runtime folder exists but cannot be read.
pub fn detached() -> io::Result<Vec<AppName>> {
    let mut apps = all()?;
    apps.retain(|app| !has_socket(app) && layout::folder(app).join(layout::STATE_FILE).is_file());
    Ok(apps)
}

fn has_socket(app: &AppName) -> bool {
    let socket = std::fs::symlink_metadata(wire::control_socket(app));
    socket.is_ok_and(|found| found.file_type().is_socket())
}

/// The folders with one entry per application: runtime, datastores, log files, manifests.
const TRACES: [&str; 4] = [
    wire::RUNTIME,
    "/var/lib/tenantd",
    "/var/log/tenantd",
    "/etc/tenantd",
];

/// Lists the applications that this host knows of, sorted by name: those that have a runtime
/// folder, datastores in the usual place, log files, or a manifest `/etc/tenantd/APP.toml`.
///
/// # Errors
/// If one of these folders exists but cannot be read.
pub fn known() -> io::Result<Vec<AppName>> {
    let mut apps = std::collections::BTreeSet::new();
    for folder in TRACES {
        let entries = match std::fs::read_dir(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            entries => entries?,
        };
        for entry in entries {
            let path = entry?.path();
            let name = match path.extension() {
                Some(extension) if extension == "toml" => path.file_stem(),
                Some(_) | None => path.file_name(),
            };
            apps.extend(name.and_then(|name| name.to_str()?.parse().ok()));
        }
    }
    // It holds the locks of datastores.
    apps.retain(|app: &AppName| app.as_str() != "locks");
    Ok(apps.into_iter().collect())
}

/// The applications that have a runtime folder.
fn all() -> io::Result<Vec<AppName>> {
    let folders = match std::fs::read_dir(wire::RUNTIME) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        folders => folders?,
    };
    let mut apps = Vec::new();
    for folder in folders {
        // Includes the folder `locks`, which has neither a socket nor a state file.
        apps.extend(folder?.file_name().to_str().and_then(|n| n.parse().ok()));
    }
    apps.sort();
    Ok(apps)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(name: &str) -> Option<OsString> {
        match name {
            "TENANTD_APP" => Some("wiki".into()),
            "TENANTD_CONFIG" => Some("/etc/tenantd/crm.toml".into()),
            _ => None,
        }
    }

    #[test]
    fn the_command_line_comes_before_the_environment() {
        let config = Selector {
            app: None,
            config: Some("/etc/tenantd/db.toml".into()),
        };
        assert_eq!(selector(config.clone(), environment), config);
        let from_environment = selector(Selector::default(), environment);
        assert_eq!(from_environment.app.as_deref(), Some("wiki"));
        assert_eq!(from_environment.config, None);
        let unset = selector(Selector::default(), |_| Some(OsString::new()));
        assert_eq!(unset, Selector::default());
    }

    #[test]
    fn an_invalid_manifest_still_gives_the_application_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("wiki.toml");
        std::fs::write(&path, "[app]\nname = \"wiki\"\nnonsense = 3\n[tenants]\n").unwrap();
        let selector = Selector {
            app: None,
            config: Some(path.clone()),
        };
        assert_eq!(find(&selector).unwrap().as_str(), "wiki");

        std::fs::write(&path, "[tenants]\n").unwrap();
        assert!(matches!(find(&selector), Err(AppError::Manifest { .. })));
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(find(&selector), Err(AppError::Read { .. })));
    }

    #[test]
    fn a_manifest_is_a_regular_file_of_a_limited_size() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("wiki.toml");
        let find = |path: &Path| {
            let config = Some(path.to_owned());
            let error = of_selector(&Selector { app: None, config });
            std::error::Error::source(&error).unwrap().to_string()
        };
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RUSR).unwrap();
        for special in [&path, Path::new("/dev/zero"), folder.path()] {
            assert_eq!(find(special), "it is not a regular file");
        }
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "=".repeat(5 << 20)).unwrap();
        assert_eq!(find(&path), "it is larger than 4 MiB");
    }

    fn of_selector(selector: &Selector) -> AppError {
        find(selector).unwrap_err()
    }

    #[test]
    fn names_are_validated_before_use_in_paths() {
        let selector = Selector {
            app: Some("../../tmp".into()),
            config: None,
        };
        assert!(matches!(find(&selector), Err(AppError::Name { .. })));
    }
}
