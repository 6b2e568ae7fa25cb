//! Supervisors that are starting: a command that follows on `tenantd run ... &` waits a moment for the
//! control socket instead of failing.

use std::fs;
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
        let is_served = match &found {
            Ok(app) => app::is_served(app),
            Err(AppError::None) => false,
            // It runs already, or no waiting helps.
            Err(_) => true,
        };
        let waited = begun.elapsed();
        if is_served || waited > LIMIT || (waited > UNKNOWN && !any()) {
            return found;
        }
        std::thread::sleep(PAUSE);
    }
}

/// Whether a supervisor has been started a moment ago. Of which application is not asked: its manifest
/// says that.
fn any() -> bool {
    let Ok(processes) = fs::read_dir("/proc") else {
        return false;
    };
    let mut names = processes.flatten().map(|entry| entry.file_name());
    names.any(|name| {
        let pid = name.to_str().and_then(|name| name.parse().ok());
        pid.is_some_and(|pid| is_young(pid) && is_supervisor(pid))
    })
}

fn is_young(pid: i32) -> bool {
    let started = process::start_ticks(pid).map(clock::at_ticks);
    started.is_some_and(|started| clock::now().since(started) < YOUNG)
}

/// Whether the process is `tenantd run`, by its arguments.
fn is_supervisor(pid: i32) -> bool {
    let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let mut arguments = arguments.split(|&byte| byte == 0);
    let program = arguments.next().unwrap_or_default();
    let program = String::from_utf8_lossy(program);
    let is_tenantd = Path::new(program.as_ref()).file_name() == Some("tenantd".as_ref());
    // `run` is the command if none is given; then the manifest is.
    let (mut run, mut config, mut other) = (false, false, false);
    for argument in arguments.filter(|argument| !argument.is_empty()) {
        match argument {
            b"run" => run = true,
            _ if argument.starts_with(b"--config") => config = true,
            _ => other |= !argument.ends_with(b".toml"),
        }
    }
    is_tenantd && (run || config && !other)
}
