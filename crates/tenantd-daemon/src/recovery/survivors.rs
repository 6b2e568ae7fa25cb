//! Survivors: what an earlier supervisor left of a tenant, as far as the kernel confirms it.
//!
//! Before a running launch is adopted, the kernel has to confirm its record: the process number
//! with its start time, the network namespace, and the cgroup. Adopting changes nothing in the
//! launch: this supervisor opens the same namespace, pipes and cgroup. A launch that is not
//! confirmed is not adopted and not touched. It makes the next provision fail, with a message that
//! says why. Each tenant costs a few system calls, however many tenants there are. For launches
//! without a record, see [`unrecorded`](crate::recovery::unrecorded).

use std::io;
use std::rc::Rc;
use std::sync::Arc;

use tenantd_core::plan::model::TenantPlan;
use tenantd_core::plan::phase::Phase;
use tenantd_core::supervisor::checkpoint::{Checkpoint, Fate, Found, Resources};
use tenantd_core::supervisor::event::{Exit, LaunchId};
use tenantd_core::supervisor::view::StateWord;
use tenantd_host::cgroup::Leaf;
use tenantd_host::claim::Key;
use tenantd_host::netns::Keeping;
use tenantd_host::process::{self, Ended};
use tenantd_host::{crash, fifo, notify};

use crate::clock;
use crate::executor::exit;
use crate::executor::host::claiming::Claimed;
use crate::executor::inventory::{Main, Process, Provisioned, Running};
use crate::executor::launch::await_end;
use crate::executor::main_process::{self, MainBy};
use crate::executor::report::ReportKind;
use crate::executor::said::Recorded;
use crate::recovery::processes::{anyone, claimed, open_process};
use crate::recovery::{Recovery, unexecuted};
use crate::state_file::record::{Made, Record};

/// What was found of a tenant.
pub(crate) struct Survivor {
    pub(crate) found: Found,
    pub(crate) provisioned: Option<Provisioned>,
    pub(crate) running: Option<Running>,
    /// What is known of the plan it was made from, if that is not today's.
    pub(crate) made: Option<Made>,
    /// Its network namespace is about to be kept. If that fails, it is not adopted.
    pub(crate) keeping: Option<Keeping>,
}

pub(super) fn cannot_adopt(TenantPlan { name, .. }: &TenantPlan, error: &io::Error) {
    tracing::warn!(tenant = %name, "{name}: cannot adopt what an earlier supervisor left: {error}");
}

impl Recovery {
    /// What an earlier supervisor left of a tenant, if it left anything. If a launch cannot be adopted, the
    /// reason is logged, and reported again by its provision or release.
    pub(crate) fn survivor(
        &self,
        plan: &Arc<TenantPlan>,
        record: Option<&Record>,
    ) -> Option<Survivor> {
        let found = self.find(plan, record).and_then(|mut found| {
            let keeping = found.as_mut().and_then(|survivor| survivor.keeping.take());
            keeping.map_or(Ok(()), Keeping::finish)?;
            Ok(found)
        });
        self.as_found(plan, record.cloned(), found)
    }

    pub(super) fn as_found(
        &self,
        plan: &TenantPlan,
        record: Option<Record>,
        found: io::Result<Option<Survivor>>,
    ) -> Option<Survivor> {
        match found {
            Ok(survivor) => survivor,
            Err(error) => {
                cannot_adopt(plan, &error);
                self.host.taking_up.forget(&plan.name);
                record.map(|record| self.ended(plan, Some(record), Exit::Unknown))
            }
        }
    }

    pub(super) fn find(
        &self,
        plan: &Arc<TenantPlan>,
        record: Option<&Record>,
    ) -> io::Result<Option<Survivor>> {
        let tenant = &plan.name;
        let leaf = self
            .host
            .cgroups
            .as_ref()
            .and_then(|c| c.tree.found(tenant));
        let lives = match &leaf {
            Some(leaf) => leaf.is_populated().map_err(io::Error::other)?,
            None => false,
        };
        let Some(record) = record else {
            if lives {
                return Err(io::Error::other(
                    "processes run in its cgroup, and it has no record",
                ));
            }
            let any = leaf.is_some() || fifo::folder(&self.host.app, tenant).exists();
            return Ok(any.then(|| self.ended(plan, None, Exit::Unknown)));
        };
        let first = match (record.process, &leaf) {
            (Some(key), _) => open_process(key)?,
            // Its supervisor died after starting it and before recording its process.
            (None, Some(leaf)) if lives && record.checkpoint.state() == StateWord::Launching => {
                claimed(&self.host.app, tenant, leaf)?
            }
            (None, _) => None,
        };
        let alive = match &first {
            Some(first) => !process::is_over(&first.fd)?,
            None => false,
        };
        if !lives && (self.host.cgroups.is_some() || !alive) {
            let how = match &first {
                // It has not been waited for yet, so its exit status can be read.
                Some(first) => {
                    process::how_it_ended(&first.fd, &first.known)?.map_or(Exit::Unknown, exit)
                }
                None => Exit::Unknown,
            };
            return self
                .ended_inherited(plan, record, leaf.as_ref(), how)
                .map(Some);
        }
        let first = first.filter(|_| alive);
        self.adopt(plan, record, first, leaf).map(Some)
    }

