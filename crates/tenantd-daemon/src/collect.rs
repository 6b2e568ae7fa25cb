//! The log collector: a process that receives what the tenants' programs write to syslog and to their own
//! log files, and passes it on to the supervisor, line by line.
//!
//! An application has one collector, and further ones if it has more tenants than one has descriptors for, see
//! [`shares`]. It is a process of its own for four reasons:
//!
//! * It survives the supervisor, so that programs that log meanwhile lose no line. Nothing else could keep
//!   a socket with its messages without a service manager.
//! * A tenant is hostile. It can make a process that receives its messages hang, or let a file system hang
//!   in which its log files are. The supervisor neither receives nor opens anything of a tenant.
//! * It holds the tenants' output, so that what is in a pipe outlives the program and the supervisor. It
//!   never reads it.
//! * It has a network namespace of its own, in which more than ten messages may wait in a socket
//!   (`net.unix.max_dgram_qlen`), and it holds the descriptors, which the supervisor would need otherwise.
//!
//! ```text
//!   program ── /dev/log ──▶ sockets ─┐
//!                                    ├─ frames ──▶ FIFO ──▶ the supervisor's logs
//!   program ── log file ──▶ follow ──┘
//!                                      requests
//!                           serve ◀── socket ─── client (of the supervisor)
//! ```
//!
//! The FIFO is read as a tenant's pipe is: a line is removed after it was written. While no supervisor
//! runs, lines wait in the FIFO, then in the sockets; then programs wait. See
//! `docs/decisions/0030-log-collector.md`.

pub(crate) mod client;
mod follow;
pub(crate) mod frame;
mod link;
mod serve;
pub(crate) mod shares;
mod sockets;

use std::fs;
use std::io::{self, Write};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::Context;
use nix::sched::{CloneFlags, unshare};
use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};

use crate::collect::follow::Follower;
use crate::collect::sockets::Sockets;
use tenantd_core::layout;
use tenantd_core::name::{AppName, TenantName};
use tenantd_core::plan::logs::{self, OnHost};
use tenantd_core::plan::model::TenantPlan;
use tenantd_host::fifo;

/// The environment variable that makes this program a collector of an application.
const VARIABLE: &str = "TENANTD_COLLECT";

/// The environment variable with the number of the collector, unless it is the first.
const NUMBER: &str = "TENANTD_COLLECT_NUMBER";

/// How many messages may wait in a socket before its senders wait. The default is 10; more than about 280
/// are limited by the sender's own buffer.
const WAITING_MAX: &str = "512";

/// A request of the supervisor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Ask {
    /// Makes the socket of a tenant, unless it exists, and follows its log files, instead of others. Holds
    /// the descriptors of its output that come with the request, if any do.
    Add {
        /// The tenant.
        tenant: TenantName,
        /// Its log files; None leaves them as they are.
        #[serde(default)]
        files: Option<Vec<Files>>,
        /// When that was decided: files that were made later are read from their beginning.
        #[serde(default)]
        since: Option<SystemTime>,
        /// How many bytes to pass on a second of its messages, and of its log files; None, of an earlier version,
        /// leaves that as it is.
        #[serde(default)]
        rate: Option<u64>,
    },
    /// Passes on what a tenant's socket and log files have, and closes them and its output.
    Remove {
        /// The tenant.
        tenant: TenantName,
    },
    /// Names all tenants that were added.
    List,
    /// Passes on what all sockets have, and ends.
    End,
}

/// Log files of a tenant, in one folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Files {
    /// A folder on the host that the tenant cannot replace.
    pub(crate) root: PathBuf,
    /// The folder of the files in it.
    pub(crate) inside: PathBuf,
    /// The same if the datastore turns out to be made for several folders.
    pub(crate) in_tree: PathBuf,
    /// The folder as the tenant sees it.
    pub(crate) seen: PathBuf,
    /// The names of the files, with wildcards.
    pub(crate) name: String,
}

impl Files {
    /// The log files of a tenant.
    pub(crate) fn of(plan: &TenantPlan) -> Vec<Self> {
        let each = plan.logs.iter().filter_map(|files| {
            let OnHost {
                root,
                inside,
                in_tree,
            } = logs::on_host(&plan.datastore, files)?;
            Some(Self {
                root,
                inside,
                in_tree,
                seen: files.folder.clone(),
                name: files.name.clone(),
            })
        });
        each.collect()
    }
}

/// The answer to a request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Answer {
    /// Why the request failed.
    #[serde(default)]
    pub(crate) error: Option<String>,
    /// Whether the collector holds the descriptors that came with the request. An earlier version
    /// does not.
    #[serde(default)]
    pub(crate) holds: bool,
    /// The tenants, if they were asked for.
    #[serde(default)]
    pub(crate) tenants: Vec<TenantName>,
}

/// The socket to which the supervisor sends the requests to a collector.
pub(crate) fn control(app: &AppName, number: u16) -> PathBuf {
    layout::folder(app).join(layout::collector(number))
}

/// The application whose collector this process is to be, if any, and its number.
#[must_use]
pub fn asked() -> Option<(AppName, u16)> {
    let app = std::env::var(VARIABLE).ok()?.parse().ok()?;
    let number = match std::env::var_os(NUMBER) {
        Some(number) => number.to_str()?.parse().ok()?,
        None => 0,
    };
    Some((app, number))
}

/// Runs a collector of an application until it is asked to end.
///
/// # Errors
/// If it cannot start.
pub fn run(app: &AppName, number: u16) -> anyhow::Result<()> {
    rustix::thread::set_name(c"tenantd-logs")?;
    // Fails if it leads a group already, which is as good.
    let _session = rustix::process::setsid();
    let out = fifo::open_collected(app, number)?;
    if let Err(error) = let_more_wait() {
        // Ten messages can wait.
        tracing::debug!(%error, "cannot let more messages wait");
    }
    let sockets = Arc::new(Sockets::new(app.clone(), out)?);
    sockets.start().context("cannot start a thread")?;
    let follower = Follower::start(app, &sockets).context("cannot follow log files")?;
    let listener = listen(app, number).context("cannot make the collector's socket")?;
    said_ready()?;
    serve::serve(&listener, &sockets, &follower)?;
    Ok(())
}

fn let_more_wait() -> io::Result<()> {
    unshare(CloneFlags::CLONE_NEWNET)?;
    fs::write("/proc/sys/net/unix/max_dgram_qlen", WAITING_MAX)
}

fn listen(app: &AppName, number: u16) -> io::Result<UnixListener> {
    let path = control(app, number);
    let new = path.with_file_name(layout::collector_made(number));
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    // Only root may connect.
    let mask = rustix::process::umask(Mode::from_raw_mode(0o177));
    let listener = UnixListener::bind(&new);
    rustix::process::umask(mask);
    let listener = listener?;
    fs::rename(&new, &path)?;
    Ok(listener)
}

/// Tells the supervisor, which reads standard output, and closes it: nobody may wait for its end.
fn said_ready() -> io::Result<()> {
    io::stdout().write_all(b"ready\n")?;
    io::stdout().flush()?;
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    Ok(rustix::stdio::dup2_stdout(&null)?)
}
