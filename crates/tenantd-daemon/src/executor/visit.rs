//! A command of the manifest that runs in a tenant while its program runs: `tenantd exec` runs it, in
//! a process of its own, so that this one never enters a tenant.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use tenantd_core::name::{AppName, TenantName};
use tenantd_host::children::{self, Spawned};
use tenantd_host::fifo::WriteEnds;
use tenantd_host::process::Ended;

/// The exit code of `tenantd exec` if it could not run the command.
pub(crate) const NOT_RUN: i32 = 125;

/// A command that is told to end when this is dropped.
struct Running(Spawned);

impl Drop for Running {
    fn drop(&mut self) {
        // SIGKILL would leave behind what it started in the tenant.
        self.0.terminate();
    }
}

/// Runs a command in a tenant, with this output or none. Returns how it ended. If this is cancelled,
/// the command is ended.
///
/// # Errors
/// Why it could not be run.
pub(crate) async fn run(
    app: &AppName,
    tenant: &TenantName,
    argv: &[String],
    output: Option<WriteEnds>,
) -> Result<Ended, String> {
    let failed = |error: std::io::Error| format!("cannot run the command: {error}");
    let (stdout, stderr) = match output {
        Some(WriteEnds { stdout, stderr }) => (stdout.into(), stderr.into()),
        None => (Stdio::null(), Stdio::null()),
    };
    let mut command = Command::new("/proc/self/exe");
    command
        .arg0("tenantd")
        .args(["exec", "--may-signal", "--app", app.as_str()])
        .arg(tenant.as_str())
        .args(argv)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(stderr);
    let running = Running(children::spawn(&mut command).map_err(failed)?);
    running.0.ended().await.map_err(failed)
}

/// Why a command that ended so has failed; `None` if it exited with status 0.
pub(crate) fn failure(ended: Ended) -> Option<String> {
    match ended {
        Ended::Status(0) => None,
        Ended::Status(status) => Some(format!("the command exited with status {status}")),
        Ended::Signal(signal) => Some(format!("the command was killed by signal {signal}")),
        Ended::Unknown => Some("the command ended with unknown status".to_owned()),
    }
}
