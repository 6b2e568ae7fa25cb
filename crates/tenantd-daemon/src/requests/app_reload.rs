//! Makes the programs of tenants read their configuration again: `tenantd reload-app`.
//!
//! The state of a tenant does not change by that. A signal counts as done when it was sent; a program
//! that says when it has finished (`RELOADING=1` and `READY=1`, see sd_notify(3)) could be waited for in
//! [`Order::signal`]. A command is waited for, and ended when its time is over or this supervisor ends.

use std::os::fd::AsFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::time::timeout;

use tenantd_api::wire::{self, AppReloaded};
use tenantd_core::name::{AppName, TenantName};
use tenantd_core::plan::model::StopSignal;
use tenantd_core::plan::reload::AppReload;
use tenantd_core::supervisor::view::StateWord;
use tenantd_host::{fifo, process};

use crate::executor::inventory::Process;
use crate::executor::report::{ReportKind, Reporter};
use crate::executor::visit;
use crate::logs::Mark;
use crate::requests::answer::Tenants;
use crate::requests::queue::Unknown;
use crate::requests::signal::{OFFLINE, main_process};

/// How many commands run at the same time.
const COMMANDS_MAX: usize = 8;

/// The reloads of programs that are under way.
pub(super) struct AppReloads {
    commands: Rc<Semaphore>,
    /// Whether this supervisor is ending, or being replaced.
    ending: watch::Sender<bool>,
}

/// What is to be done for one tenant.
struct Order {
    app: AppName,
    tenant: TenantName,
    reload: AppReload,
    /// The process that gets a signal.
    main: Option<Rc<Process>>,
    reporter: Reporter,
}

/// What holds for all commands.
#[derive(Clone)]
struct Limits {
    commands: Rc<Semaphore>,
    ending: watch::Receiver<bool>,
}

impl AppReloads {
    /// None is under way.
    pub(super) fn new() -> Self {
        Self {
            commands: Rc::new(Semaphore::new(COMMANDS_MAX)),
            ending: watch::Sender::new(false),
        }
    }

    /// Ends the commands that run, and answers the requests for them.
    pub(super) fn end(&self) {
        self.ending.send_replace(true);
    }

    /// This supervisor continues.
    pub(super) fn resume(&self) {
        self.ending.send_replace(false);
    }

    /// Begins to reload the programs of these tenants. Answers when all is done.
    pub(super) fn begin(
        &self,
        tenants: Tenants<'_>,
        names: &[TenantName],
        mut reply: oneshot::Sender<Result<Vec<AppReloaded>, Unknown>>,
    ) {
        let names = match tenants.names(names) {
            Ok(names) => names,
            Err(unknown) => return drop(reply.send(Err(unknown))),
        };
        let limits = Limits {
            commands: Rc::clone(&self.commands),
            ending: self.ending.subscribe(),
        };
        let each: Vec<_> = names
            .into_iter()
            .map(|tenant| (order(tenants, &tenant), tenant, limits.clone()))
            .collect();
        tenants.executor.host().spawn(async move {
            let each = each.into_iter().map(|(order, tenant, limits)| async move {
                match order {
                    Ok(order) => order.carry_out(limits).await,
                    Err(why) => AppReloaded {
                        tenant,
                        by: None,
                        pid: None,
                        refused: Some(why),
                        failed: None,
                    },
                }
            });
            // Without its client, the commands that run are ended, and no other begins.
            tokio::select! {
                all = join_all(each) => drop(reply.send(Ok(all))),
                () = reply.closed() => {}
            }
        });
    }
}

/// What is to be done for a tenant, or why nothing may.
fn order(tenants: Tenants<'_>, tenant: &TenantName) -> Result<Order, String> {
    let view = tenants.supervisor.tenant(tenant);
    let state = view.as_ref().map_or(StateWord::Down, |view| view.state);
    let entry = tenants.executor.inventory().get(tenant);
    let (StateWord::Up, Some(entry)) = (state, entry) else {
        if state == StateWord::Offline {
            return Err(OFFLINE.to_owned());
        }
        let state = wire::StateWord::from(state).word();
        return Err(format!(
            "it is {state}: no program runs that could read it, and a start reads it anyway"
        ));
    };
    let Some(reload) = entry.planned().policy.reload.clone() else {
        return Err("the manifest has no [app.reload], see tenantd.toml(5)".to_owned());
    };
    if view.and_then(|view| view.ready) != Some(true) {
        return Err("it is not ready yet: see `tenantd status`".to_owned());
    }
    let main = match &reload {
        AppReload::Command { .. } => None,
        AppReload::Signal(_) => {
            let running = entry.running.as_ref();
            Some(main_process(running.ok_or("its program has just ended")?)?)
        }
    };
    let host = tenants.executor.host();
    Ok(Order {
        app: host.app.clone(),
        tenant: tenant.clone(),
        reload,
        main,
        reporter: host.reporter.clone(),
    })
}

impl Order {
    async fn carry_out(self, limits: Limits) -> AppReloaded {
        let (pid, done) = match (&self.reload, &self.main) {
            (AppReload::Signal(signal), Some(main)) => {
                (u32::try_from(main.pid).ok(), self.signal(signal, main))
            }
            (AppReload::Signal(_), None) => (None, Err("its program has just ended".to_owned())),
            (AppReload::Command { argv, within }, _) => {
                (None, self.run(argv, *within, limits).await)
            }
        };
        let tenant = &self.tenant;
        match &done {
            Ok(()) => tracing::info!(%tenant, "{tenant}: its program was told to reload"),
            Err(why) => tracing::warn!(%tenant, "{tenant}: cannot reload its program: {why}"),
        }
        AppReloaded {
            by: Some(self.reload.to_string()),
            pid,
            refused: None,
            failed: done.err(),
            tenant: self.tenant,
        }
    }

    fn signal(&self, signal: &StopSignal, main: &Process) -> Result<(), String> {
        let (name, pid) = (&signal.name, main.pid);
        self.mark(format!("{name} sent to the main process {pid}"));
        let sent = process::signal(main.fd.as_fd(), signal.number);
        sent.map_err(|errno| match errno {
            rustix::io::Errno::SRCH => "its main process has just ended".to_owned(),
            errno => format!("cannot signal its main process {pid}: {errno}"),
        })
    }

    async fn run(&self, argv: &[String], within: Duration, limits: Limits) -> Result<(), String> {
        let Limits {
            commands,
            mut ending,
        } = limits;
        let run = async {
            let _permit = commands.acquire().await;
            let output = fifo::open_for_tenant(&self.app, &self.tenant);
            let output = output.map_err(|failure| failure.to_string())?;
            self.mark(format!("{} started", self.reload));
            let begun = Instant::now();
            let ran = visit::run(&self.app, &self.tenant, argv, Some(output));
            let failure = match timeout(within, ran).await {
                Ok(ended) => visit::failure(ended?),
                Err(_) => {
                    let limit = within.as_secs_f64();
                    Some(format!("the command was ended after {limit} s"))
                }
            };
            let took = begun.elapsed().as_secs_f64();
            match failure {
                None => {
                    self.mark(format!("the command finished in {took:.1} s"));
                    Ok(())
                }
                Some(why) => {
                    self.mark(why.clone());
                    Err(why)
                }
            }
        };
        tokio::select! {
            result = run => result,
            _ = ending.wait_for(|ending| *ending) => {
                Err("the supervisor is ending or being upgraded: try again".to_owned())
            }
        }
    }

    fn mark(&self, text: String) {
        let mark = ReportKind::Mark(Mark::Reload(text));
        self.reporter.report(&self.tenant, mark);
    }
}
