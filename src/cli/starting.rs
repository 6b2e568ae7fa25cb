//! Supervisors that are starting: a command that follows on `tenantd run ... &` waits a moment for the
//! control socket instead of failing.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

use tenantd_api::client::app::{self, AppError, Selector};
use tenantd_core::name::AppName;
use tenantd_daemon::clock;
use tenantd_host::process;

/// How long the control socket of a supervisor is waited for that is starting.
const LIMIT: Duration = Duration::from_secs(2);

/// How long it is waited for if none is known to be starting: a shell has just forked, perhaps, and not
/// yet executed the program.
const UNKNOWN: Duration = Duration::from_millis(100);

/// How often it is looked for. Nothing tells that a socket listens.
const PAUSE: Duration = Duration::from_millis(10);

/// A supervisor that is older than this has started, or never will.
const YOUNG: Duration = Duration::from_secs(10);

/// Finds the application that a command addresses. If no supervisor answers, but one is starting, waits
/// until it does.
///
/// # Errors
/// See [`app::find`].
pub(super) fn find(selector: &Selector) -> Result<AppName, AppError> {
    let begun = Instant::now();
    loop {
        let found = app::find(selector);
        let waits_for = match &found {
            Ok(app) if !app::is_served(app) => Some(app),
            Err(AppError::None) => None,
            // It runs already, or no waiting helps.
            Ok(_) | Err(_) => return found,
        };
        let waited = begun.elapsed();
        if waited > LIMIT || (waited > UNKNOWN && !any(waits_for)) {
            return found;
        }
        std::thread::sleep(PAUSE);
    }
}

/// Whether a supervisor of the application, or of any, has been started a moment ago.
fn any(app: Option<&AppName>) -> bool {
    let Ok(processes) = fs::read_dir("/proc") else {
        return false;
    };
    let mut names = processes.flatten().map(|entry| entry.file_name());
    names.any(|name| {
        let pid = name.to_str().and_then(|name| name.parse().ok());
        pid.is_some_and(|pid| is_young(pid) && is_supervisor(pid, app))
    })
}

fn is_young(pid: i32) -> bool {
    let started = process::start_ticks(pid).map(clock::at_ticks);
    started.is_some_and(|started| clock::now().since(started) < YOUNG)
}

/// Whether the process is `tenantd run`, by its arguments, and not of another application.
fn is_supervisor(pid: i32, app: Option<&AppName>) -> bool {
    let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let arguments = arguments.split(|&byte| byte == 0);
    let mut arguments = arguments.map(|argument| Path::new(OsStr::from_bytes(argument)));
    let program = arguments.next().and_then(Path::file_name);
    let (mut run, mut manifest, mut other) = (false, None, false);
    while let Some(argument) = arguments.next() {
        let text = argument.as_os_str().as_bytes();
        match text {
            b"" => {}
            // `run --tenant` is a client.
            b"--tenant" => return false,
            _ if text.starts_with(b"--tenant=") => return false,
            b"run" => run = true,
            b"--config" => manifest = arguments.next(),
            _ => match text.strip_prefix(b"--config=") {
                Some(path) => manifest = Some(Path::new(OsStr::from_bytes(path))),
                None => other = true,
            },
        }
    }
    // `run` is the command if none is given; then the manifest is.
    let is_run = program == Some("tenantd".as_ref()) && (run || manifest.is_some() && !other);
    is_run && (app.is_none() || manifest.is_none_or(|path| may_be_of(pid, path, app)))
}

/// Whether a manifest, as the process sees it, is that of the application, or cannot be read.
fn may_be_of(pid: i32, manifest: &Path, app: Option<&AppName>) -> bool {
    let folder = match manifest.strip_prefix("/") {
        Ok(below) => Path::new(&format!("/proc/{pid}/root")).join(below),
        Err(_) => Path::new(&format!("/proc/{pid}/cwd")).join(manifest),
    };
    let named = app::find(&Selector {
        app: None,
        config: Some(folder),
    });
    named.is_err() || named.as_ref().ok() == app
}
