//! `exec`: runs a command inside a tenant.
//!
//! The command is a process of its own, in a session of its own: nothing of the operator's terminal or
//! session enters the tenant. This process stays outside and waits.

mod client;
pub(super) mod deputy;
mod group;
mod offline;
mod running;
mod started;
pub(in crate::cli) mod terminal;
mod user;
mod visit;

use std::convert::Infallible;
use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind, Seek};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::path::Path;

use anyhow::Context;
use nix::sys::signal::SigSet;
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{ioctl_tiocsctty, setsid};
use serde::{Deserialize, Serialize};

use super::{End, args, starting};
use group::Group;
use offline::Held;
use running::Running;
use started::Started;
use tenantd_api::client::app::Selector;
use tenantd_api::client::{ClientError, Connection, pattern};
use tenantd_api::wire::{ExecLimit, ExecTarget};
use tenantd_core::name::TenantName;
use tenantd_host::cgroup;
use tenantd_host::join::{self, JoinError, Target};
use tenantd_host::keeper::{ORDER, Offer};
use tenantd_host::launch::domain::CommandDomain;
use tenantd_host::limits::JoinLimit;
use tenantd_host::sealed::SealedCopy;
use terminal::{Raw, Streams};
use visit::Visit;

/// tenantd could not run the command: no tenant, no supervisor, or it could not be joined.
const NOT_RUN: u8 = 125;

/// What the supervisor says of a tenant whose commands are in no Landlock domain, see [`ExecTarget`].
const UNCONFINED: &str = "never";

/// The exit codes of a shell for a command that it cannot run.
const NOT_EXECUTABLE: u8 = 126;
const NOT_FOUND: u8 = 127;

/// The command was not run. The exit codes tell that apart from an end of the command itself.
#[derive(Debug)]
pub struct NotRun(anyhow::Error);

impl NotRun {
    /// The exit code for it.
    #[must_use]
    pub fn code(&self) -> u8 {
        if let Some(Deputized { code, .. }) = self.0.downcast_ref() {
            return *code;
        }
        match self.0.downcast_ref::<JoinError>() {
            Some(JoinError::NotFound { .. }) => NOT_FOUND,
            Some(JoinError::NotExecutable { .. }) => NOT_EXECUTABLE,
            Some(JoinError::Gone { .. } | JoinError::Step { .. } | JoinError::Closed { .. })
            | None => NOT_RUN,
        }
    }
}

impl fmt::Display for NotRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // With its sources, and so it names none of its own.
        write!(f, "{:#}", self.0)
    }
}

impl std::error::Error for NotRun {}

/// What the process that enters the tenant needs to know.
#[derive(Debug, Serialize, Deserialize)]
struct Order {
    tenant: TenantName,
    target: ExecTarget,
    command: Vec<OsString>,
    /// The process that starts it, with which it ends.
    parent: u32,
    /// Whether it is a command of the manifest, which may signal the program.
    may_signal: bool,
    /// The number of a standard stream that becomes its controlling terminal.
    terminal: Option<usize>,
    /// Whether the keeper of the launch starts it, in whose domain it stays.
    is_kept: bool,
    /// The number of a descriptor to which it writes why it could not execute the command, instead of standard
    /// error.
    report: Option<RawFd>,
}

/// A deputy could not run the command.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
struct Deputized {
    code: u8,
    text: String,
}

/// Runs a command in a tenant, and waits until it and all that it has left have ended.
pub(super) fn exec(selector: &Selector, what: &args::Exec) -> anyhow::Result<End> {
    match run(selector, what) {
        Err(error) => Err(NotRun(error).into()),
        Ok(code) => Ok(End::Exited(code)),
    }
}

fn run(selector: &Selector, what: &args::Exec) -> anyhow::Result<u8> {
    let tenant = &what.tenant;
    let app = starting::find(selector)?;
    if !rustix::process::geteuid().is_root() {
        return client::run(&app, what);
    }
    let mut target = super::converse(async {
        let mut connection = Connection::open(&app).await?;
        let entered = match what.offline {
            true => {
                connection
                    .exec_offline(tenant, &offline::text(&what.command))
                    .await
            }
            false => connection.enter(tenant).await,
        };
        match entered {
            Err(error @ ClientError::UnknownTenant { .. }) => {
                let tenants = connection.status(&[]).await?.tenants;
                let names: Vec<TenantName> = tenants.into_iter().map(|t| t.name).collect();
                Err(match pattern::resolve(&names, &[tenant.clone().into()]) {
                    Err(unmatched) => super::unmatched(&app, &unmatched),
                    Ok(_) => error.into(),
                })
            }
            entered => Ok(entered?),
        }
    })?;
    if let Some(user) = &what.user {
        user::run_as(user, &mut target)?;
    }
    let held = what.offline.then(|| Held::new(&app, tenant, &target));
    let visited = visit(what, target).with_context(|| tenant.to_string());
    if let Some(held) = held {
        held.release()?;
    }
    visited
}

