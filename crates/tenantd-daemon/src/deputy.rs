//! A deputy: a process of root that carries out one order of a client without root. The supervisor has checked that
//! the client may give it, and starts the deputy with the order. It holds no descriptor of the client: the client
//! gets one end of a pair of sockets, and the deputy has the other.

use std::fs::File;
use std::io::{self, Seek};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use rustix::fs::{MemfdFlags, memfd_create};
use serde::{Deserialize, Serialize};

use tenantd_api::history::Asked;
use tenantd_api::wire::{ExecTarget, LogPlace};
use tenantd_core::name::{AppName, TenantName};
use tenantd_host::children::{self, Spawned};

/// The variable by which a process is a deputy. Its standard input has the [`Order`], and its standard output is
/// its end of the sockets.
pub const VARIABLE: &str = "TENANTD_DEPUTY";

/// What a deputy does.
#[derive(Debug, Serialize, Deserialize)]
pub struct Order {
    /// The application.
    pub app: AppName,
    /// What is to be done.
    pub what: What,
}

/// What is to be done.
#[derive(Debug, Serialize, Deserialize)]
pub enum What {
    /// Send the logs of tenants.
    Logs(Logs),
    /// Send the history of tenants.
    History(Box<Asked>),
    /// Run a command in a tenant.
    Exec(Box<Exec>),
}

/// What is run, and where.
#[derive(Debug, Serialize, Deserialize)]
pub struct Exec {
    /// The tenant.
    pub tenant: TenantName,
    /// What a process needs to join it.
    pub target: ExecTarget,
    /// The command and its arguments.
    pub command: Vec<String>,
    /// The value of `TERM`.
    pub term: Option<String>,
}

/// Which logs are sent, and what of them.
#[derive(Debug, Serialize, Deserialize)]
pub struct Logs {
    /// The tenants, all of which the client may read the logs of.
    pub tenants: Vec<TenantName>,
    /// Where the logs are.
    pub place: LogPlace,
    /// The most lines; None if there is no limit.
    pub lines: Option<usize>,
    /// Only lines since this time, in microseconds since 1970.
    pub since: Option<i64>,
    /// Whether lines that are added are sent too.
    pub follow: bool,
}

impl Order {
    /// Starts a deputy with its end of the sockets. Blocks until it is executed.
    ///
    /// # Errors
    /// What memfd_create(2), fork(2) or execve(2) reports.
    pub(crate) fn spawn(&self, end: OwnedFd) -> io::Result<Spawned> {
        let mut file = File::from(memfd_create("tenantd-order", MemfdFlags::CLOEXEC)?);
        serde_json::to_writer(&mut file, self)?;
        file.rewind()?;
        let mut command = Command::new("/proc/self/exe");
        command
            .arg0("tenantd")
            .args(["deputy", self.app.as_str(), self.what.word()])
            .env_clear()
            .env(VARIABLE, "1")
            // Of journalctl(1). A command of a tenant has its own.
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .current_dir("/")
            .stdin(file)
            .stdout(end)
            .stderr(Stdio::null());
        children::spawn(&mut command)
    }
}

impl What {
    /// The command that it carries out.
    fn word(&self) -> &'static str {
        match self {
            Self::Logs(_) => "logs",
            Self::History(_) => "history",
            Self::Exec(_) => "exec",
        }
    }
}
