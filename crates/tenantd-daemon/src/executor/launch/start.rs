//! The start of a launch: from the action to a child, which continues by itself.

use std::os::fd::AsFd;
use std::rc::Rc;
use std::sync::Arc;

use rustix::process::Rlimit;
use tokio::sync::Notify;

use tenantd_core::name::{AppName, TenantName};
use tenantd_core::plan::model::TenantPlan;
use tenantd_core::plan::phase::Phase;
use tenantd_core::stage::{Failure, Stage};
use tenantd_core::supervisor::event::LaunchId;
use tenantd_host::cgroup::Leaf;
use tenantd_host::crash;
use tenantd_host::launch::lookup::OwnFile;
use tenantd_host::launch::ready_fd::ReadyFd;
use tenantd_host::launch::{Child, MountTemplates, Order, Used};
use tenantd_host::netns::{Netns, NetnsMounts};
use tenantd_host::program::ProgramFile;
use tenantd_host::{fifo, launch, lock, notify, process, syslog, timeline};

use crate::executor::blocking::blocking_now;
use crate::executor::host::{Host, blocking, broken};
use crate::executor::inventory::{Process, Provisioned};
use crate::executor::report::Spawned;

/// A pidfd of a child, and its report.
type Watched = (ReadyFd, launch::Report);

impl Host {
    /// Begins to start a program, on a thread for blocking work. Returns what waits until it has a process.
    pub(super) fn start(
        &self,
        plan: &Arc<TenantPlan>,
        provisioned: Provisioned,
        (launch, phase): (LaunchId, Phase),
    ) -> impl Future<Output = Result<Option<(Spawned, launch::Report, Used)>, Failure>> + use<>
    {
        let used = provisioned.leaf.clone().filter(|_| provisioned.used);
        let visitors = Rc::clone(&self.visitors);
        let visited = used.as_ref();
        let visited = visited.map_or(Ok(false), |leaf| visitors.has_any(leaf));
        let noticed = match phase {
            Phase::Main => self.notices_of(plan, launch),
            Phase::Init | Phase::Before | Phase::Offline => Ok(()),
        };
        let work = self.work(plan, provisioned, phase);
        let begun = visited.and_then(|visited| {
            noticed?;
            Ok(match used.filter(|_| visited) {
                Some(leaf) => Begun::After(leaf, work),
                None => Begun::Now(blocking_now(work)),
            })
        });
        async move {
            let (program, child) = match begun? {
                Begun::Now(begun) => begun.await?,
                Begun::After(leaf, work) => {
                    visitors.end_after(&leaf).await?;
                    blocking(work).await?
                }
            };
            Ok(child.map(|child| spawned(child, program, phase)))
        }
    }

    /// What a launch does on a thread for blocking work.
    fn work(
        &self,
        plan: &Arc<TenantPlan>,
        provisioned: Provisioned,
        phase: Phase,
    ) -> impl FnOnce() -> Result<Made, Failure> + Send + use<> {
        let (app, descriptors) = (self.app.clone(), self.descriptors);
        let (templates, namespaces) = (Arc::clone(&self.templates), Arc::clone(&self.netns));
        let (plan, limiter) = (Arc::clone(plan), self.limiter());
        let cgroups = self.cgroups.clone().filter(|_| provisioned.used);
        move || {
            if let (Some(cgroups), Some(leaf)) = (cgroups, &provisioned.leaf) {
                let _span = timeline::span("launch: leaf", plan.name.as_str());
                cgroups.recreate(leaf)?;
            }
            // Before the launch: a file that is replaced meanwhile then counts as older, never as
            // current, and costs at most a restart. If the file cannot be read, the launch fails
            // too, with a reason.
            let program = match phase {
                Phase::Main => ProgramFile::at(&plan.launch.program).ok(),
                // `status` compares that of the program only.
                Phase::Init | Phase::Before | Phase::Offline => None,
            };
            let limit = || {
                let _span = timeline::span("launch: limits", plan.name.as_str());
                limiter.limit_tenant(provisioned.leaf.as_ref(), &plan)?;
                crash::point("launch: limits set", plan.name.as_str());
                Ok(())
            };
            // Limits hold before there is a process. That there are none is proved while the child attaches its
            // mounts: it executes nothing before.
            let later = plan.launch.group.is_empty() && limiter.total.is_empty();
            if !later {
                limit()?;
            }
            let netns = open_netns(&namespaces, &plan.name, &provisioned)?;
            let made = (&netns, provisioned.leaf.as_ref());
            let last = || if later { limit() } else { Ok(()) };
            let child = order(&app, &plan, made, &templates, (descriptors, phase), last)?;
            Ok((program, child))
        }
    }

