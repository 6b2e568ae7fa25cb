//! The contents of answers: the state of the tenants, and what is needed to join one.

use tenantd_api::wire::watch::ProgramExit;
use tenantd_api::wire::{self, AppStatus, ExecLimit, ExecTarget, LogPlace, TenantStatus, Tracking};
use tenantd_core::name::TenantName;
use tenantd_core::plan::model::{LaunchPlan, Limits};
use tenantd_core::plan::notify;
use tenantd_core::supervisor::forced::ForcedKill;
use tenantd_core::supervisor::offline::Offline;
use tenantd_core::supervisor::view::{StateWord, Unapplied, Want, Why};
use tenantd_core::supervisor::{Cause, Supervisor};
use tenantd_host::cgroup::Leaf;
use tenantd_host::launch::Domain;
use tenantd_host::limits::{self, JoinLimit};
use tenantd_host::{fifo, keeper, process};

use crate::clock;
use crate::drifts::Drifts;
use crate::executor::Executor;
use crate::executor::inventory::{Entry, Running};
use crate::reached::Reached;
use crate::refusals::Refusals;
use crate::reload::Reloads;
use crate::requests::queue::{AskedExec, NoExecTarget, Unknown};
use crate::targets::Targets;
use crate::wants::Wants;

/// A read-only view of all tenants.
#[derive(Clone, Copy)]
pub(crate) struct Tenants<'a> {
    pub(crate) supervisor: &'a Supervisor,
    pub(crate) executor: &'a Executor,
    pub(crate) reloads: &'a Reloads,
    pub(crate) wants: &'a Wants,
    pub(crate) seen: Seen<'a>,
}

/// What was seen of the running programs.
#[derive(Clone, Copy)]
pub(crate) struct Seen<'a> {
    pub(crate) targets: &'a Targets,
    pub(crate) refusals: &'a Refusals,
    pub(crate) reached: &'a Reached,
    pub(crate) drifts: &'a Drifts,
    pub(crate) transitions: &'a crate::transitions::Transitions,
    pub(crate) readiness: &'a crate::readiness::Readiness,
}

impl<'a> Tenants<'a> {
    pub(super) fn of(
        (supervisor, executor): (&'a Supervisor, &'a Executor),
        reloads: &'a Reloads,
        wants: &'a Wants,
        seen: Seen<'a>,
    ) -> Self {
        Self {
            supervisor,
            executor,
            reloads,
            wants,
            seen,
        }
    }

    /// These tenants, each once, if all of them exist; all, if none is named. In the order of the manifest.
    pub(crate) fn names(self, tenants: &[TenantName]) -> Result<Vec<TenantName>, Unknown> {
        let unknown = |name: &&TenantName| self.supervisor.tenant(name).is_none();
        if let Some(tenant) = tenants.iter().find(unknown) {
            let tenant = tenant.clone();
            return Err(Unknown { tenant });
        }
        let mut names: Vec<TenantName> = match tenants.is_empty() {
            true => self.supervisor.names().cloned().collect(),
            false => tenants.to_vec(),
        };
        let place = |name: &TenantName| (self.reloads.place(name), self.supervisor.place(name));
        names.sort_by_cached_key(place);
        // The length of an answer, and of a subscription's queue, is limited by the number of tenants, not by
        // what a client repeats.
        names.dedup();
        Ok(names)
    }

    /// These tenants, as [`Tenants::names`] returns them, and where their logs are.
    pub(crate) fn logged(
        self,
        tenants: &[TenantName],
    ) -> Result<(Vec<TenantName>, LogPlace), Unknown> {
        let names = self.names(tenants)?;
        Ok((names, self.executor.host().logs_go_to))
    }

