//! Sends a signal to the programs of tenants: `tenantd kill`.
//!
//! The state of a tenant does not change by that. If the signal ends the program, that is an end that
//! was not requested, and the restart policy decides. A thread for blocking work signals the processes
//! of a tenant, since there may be thousands.

use std::os::fd::AsFd;
use std::rc::Rc;

use tokio::sync::oneshot;

use tenantd_api::wire::{self, Signalled};
use tenantd_core::name::TenantName;
use tenantd_core::plan::phase::Phase;
use tenantd_core::supervisor::event::signal_name;
use tenantd_core::supervisor::view::StateWord;
use tenantd_host::cgroup::Leaf;
use tenantd_host::process;

use crate::executor::blocking::blocking_change;
use crate::executor::inventory::{Entry, Main, Process, Running};
use crate::requests::answer::Tenants;
use crate::requests::queue::Unknown;

/// The highest number of a signal, see signal(7).
const SIGNAL_MAX: i32 = 64;

/// No program runs in such a tenant.
pub(super) const OFFLINE: &str =
    "a command of `exec --offline` runs in it, and not its program: see `tenantd stop`";

/// What gets a signal.
pub(super) enum Target {
    /// This process.
    Process(Rc<Process>),
    /// Every process of the program in this leaf, while this is the part of the program.
    Leaf(Leaf, Option<u64>),
    /// Every process in the network namespace with this inode: the host has no cgroups.
    Netns(u64),
}

/// Sends a signal to these tenants, to their main processes only if `main` is set. Answers when that is
/// done.
pub(super) fn send(
    tenants: Tenants<'_>,
    names: &[TenantName],
    (signal, main): (i32, bool),
    reply: oneshot::Sender<Result<Vec<Signalled>, Unknown>>,
) {
    let names = match tenants.names(names) {
        Ok(names) => names,
        Err(unknown) => return drop(reply.send(Err(unknown))),
    };
    let target = |name: TenantName| {
        let target = match (1..=SIGNAL_MAX).contains(&signal) {
            true => target(tenants, &name, main),
            false => Err(format!("{signal} is not the number of a signal")),
        };
        (name, target)
    };
    let targets: Vec<_> = names.into_iter().map(target).collect();
    tenants.executor.host().spawn(async move {
        let mut all = Vec::with_capacity(targets.len());
        for (tenant, target) in targets {
            let pid = target.as_ref().ok().and_then(Target::pid);
            let sent = match target {
                Ok(target) => target.signal(signal).await,
                Err(why) => Err(why),
            };
            if let Ok(count) = sent {
                let (name, to) = (signal_name(signal), received(count, pid));
                tracing::info!(%tenant, "{tenant}: {name} was sent to {to}, as requested");
            }
            all.push(Signalled {
                tenant,
                processes: *sent.as_ref().unwrap_or(&0),
                pid,
                refused: sent.err(),
            });
        }
        // The client may have disconnected.
        let _gone = reply.send(Ok(all));
    });
}

/// What a signal was sent to.
fn received(count: u64, main: Option<u32>) -> String {
    match (main, count) {
        (Some(pid), _) => format!("the main process {pid}"),
        (None, 1) => "1 process".to_owned(),
        (None, count) => format!("{count} processes"),
    }
}

/// What gets the signal of a tenant, or why nothing may.
fn target(tenants: Tenants<'_>, tenant: &TenantName, main: bool) -> Result<Target, String> {
    let view = tenants.supervisor.tenant(tenant);
    let state = view.map_or(StateWord::Down, |view| view.state);
    let is = || format!("it is {}", wire::StateWord::from(state).word());
    let entry = tenants.executor.inventory().get(tenant);
    let entry = entry.ok_or_else(is)?;
    let running = entry.running.as_ref();
    match state {
        StateWord::Up | StateWord::Stopping => {}
        StateWord::Launching | StateWord::Initializing | StateWord::Preparing => {
            if !running.is_some_and(|running| running.executed) {
                return Err("it is launching, and its program does not run yet".to_owned());
            }
        }
        StateWord::Offline => return Err(OFFLINE.to_owned()),
        StateWord::Stuck => return Err("it is stuck: see WHY in `tenantd status`".to_owned()),
        StateWord::Down
        | StateWord::Provisioning
        | StateWord::Waiting
        | StateWord::Failed
        | StateWord::Exited
        | StateWord::Releasing => return Err(format!("{}: no program of it runs", is())),
    }
    let running = running.ok_or("its program has just ended")?;
    if running.phase == Phase::Offline {
        return Err(OFFLINE.to_owned());
    }
    match main {
        true => main_process(running).map(Target::Process),
        false => all_processes(entry),
    }
}

/// The main process of a launch, or why there is none.
pub(super) fn main_process(running: &Running) -> Result<Rc<Process>, String> {
    match running.phase {
        Phase::Main => {}
        Phase::Offline => return Err(OFFLINE.to_owned()),
        Phase::Init | Phase::Before => {
            let phase = running.phase;
            return Err(format!("its {phase} runs, and not yet its program"));
        }
    }
    match (&running.main, &running.process) {
        (Main::Found(main, _), _) | (Main::First, Some(main)) => Ok(Rc::clone(main)),
        (Main::First, None) => Err("its main process is not known: see `pid_file` in \
                                    tenantd.toml(5)"
            .to_owned()),
        (Main::Gone(_) | Main::Over, _) => Err("its main process has ended".to_owned()),
    }
}

fn all_processes(entry: &Entry) -> Result<Target, String> {
    let provisioned = entry.provisioned.as_ref();
    let provisioned = provisioned.ok_or("its program has just ended")?;
    Ok(match &provisioned.leaf {
        Some(leaf) => Target::Leaf(leaf.clone(), leaf.program_id()),
        None => Target::Netns(provisioned.inode),
    })
}

impl Target {
    /// The number of the one process that gets the signal.
    fn pid(&self) -> Option<u32> {
        match self {
            Self::Process(process) => u32::try_from(process.pid).ok(),
            Self::Leaf(..) | Self::Netns(_) => None,
        }
    }

    /// Sends the signal. Returns the number of processes.
    pub(super) async fn signal(self, signal: i32) -> Result<u64, String> {
        let sent = match self {
            Self::Process(process) => {
                let sent = process::signal(process.fd.as_fd(), signal);
                return sent.map(|()| 1).map_err(|errno| match errno {
                    rustix::io::Errno::SRCH => "its main process has just ended".to_owned(),
                    errno => format!("cannot signal its main process {}: {errno}", process.pid),
                });
            }
            Self::Leaf(leaf, program) => {
                let send = move |leaf: &Leaf| leaf.send(signal);
                blocking_change(move || leaf.unless_next(program, send)).await
            }
            Self::Netns(inode) => {
                blocking_change(move || process::signal_netns(inode, signal)).await
            }
        };
        match sent {
            Ok(0) => Err("its program has just ended".to_owned()),
            Ok(count) => Ok(count as u64),
            Err(failure) => Err(failure.to_string()),
        }
    }
}
