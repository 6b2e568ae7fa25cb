//! Which application is meant: the one that was named, the one of a manifest, or the only one
//! that runs.

use std::ffi::OsString;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use serde::Deserialize;

use crate::wire;
use tenantd_core::layout;
use tenantd_core::name::{AppName, NameError};

/// What was said about the application.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selector {
    /// Its name.
    pub app: Option<String>,
    /// Its manifest.
    pub config: Option<PathBuf>,
}

/// Why no application is found.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The name is none.
    #[error("{name:?}: is no name of an application")]
    Name {
        /// What was written.
        name: String,
        /// Why not.
        source: NameError,
    },
    /// The manifest cannot be read.
    #[error("{}: cannot read the manifest", .path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The manifest does not say which application it is for.
    #[error("{}: cannot find the application's name in it (see `tenantd check`)", .path.display())]
    Manifest {
        /// Which.
        path: PathBuf,
        /// Why.
        source: Box<toml::de::Error>,
    },
    /// Nothing was said, and nothing runs.
    #[error(
        "no supervisor runs here: start one with `tenantd run --config FILE`, or name the \
         application with --app NAME"
    )]
    None,
    /// Nothing was said, and several run.
    #[error("several applications run here ({}): say which with --app NAME", .0.join(", "))]
    Several(Vec<String>),
    /// The folder of those which run cannot be read.
    #[error("{}: cannot list the applications that run", wire::RUNTIME)]
    List(#[source] io::Error),
}

/// The name or the manifest: as on the command line, else as in the environment
/// (`TENANTD_APP`, `TENANTD_CONFIG`).
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

/// The application that is meant.
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
        // A dead supervisor's folder shall not force a name on those who mean the living one.
        let (living, dead): (Vec<_>, Vec<_>) = running.into_iter().partition(is_alive);
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

/// Whether somebody listens behind the control socket, without waiting for anybody.
fn is_alive(app: &AppName) -> bool {
    let Ok(address) = SocketAddrUnix::new(wire::control_socket(app)) else {
        return false;
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None);
    let connected = socket.and_then(|socket| net::connect(&socket, &address));
    // Whatever else keeps us from it says nothing of its supervisor.
    !matches!(connected, Err(Errno::CONNREFUSED | Errno::NOENT))
}

/// The application's name in a manifest, whatever else is in it: a manifest that is being edited
/// still says whose supervisor is meant.
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
    let text = match std::fs::read_to_string(&path) {
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

/// The applications that have a control socket, in the order of their names. A dead supervisor
/// may have left one behind.
///
/// # Errors
/// Where the runtime folder is there and cannot be read.
pub fn running() -> io::Result<Vec<AppName>> {
    let mut apps = all()?;
    apps.retain(has_socket);
    Ok(apps)
}

/// The applications whose supervisor has detached, in the order of their names: a state file says what goes
/// on without one, and there is no control socket.
///
/// # Errors
/// Where the runtime folder is there and cannot be read.
pub fn detached() -> io::Result<Vec<AppName>> {
    let mut apps = all()?;
    apps.retain(|app| !has_socket(app) && layout::folder(app).join(layout::STATE_FILE).is_file());
    Ok(apps)
}

fn has_socket(app: &AppName) -> bool {
    let socket = std::fs::symlink_metadata(wire::control_socket(app));
    socket.is_ok_and(|found| found.file_type().is_socket())
}

/// The applications that have a folder.
fn all() -> io::Result<Vec<AppName>> {
    let folders = match std::fs::read_dir(wire::RUNTIME) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        folders => folders?,
    };
    let mut apps = Vec::new();
    for folder in folders {
        // `locks` lies beside the applications, and has neither socket nor state file.
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
    fn a_manifest_says_its_application_even_if_the_rest_is_wrong() {
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
    fn a_name_is_checked_before_it_becomes_a_path() {
        let selector = Selector {
            app: Some("../../tmp".into()),
            config: None,
        };
        assert!(matches!(find(&selector), Err(AppError::Name { .. })));
    }
}