    /// Makes the notify socket of a launch, if its program uses one.
    fn notices_of(&self, plan: &TenantPlan, launch: LaunchId) -> Result<(), Failure> {
        match uses_notices(plan) {
            true => {
                let inbox = notify::bind(&self.app, &plan.name)?;
                self.notices.add(&plan.name, launch, inbox);
            }
            false => self.notices.remove(&plan.name),
        }
        Ok(())
    }
}

/// The file of the program, and the child; `None` if phase init is not necessary.
type Made = (Option<ProgramFile>, Option<Child<Watched>>);

/// A start, before there is a process.
enum Begun<N, W> {
    Now(N),
    /// Visitors of the former launch are to be ended before.
    After(Leaf, W),
}

fn spawned(
    child: Child<Watched>,
    program: Option<ProgramFile>,
    phase: Phase,
) -> (Spawned, launch::Report, Used) {
    let Child {
        view,
        pid,
        pidfd: _,
        known,
        watched: (fd, report),
        used,
    } = child;
    let process = Rc::new(Process {
        pid,
        // 0 if it was killed already: then its process number is free.
        start_ticks: process::start_ticks(pid).unwrap_or_default(),
        fd,
        known,
        replaced: Notify::new(),
    });
    let spawned = Spawned {
        process,
        program,
        view,
        phase,
    };
    (spawned, report, used)
}

/// Whether the process of a launch has a watchdog. In a program that daemonizes, another one heeds it.
fn has_watchdog(plan: &TenantPlan, phase: Phase) -> bool {
    phase == Phase::Main && plan.policy.watchdog.is_some() && !plan.policy.daemonizes
}

/// Whether the program gets a notify socket.
fn uses_notices(plan: &TenantPlan) -> bool {
    plan.launch.environment.contains_key("NOTIFY_SOCKET")
}

/// Opens the network namespace that was made for a tenant.
fn open_netns(
    namespaces: &NetnsMounts,
    tenant: &TenantName,
    provisioned: &Provisioned,
) -> Result<Netns, Failure> {
    let opened = namespaces.open(tenant);
    let opened = opened.map_err(|error| broken(Stage::EnterNetns, tenant, &error))?;
    let its = opened.filter(|netns| netns.inode() == provisioned.inode);
    its.ok_or_else(|| Failure::detail(Stage::EnterNetns, "", "the tenant is being released"))
}

/// Starts the child, and does what is the last before it continues. Runs on a thread for blocking work: a file may be
/// on a filesystem that hangs.
fn order(
    app: &AppName,
    plan: &TenantPlan,
    (netns, leaf): (&Netns, Option<&Leaf>),
    templates: &MountTemplates,
    (descriptors, phase): (Rlimit, Phase),
    last: impl FnOnce() -> Result<(), Failure>,
) -> Result<Option<Child<Watched>>, Failure> {
    let write_ends = fifo::open_for_tenant(app, &plan.name)?;
    let label = lock::label(app, &plan.name);
    let uses = phase == Phase::Main && uses_notices(plan);
    let notify = uses.then(|| notify::folder(app, &plan.name));
    let lookup = lookup(&label, plan)?;
    let order = Order {
        launch: &plan.launch,
        phase,
        datastore: &plan.datastore,
        templates,
        netns: netns.as_fd(),
        leaf,
        stdout: write_ends.stdout.as_fd(),
        stderr: write_ends.stderr.as_fd(),
        descriptors,
        label: &label,
        syslog: Some(&syslog::folder(app, &plan.name)),
        lookup: &lookup,
        notify: notify.as_deref(),
        keeper: Some(&fifo::folder(app, &plan.name)),
        watchdog_pid: has_watchdog(plan, phase),
    };
    launch::launch(&order, |pidfd, report| {
        let watched = launch::put_aside(pidfd).map_err(Into::into);
        let watched = watched.and_then(ReadyFd::new);
        let watched = watched.map_err(|error| broken(Stage::Clone, &plan.name, &error))?;
        last()?;
        Ok((watched, report.watched()?))
    })
}

/// Writes the files by which a tenant looks names up.
fn lookup(label: &str, plan: &TenantPlan) -> Result<Vec<OwnFile>, Failure> {
    let host = launch::lookup::host_names();
    let host = host.map_err(|error| broken(Stage::Files, &plan.name, &error))?;
    launch::lookup::write(label, &host, &plan.link)
}