    /// The state of the supervisor and of those of these tenants that exist, without the state of
    /// their programs.
    pub(crate) fn status(self, tenants: &[TenantName]) -> AppStatus {
        AppStatus {
            app: self.executor.host().app.clone(),
            pid: std::process::id(),
            tracking: match self.executor.host().cgroups {
                Some(_) => Tracking::Cgroup,
                None => Tracking::Netns,
            },
            logs: self.executor.host().logs_go_to,
            unwatched: self.seen.targets.unwatched().map(str::to_owned),
            network: self.seen.drifts.shared().clone(),
            manifest: Some(self.reloads.manifest().path().display().to_string()),
            tenants: tenants
                .iter()
                .filter_map(|tenant| self.tenant_status(tenant))
                .collect(),
        }
    }

    /// The state of one tenant.
    pub(crate) fn tenant_status(self, tenant: &TenantName) -> Option<TenantStatus> {
        let view = self.supervisor.tenant(tenant)?;
        let awaits = match view.want {
            Want::Up => self.supervisor.awaited(&view.name).cloned().collect(),
            Want::Down => Vec::new(),
        };
        let entry = self.executor.inventory().get(&view.name)?;
        let running = entry.running.as_ref();
        let main = running.and_then(Running::found_main);
        let process = running.and_then(Running::of_program);
        let pid = process.and_then(|process| u32::try_from(process.pid).ok());
        // Without proof, no tenant is called down.
        let unproved = match view.state == StateWord::Down {
            true => self.executor.unproved(tenant, self.supervisor),
            false => None,
        };
        let offline = view.offline.as_ref().map(running_offline);
        let why = view.why.as_ref().map(|why| self.with_limits(tenant, why));
        Some(TenantStatus {
            pid,
            addresses: entry.plan.link.addresses.clone(),
            want: view.want.into(),
            permanent: self.wants.of(&view.name).map(wire::Want::of),
            state: match &unproved {
                Some(_) => wire::StateWord::Stuck,
                None => view.state.into(),
            },
            phase: wire::Phase::of(view.state),
            restarts: view.restarts,
            since: clock::date(view.since),
            ready: view.ready,
            program: None,
            awaits,
            until: view.until.map(clock::date),
            why: unproved
                .or(offline.as_ref().map(ToString::to_string))
                .or(why),
            failure: failure(view.why),
            applying: view.unapplied == Some(Unapplied::Underway),
            unapplied: view.unapplied.and_then(refused),
            lid: running.and_then(|run| Some(run.view?.lid?.to_string())),
            refused: self.seen.refusals.of_tenant(&view.name).to_vec(),
            misfit: None,
            exit: self.supervisor.exit_of(tenant).map(Into::into),
            killed: view.forced.as_ref().map(killed),
            main: main.map(|(_, by)| by.word().to_owned()),
            status_text: running.and_then(|run| run.statement.status.clone()),
            reloading: running.map(|run| run.statement.reloading).filter(|is| *is),
            confined: self.confined(entry),
            offline,
            paused: entry.frozen,
            network: self.seen.drifts.of_tenant(&view.name),
            cgroup: cgroup(entry),
            link: link(entry),
            last_failure: super::failed::of(self, tenant),
            starved: self.seen.reached.starved(&view.name),
            probe: self.seen.readiness.probed(&view.name),
            by_hand: super::set::shown_of(entry),
            reached: self.seen.reached.of_tenant(&view.name),
            engine: entry.planned().policy.engine.foreign().map(str::to_owned),
            name: view.name,
        })
    }

    /// The cause of a transition as text, as [`Self::with_limits`].
    pub(crate) fn reason(self, tenant: &TenantName, cause: &Cause) -> String {
        match (ProgramExit::of(cause), self.seen.reached.reason(tenant)) {
            (Some(_), Some(reason)) => format!("{cause}; {reason}"),
            (Some(_) | None, _) => cause.to_string(),
        }
    }

    /// Why a tenant is in its state. To the end of a program belong the limits that it had reached.
    fn with_limits(self, tenant: &TenantName, why: &Why) -> String {
        match (why, self.seen.reached.reason(tenant)) {
            (Why::Exit(_), Some(reason)) => format!("{why}; {reason}"),
            (Why::Exit(_) | Why::Failure(_), _) => why.to_string(),
        }
    }