    /// Adopts a running launch.
    fn adopt(
        &self,
        plan: &Arc<TenantPlan>,
        record: &Record,
        first: Option<Process>,
        leaf: Option<Leaf>,
    ) -> io::Result<Survivor> {
        let tenant = &plan.name;
        let Some(anyone) = anyone(first.as_ref(), leaf.as_ref())? else {
            // The last process has ended just now.
            return Ok(self.ended(plan, Some(record.clone()), Exit::Unknown));
        };
        let keeping = self.adopt_netns(tenant, record, anyone)?;
        let Some(launch) = record.checkpoint.launch() else {
            return Err(io::Error::other(
                "processes run in its cgroup, and its record has no launch",
            ));
        };
        let process = first.map(Rc::new);
        let later = process.as_ref().filter(|_| self.can_wait(plan, record));
        if later.is_none() {
            self.continue_reading(plan)?;
        }
        if let (Some(cgroups), Some(leaf)) = (&self.host.cgroups, &leaf) {
            cgroups.watch.add(leaf).map_err(io::Error::other)?;
        }
        let (main, keeping) = match later {
            Some(first) => {
                self.host.taking_up.postpone(plan, launch, first);
                (Main::First, keeping)
            }
            None => {
                keeping.map_or(Ok(()), Keeping::finish)?;
                let of = (record, leaf.as_ref());
                (self.take_up(plan, launch, of, process.as_ref())?, None)
            }
        };
        let (outdated, made) = record.outdated(plan).unzip();
        self.adopt_claim((plan, made.as_ref()), leaf.clone(), process.as_deref());
        Ok(Survivor {
            found: Found {
                checkpoint: record.checkpoint.clone(),
                fate: Fate::Lives,
                resources: Resources::Full,
                outdated,
                applied: self.is_applied(plan, leaf.as_ref()),
            },
            provisioned: Some(Provisioned {
                inode: record.netns,
                has_netns: true,
                leaf,
                used: true,
            }),
            running: Some(Running {
                launch,
                process,
                program: record.program,
                view: record.view,
                executed: true,
                phase: record.checkpoint.phase(),
                main,
                statement: record.statement.clone(),
                recorded: Recorded::default(),
            }),
            made,
            keeping,
        })
    }

    /// Whether the rest of an adoption may wait until requests are answered: nothing of the launch is lost meanwhile, and
    /// only the end of its first process ends it.
    fn can_wait(&self, plan: &TenantPlan, record: &Record) -> bool {
        let (tenant, checkpoint) = (&plan.name, &record.checkpoint);
        let is_simple = record.main.is_none() && !plan.policy.daemonizes;
        is_simple
            && checkpoint.phase() == Phase::Main
            && checkpoint.state() != StateWord::Launching
            && self.host.collector.has(tenant)
            && self.inherited.borrow().is_empty()
            && !notify::folder(&self.host.app, tenant).exists()
    }

    /// Takes up a running launch whose output is read: its name, its notices and its end. Returns its main process.
    fn take_up(
        &self,
        plan: &TenantPlan,
        launch: LaunchId,
        (record, leaf): (&Record, Option<&Leaf>),
        process: Option<&Rc<Process>>,
    ) -> io::Result<Main> {
        let tenant = &plan.name;
        self.host.give_name(tenant);
        crash::point("adopt: taken up", tenant.as_str());
        let main = self.adopt_main(plan, launch, (record, leaf), process.is_some())?;
        // Nothing fails after this: a second try would not have the inherited socket.
        self.inherit_notices(tenant, launch);
        unexecuted::watch(record, process, leaf);
        if matches!(main, Main::First) {
            self.watch_survivor(plan, launch, process.cloned());
        } else if let Some(first) = process {
            await_end(&self.host.reporter, tenant, launch, Rc::clone(first));
        }
        Ok(main)
    }

    /// Continues the claim of a launch, on the datastore of the plan that the launch was made from.
    fn adopt_claim(
        &self,
        (plan, made): (&TenantPlan, Option<&Made>),
        leaf: Option<Leaf>,
        process: Option<&Process>,
    ) {
        let holds = made.and_then(|made| made.holds.as_ref());
        let held = holds.and_then(|holding| holding.source.clone());
        let source = held.unwrap_or_else(|| plan.datastore.source.clone());
        let key = process.map(|first| Key {
            pid: first.pid,
            start_ticks: first.start_ticks,
        });
        let claimed = Claimed {
            source,
            leaf,
            process: key,
        };
        self.host.adopt_claim(&plan.name, claimed);
    }

