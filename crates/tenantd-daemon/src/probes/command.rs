//! A command that asks a program, in its tenant: `tenantd exec` runs it, in a process of its own.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use tenantd_core::name::{AppName, TenantName};
use tenantd_host::children::{self, Spawned};
use tenantd_host::process::Ended;

/// The exit code of `tenantd exec` if it could not run the command.
const NOT_RUN: i32 = 125;

/// A command that is told to end when this is dropped.
struct Running(Spawned);

impl Drop for Running {
    fn drop(&mut self) {
        // SIGKILL would leave behind what it started in the tenant.
        self.0.terminate();
    }
}

/// Whether the command exits with status 0.
pub(super) async fn run(app: &AppName, tenant: &TenantName, argv: &[String]) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("cannot run the command: {error}");
    let mut command = Command::new("/proc/self/exe");
    command
        .arg0("tenantd")
        .args(["exec", "--app", app.as_str(), tenant.as_str()])
        .args(argv)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let running = Running(children::spawn(&mut command).map_err(failed)?);
    match running.0.ended().await.map_err(failed)? {
        Ended::Status(0) => Ok(()),
        // That says nothing about the program: the supervisor is just being upgraded, for example.
        Ended::Status(NOT_RUN) => {
            tracing::warn!(%tenant, "{tenant}: cannot run the command of [app.alive]");
            Ok(())
        }
        Ended::Status(status) => Err(format!("the command exited with status {status}")),
        Ended::Signal(signal) => Err(format!("the command was killed by signal {signal}")),
        Ended::Unknown => Err("the command ended with unknown status".to_owned()),
    }
}