    /// What confines the processes of the launch.
    fn confined(self, entry: &Entry) -> Option<String> {
        let domain = entry.running.as_ref()?.view?.domain?;
        let uid = entry.plan.launch.identity.uid;
        Some(match domain {
            Domain::Landlock(_) => domain.to_string(),
            Domain::None if self.executor.inventory().is_shared_user(uid) => domain.to_string(),
            Domain::None => "uid".to_owned(),
        })
    }

    fn exec_limits(self, limits: &Limits) -> Vec<ExecLimit> {
        let limits = limits::at_join(limits, self.executor.host().descriptors);
        let limit = |limit: JoinLimit| ExecLimit {
            resource: limit.resource,
            soft: limit.soft,
            hard: limit.hard,
        };
        limits.into_iter().map(limit).collect()
    }

    /// What a process needs to join a tenant that is up.
    pub(crate) fn exec_target(self, tenant: &TenantName) -> Result<ExecTarget, NoExecTarget> {
        let view = self.supervisor.tenant(tenant);
        if let Some(offline) = view.as_ref().and_then(|view| view.offline.as_ref()) {
            let reason = format!("its program does not run: `exec --offline` does ({offline})");
            return Err(NoExecTarget::Lost(reason));
        }
        let entry = self.executor.inventory().get(tenant);
        if entry.is_some_and(|entry| entry.frozen) {
            let reason = format!("it is paused: `tenantd resume {tenant}` lets it continue");
            return Err(NoExecTarget::Lost(reason));
        }
        self.join_target(tenant, StateWord::Up)
    }

    pub(crate) fn answer_exec(self, asked: AskedExec) {
        let target = self.visited(&asked.tenants, asked.apart);
        drop(asked.reply.send(target));
    }

    /// What a command of a client without root needs to join a tenant: that of the first name. With a user of
    /// several tenants, it could set limits of the others' processes and use their objects (prlimit(2), shmget(2)).
    fn visited(self, tenants: &[TenantName], apart: bool) -> Result<ExecTarget, NoExecTarget> {
        let lost = |why: &str| Err(NoExecTarget::Lost(format!("this needs root: {why}")));
        let Some(tenant) = tenants.first() else {
            return lost("no tenant is named");
        };
        let target = self.exec_target(tenant)?;
        if target.uid == 0 {
            return lost("its program runs as root, whose processes the command could signal");
        }
        if target.cgroup.is_none() {
            return lost("without a cgroup, what the command leaves behind cannot be found");
        }
        if apart && self.executor.inventory().is_shared_user(target.uid) {
            return lost(
                "other tenants have the same user, and the right `exec` is not for all tenants: give each \
                 tenant a user of its own with `user = \"per-tenant\"`",
            );
        }
        Ok(target)
    }

    /// What the command of `exec --offline` needs to join a tenant.
    pub(crate) fn offline_target(self, tenant: &TenantName) -> Result<ExecTarget, NoExecTarget> {
        self.join_target(tenant, StateWord::Offline)
    }