/// Starts the command in a process of its own, so that this one can be left outside the tenant with the
/// operator's terminal.
fn visit(what: &args::Exec, mut target: ExecTarget) -> anyhow::Result<u8> {
    let group = begin_group(&what.tenant, &mut target)?;
    let signals = visit::signals().context("cannot handle signals")?;
    let prepared = terminal::prepare().context("cannot make a terminal")?;
    let (Streams { stdio, terminal }, own) = prepared;
    let raw = match own.as_ref().is_some_and(|it| it.is_interactive) {
        true => Some(Raw::enter().context("cannot set up the terminal")?),
        false => None,
    };
    // A command of the manifest may signal as it is, and asks nobody.
    let keeper = target.keeper.take().filter(|_| !what.may_signal);
    let offer = started::offer(&what.tenant, keeper);
    let order = Order {
        is_kept: offer.is_some(),
        parent: offer.as_ref().map_or_else(std::process::id, Offer::keeper),
        tenant: what.tenant.clone(),
        target,
        command: what.command.clone(),
        may_signal: what.may_signal,
        terminal,
        report: None,
    };
    let streams = terminal::owned(stdio).context("cannot pass standard input and output on")?;
    let term = std::env::var_os("TERM");
    let child = spawn(&order, streams, offer, term).context("cannot start a process")?;
    Visit::begin(Running::own(child, group)?, signals, own, raw).wait()
}

/// Makes the cgroup of the command, if there are cgroups.
fn begin_group(tenant: &TenantName, target: &mut ExecTarget) -> anyhow::Result<Option<Group>> {
    let Some(visitors) = &target.cgroup else {
        return Ok(None);
    };
    let pid = target.pid;
    let leaf = match cgroup::begin_visit(Path::new(visitors), tenant) {
        // The supervisor has removed it, because the program has ended.
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(JoinError::Gone { pid }.into());
        }
        begun => begun.context("cannot make its cgroup")?,
    };
    target.cgroup = Some(leaf.path().display().to_string());
    Ok(Some(Group::Cgroup(leaf)))
}

/// Starts the process that enters the tenant and becomes the command.
fn spawn(
    order: &Order,
    streams: [OwnedFd; 3],
    offer: Option<Offer>,
    term: Option<OsString>,
) -> io::Result<Started> {
    let mut file = File::from(memfd_create("tenantd-exec", MemfdFlags::CLOEXEC)?);
    serde_json::to_writer(&mut file, order)?;
    file.rewind()?;
    fcntl_setfd(&file, FdFlags::empty())?;
    let copy = is_exposed(&order.target)
        .then(SealedCopy::make)
        .transpose()?;
    started::start(&file, streams, copy.as_ref(), offer, term)
}

/// Whether a process of the tenant may be able to open the file of a program that enters it, and to write to it: one
/// of root, or one that becomes root, where no domain prevents it.
fn is_exposed(target: &ExecTarget) -> bool {
    target.uid == 0 || matches!(target.landlock.as_deref(), Some(UNCONFINED) | None)
}

/// In the process that [`spawn`] starts: becomes the command. Returns only if that fails; `None` in any
/// other process.
#[must_use]
pub fn asked() -> Option<anyhow::Error> {
    let number = std::env::var(ORDER).ok()?;
    match become_command(&number) {
        Err(error) => Some(NotRun(error).into()),
        Ok(never) => match never {},
    }
}

fn become_command(number: &str) -> anyhow::Result<Infallible> {
    let file = File::open(format!("/proc/self/fd/{number}")).context("cannot read its order")?;
    let order: Order = serde_json::from_reader(io::BufReader::new(file))?;
    let Order { tenant, report, .. } = &order;
    let open = |number: &RawFd| {
        File::options()
            .write(true)
            .open(format!("/proc/self/fd/{number}"))
    };
    let report = report.as_ref().map(open).transpose()?;
    let kept = report.as_ref().map(AsRawFd::as_raw_fd);
    let Err(error) = enter(&order, kept).with_context(|| tenant.to_string());
    match report {
        None => Err(error),
        // Standard error is the client's, and this process may still be root.
        Some(report) => deputy::report(report, &NotRun(error)),
    }
}

fn enter(order: &Order, kept: Option<RawFd>) -> anyhow::Result<Infallible> {
    let Some((program, arguments)) = order.command.split_first() else {
        anyhow::bail!("no command given");
    };
    SigSet::empty().thread_set_mask()?;
    setsid().context("cannot begin a session")?;
    match order.terminal {
        None => {}
        Some(0) => ioctl_tiocsctty(io::stdin())?,
        Some(1) => ioctl_tiocsctty(io::stdout())?,
        Some(_) => ioctl_tiocsctty(io::stderr())?,
    }
    let mut target = target(order.target.clone(), order.parent);
    target.kept = kept;
    target.domain = match target.domain {
        CommandDomain::Whole if order.is_kept => CommandDomain::None,
        CommandDomain::Whole if order.may_signal => CommandDomain::MaySignal,
        domain => domain,
    };
    Ok(join::join(&target, program, arguments)?)
}

/// What a process needs to join a tenant, by what the supervisor says.
pub(super) fn target(exec_target: ExecTarget, parent: u32) -> Target {
    let ExecTarget {
        pid,
        start_ticks,
        cgroup,
        uid,
        gid,
        groups,
        environment,
        working_directory,
        limits,
        privileges,
        landlock,
        keeper: _,
    } = exec_target;
    let limit = |limit: ExecLimit| JoinLimit {
        resource: limit.resource,
        soft: limit.soft,
        hard: limit.hard,
    };
    Target {
        parent,
        pid,
        start_ticks,
        cgroup,
        uid,
        gid,
        groups,
        environment,
        working_directory,
        limits: limits.into_iter().flatten().map(limit).collect(),
        privileges: privileges.unwrap_or_default().into(),
        domain: match landlock.as_deref() {
            Some(UNCONFINED) | None => CommandDomain::None,
            // Also where an earlier supervisor would not confine it.
            Some(_) => CommandDomain::Whole,
        },
        kept: None,
    }
}
