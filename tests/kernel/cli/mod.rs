//! The real binary in a test host, with a scripted supervisor at the control socket.

mod ask;
mod complete;
mod doctor;
mod exec;
mod import;
mod later;
mod list;
mod logs;
mod mistakes;

use crate::support;

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use tenantd_api::wire::{
    self, Answer, AppStatus, ExecLimit, ExecTarget, LogPlace, NetworkState, StateWord,
    TenantAnswer, TenantStatus, Tracking, Verb, Want,
};
use tenantd_core::name::{AppName, TenantName};
use tenantd_daemon::requests::control;
use tenantd_daemon::requests::programs::Part;
use tenantd_daemon::requests::queue::{self, NoExecTarget, Request, Unknown};
use tenantd_daemon::subscriptions::{Scope, Subscriptions};

/// The limit of each wait, far above the time that anything here needs.
const LIMIT: Duration = Duration::from_secs(10);

fn tenantd(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tenantd"));
    command
        .args(arguments)
        .env_remove("TENANTD_APP")
        .env_remove("TENANTD_CONFIG")
        .stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> Output {
    tenantd(arguments).output().unwrap()
}

#[track_caller]
fn expect(output: &Output, code: i32, stdout: &str, stderr: &str) {
    assert_eq!(String::from_utf8_lossy(&output.stdout), stdout);
    assert_eq!(String::from_utf8_lossy(&output.stderr), stderr);
    assert_eq!(output.status.code(), Some(code));
}

/// Two tenants: acme follows requests, beta can neither be started nor stopped.
fn status(app: &AppName, names: &[TenantName]) -> Result<AppStatus, Unknown> {
    let one = |name: &str, state, pid: Option<u32>, why: Option<&str>| TenantStatus {
        pid,
        ready: pid.map(|_| true),
        why: why.map(Into::into),
        ..TenantStatus::bare(
            name.parse().unwrap(),
            std::net::Ipv4Addr::new(10, 77, 0, 11).into(),
            state,
        )
    };
    let all = [
        one("acme", StateWord::Up, Some(123), None),
        one(
            "beta",
            StateWord::Failed,
            None,
            Some("cannot execute /opt/wiki"),
        ),
    ];
    for name in names {
        if all.iter().all(|tenant| tenant.name != *name) {
            let tenant = name.clone();
            return Err(Unknown { tenant });
        }
    }
    let wanted = |tenant: &TenantStatus| names.is_empty() || names.contains(&tenant.name);
    Ok(AppStatus {
        app: app.clone(),
        pid: 4711,
        tracking: Tracking::Cgroup,
        logs: LogPlace::Files,
        unwatched: None,
        network: NetworkState::default(),
        manifest: None,
        tenants: all.into_iter().filter(wanted).collect(),
    })
}

fn names(status: &Result<AppStatus, Unknown>) -> Result<Vec<TenantName>, Unknown> {
    let tenants = status.as_ref().map(|status| &status.tenants);
    let names = tenants.map(|tenants| tenants.iter().map(|tenant| tenant.name.clone()).collect());
    names.map_err(Clone::clone)
}

fn scope(tenants: &[TenantName]) -> Scope {
    Scope {
        all: tenants.is_empty(),
        requests: false,
    }
}

struct Script {
    app: AppName,
    exec_target: Option<ExecTarget>,
    /// Whether a stop is completed.
    down: bool,
    /// Where the tenants' output goes.
    logs: LogPlace,
    /// Dies instead of accepting a subscriber.
    dies: bool,
    subscriptions: Subscriptions,
}

impl Script {
    fn new() -> Self {
        let app: AppName = support::app_name().parse().unwrap();
        Self {
            app,
            exec_target: None,
            down: false,
            logs: LogPlace::Files,
            dies: false,
            subscriptions: Subscriptions::default(),
        }
    }

    fn status(&self, tenants: &[TenantName]) -> Result<AppStatus, Unknown> {
        let mut status = status(&self.app, tenants)?;
        status.logs = self.logs;
        if self.down {
            status.tenants[0].state = StateWord::Down;
            status.tenants[0].want = Want::Down;
        }
        Ok(status)
    }

    fn enter(&self, tenant: TenantName) -> Result<ExecTarget, NoExecTarget> {
        let down = NoExecTarget::Down(StateWord::Failed);
        match tenant.as_str() {
            "acme" => self.exec_target.clone().ok_or(down),
            "beta" => Err(down),
            _ => Err(NoExecTarget::Unknown(Unknown { tenant })),
        }
    }

    /// Answers a request; false ends the supervisor.
    fn answer(&mut self, ask: Request) -> bool {
        // A client that has disconnected needs no answer.
        match ask {
            Request::Names { tenants, reply } => drop(reply.send(names(&self.status(&tenants)))),
            Request::Part { tenants, reply, .. } => {
                let status = self.status(&tenants).unwrap();
                drop(reply.send(Part::without_programs(status)));
            }
            Request::Watch { tenants, reply, .. } => {
                if self.dies {
                    return false;
                }
                let names = names(&self.status(&tenants));
                let scope = scope(&tenants);
                let feed = names.map(|names| self.subscriptions.subscribe(names, scope, None));
                drop(reply.send(feed));
            }
            Request::Act {
                verb,
                tenants,
                reply,
                ..
            } => {
                self.down = verb == Verb::Stop;
                let answer = |tenant: TenantStatus| TenantAnswer {
                    tenant: tenant.name,
                    answer: Answer::Accepted,
                    unkept: None,
                };
                let answers = status(&self.app, &tenants)
                    .map(|status| status.tenants.into_iter().map(answer).collect());
                drop(reply.send(answers));
            }
            Request::AllowTakeover(_, reply) => drop(reply.send(Ok(()))),
            Request::Logs { reply, .. } => drop(reply),
            Request::Repair { reply, .. } => drop(reply),
            Request::Exec(asked) => drop(asked),
            Request::Planned { reply } => drop(reply),
            Request::Set(asked) => drop(asked),
            Request::Upgrade { reply } => {
                let _gone = reply.send(Err("not here".to_owned()));
            }
            Request::Upgraded { .. } => unreachable!("it follows an upgrade"),
            Request::Signal { .. } | Request::ReloadApp { .. } | Request::Freeze { .. } => {
                unreachable!("nothing sends a signal")
            }
            Request::Offline(_) => unreachable!("no command is for a tenant that is down"),
            Request::Detach { reply } => {
                let _gone = reply.send(Ok(()));
            }
            Request::Reload { reply, .. } | Request::Diff { reply } => {
                let _gone = reply.send(Ok(tenantd_core::plan::diff::Changes::default()));
            }
            Request::Manifest { reply } => {
                let _gone = reply.send("/etc/tenantd/wiki.toml".into());
            }
            Request::Enter { tenant, reply } => {
                drop(reply.send(self.enter(tenant)));
            }
        }
        true
    }

    /// Serves on a thread of its own, in the caller's test host.
    fn serve(mut self) {
        let folder = wire::control_socket(&self.app);
        std::fs::create_dir_all(folder.parent().unwrap()).unwrap();
        let (bound, is_bound) = channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            tokio::task::LocalSet::new().block_on(&runtime, async {
                let listener = control::bind(&self.app).unwrap();
                let (queue, mut incoming) = queue::open();
                tokio::task::spawn_local(listener.serve(queue));
                bound.send(()).unwrap();
                while let Some(ask) = incoming.recv().await {
                    if !self.answer(ask) {
                        // As if it was killed: the connections end without an answer.
                        return;
                    }
                }
            });
        });
        is_bound.recv_timeout(LIMIT).unwrap();
    }
}