    fn join_target(
        self,
        tenant: &TenantName,
        state: StateWord,
    ) -> Result<ExecTarget, NoExecTarget> {
        let Some(view) = self.supervisor.tenant(tenant) else {
            return Err(NoExecTarget::Unknown(Unknown {
                tenant: tenant.clone(),
            }));
        };
        let down = || NoExecTarget::Down(view.state.into());
        let entry = self.executor.inventory().get(tenant).ok_or_else(down)?;
        let provisioned = entry.provisioned.as_ref().ok_or_else(down)?;
        if view.state != state {
            return Err(down());
        }
        let running = entry.running.as_ref();
        let main = running.and_then(Running::found_main).map(|(main, _)| main);
        let first = main.or(running.and_then(|run| run.process.as_ref()));
        let pid = match (first, &provisioned.leaf) {
            (Some(first), _) => Some(first.pid),
            // The tenant daemonizes: any of its processes will do.
            (None, Some(leaf)) => {
                let pids = leaf
                    .pids()
                    .map_err(|failure| NoExecTarget::Lost(failure.to_string()))?;
                pids.first().copied()
            }
            (None, None) => {
                let pids = process::in_netns(provisioned.inode).map_err(|error| {
                    NoExecTarget::Lost(format!("cannot look for its processes: {error}"))
                })?;
                pids.first().copied()
            }
        };
        let lost = || NoExecTarget::Lost("its process has just ended".to_owned());
        let pid = pid.ok_or_else(lost)?;
        let launch = &entry.plan.launch;
        let visitors = provisioned.leaf.as_ref().map(Leaf::make_visitors);
        let visitors = visitors
            .transpose()
            .map_err(|failure| NoExecTarget::Lost(failure.to_string()))?;
        Ok(ExecTarget {
            pid: u32::try_from(pid).map_err(|_| lost())?,
            start_ticks: process::start_ticks(pid).ok_or_else(lost)?,
            cgroup: visitors.map(|path| path.display().to_string()),
            uid: launch.identity.uid,
            gid: launch.identity.gid,
            groups: launch.identity.groups.clone(),
            environment: notify::without(&launch.environment),
            working_directory: launch.working_directory.display().to_string(),
            limits: Some(self.exec_limits(&launch.limits)),
            privileges: Some(launch.wall.privileges.into()),
            landlock: Some(exec_landlock(launch).to_owned()),
            keeper: self.keeper(entry, state),
        })
    }
}

impl Tenants<'_> {
    /// The socket of a tenant's keeper, if its launch has one.
    fn keeper(self, entry: &Entry, state: StateWord) -> Option<String> {
        let has_one = entry.plan.launch.wall.exec_reaches && state == StateWord::Up;
        has_one.then(|| {
            let folder = fifo::folder(&self.executor.host().app, &entry.plan.name);
            folder.join(keeper::SOCKET).display().to_string()
        })
    }
}

/// When a command is confined. Also with a user that no other tenant of the application has: one of another
/// application may.
fn exec_landlock(launch: &LaunchPlan) -> &'static str {
    match launch.wall.landlock {
        true => "always",
        false => "never",
    }
}

fn running_offline(offline: &Offline) -> wire::Offline {
    let Offline { client, command } = offline;
    wire::Offline {
        pid: *client,
        command: command.clone(),
    }
}

fn killed(forced: &ForcedKill) -> wire::Killed {
    let ForcedKill {
        at,
        grace,
        processes,
    } = forced;
    let processes = processes.as_ref();
    wire::Killed {
        time: clock::date(*at),
        grace_ms: grace.map(|grace| u64::try_from(grace.as_millis()).unwrap_or(u64::MAX)),
        count: processes.map(|it| it.count),
        processes: processes.map_or_else(Vec::new, |it| it.named.clone()),
    }
}

/// The path of its cgroup, if it has one.
fn cgroup(entry: &Entry) -> Option<String> {
    let leaf = entry.provisioned.as_ref()?.leaf.as_ref()?;
    Some(leaf.path().display().to_string())
}

/// The name of its link on the host, if it has one.
fn link(entry: &Entry) -> Option<String> {
    let provisioned = entry.provisioned.as_ref()?;
    provisioned
        .has_netns
        .then(|| entry.plan.link.host.name.to_string())
}

/// Why a live change was refused.
fn refused(unapplied: Unapplied) -> Option<tenantd_core::stage::Failure> {
    match unapplied {
        Unapplied::Refused(failure) => Some(failure),
        Unapplied::Underway => None,
    }
}

fn failure(why: Option<Why>) -> Option<tenantd_core::stage::Failure> {
    match why? {
        Why::Failure(failure) => Some(failure),
        Why::Exit(_) => None,
    }
}