    /// The main process of a running launch, as the record says. Its end is reported, also if it has ended
    /// while no supervisor was running.
    fn adopt_main(
        &self,
        plan: &TenantPlan,
        launch: LaunchId,
        (record, leaf): (&Record, Option<&Leaf>),
        first_lives: bool,
    ) -> io::Result<Main> {
        let Some((key, by)) = record.main else {
            // An earlier supervisor has not found it, or did not look for it.
            let is_away = plan.policy.daemonizes && !first_lives;
            if let Some(leaf) = leaf.filter(|_| is_away && record.checkpoint.phase() == Phase::Main)
            {
                let file = plan.policy.pid_file.clone();
                self.host
                    .look_for_main(&plan.name, launch, (leaf.clone(), file));
            }
            return Ok(Main::First);
        };
        let (reporter, tenant) = (&self.host.reporter, &plan.name);
        let file = plan.policy.pid_file.clone().zip(leaf.cloned());
        let file = file.filter(|_| by == MainBy::PidFile);
        let Some(main) = open_process(key)? else {
            main_process::ended_unwatched(reporter, tenant, launch, (key.pid, file));
            return Ok(Main::Gone(key.pid));
        };
        let main = Rc::new(main);
        main_process::await_end(reporter, tenant, launch, (Rc::clone(&main), file));
        Ok(Main::Found(main, by))
    }

    /// Whether the kernel confirms that all live settings of a running launch are as planned.
    fn is_applied(&self, plan: &TenantPlan, leaf: Option<&Leaf>) -> bool {
        self.host.is_limited(plan, leaf).unwrap_or_else(|failure| {
            tracing::warn!(tenant = %plan.name, "{failure}");
            false
        })
    }

    /// No process of the launch is left. Uses the inherited network namespace again, if there is
    /// one, and reads the last output of the program.
    fn ended_inherited(
        &self,
        plan: &TenantPlan,
        record: &Record,
        leaf: Option<&Leaf>,
        how: Exit,
    ) -> io::Result<Survivor> {
        let tenant = &plan.name;
        let mut survivor = self.ended(plan, Some(record.clone()), how);
        if !fifo::folder(&self.host.app, tenant).exists() {
            return Ok(survivor);
        }
        self.continue_reading(plan)?;
        let is_kept = self.inherited_netns(tenant, record.netns)?;
        let Some(provisioned) = survivor.provisioned.as_mut().filter(|_| is_kept) else {
            return Ok(survivor);
        };
        if let Some(cgroups) = &self.host.cgroups {
            // systemd removes empty cgroups of a unit that it restarts.
            if leaf.is_none() {
                provisioned.leaf = Some(cgroups.leaf(tenant).map_err(io::Error::other)?);
            }
            if let Some(leaf) = leaf {
                cgroups.watch.add(leaf).map_err(io::Error::other)?;
            }
        }
        self.host.give_name(tenant);
        provisioned.has_netns = true;
        survivor.found.resources = Resources::Full;
        Ok(survivor)
    }

    /// Continues to read a tenant's pipes where the earlier supervisor stopped.
    fn continue_reading(&self, plan: &TenantPlan) -> io::Result<()> {
        self.host.continue_reading(plan)?;
        self.inherit_pipes(&plan.name);
        Ok(())
    }

    /// No process of the launch is left. The next provision or release handles its resources.
    fn ended(&self, plan: &TenantPlan, record: Option<Record>, how: Exit) -> Survivor {
        let tenant = &plan.name;
        let leaf = self
            .host
            .cgroups
            .as_ref()
            .and_then(|c| c.tree.found(tenant));
        if let Some(leaf) = &leaf {
            self.host.tell_visitors(leaf.clone());
        }
        let any = leaf.is_some() || fifo::folder(&self.host.app, tenant).exists();
        let provisioned = any.then(|| Provisioned {
            inode: record.as_ref().map_or(0, |record| record.netns),
            has_netns: false,
            leaf,
            used: true,
        });
        let outdated = record.as_ref().and_then(|record| record.outdated(plan));
        let (outdated, made) = outdated.unzip();
        Survivor {
            found: Found {
                checkpoint: record.map_or_else(
                    || Checkpoint::none(clock::now()),
                    |record| record.checkpoint,
                ),
                fate: Fate::Over(how),
                resources: match any {
                    true => Resources::Partial,
                    false => Resources::None,
                },
                outdated,
                applied: true,
            },
            provisioned,
            running: None,
            made,
            keeping: None,
        }
    }

    /// Reports the end of a first process that an earlier supervisor started: at once, if it has
    /// already ended, unless the tenant daemonizes, so that its first process is expected to end.
    fn watch_survivor(&self, plan: &TenantPlan, launch: LaunchId, process: Option<Rc<Process>>) {
        match process {
            Some(process) => await_end(&self.host.reporter, &plan.name, launch, process),
            None if plan.policy.daemonizes => {}
            None => self
                .host
                .report(&plan.name, ReportKind::Ended(launch, Ended::Unknown)),
        }
    }
}
