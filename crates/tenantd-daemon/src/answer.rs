//! Answers to what is asked over the control socket.

use std::collections::BTreeSet;

use tokio::sync::oneshot;
use tokio::task::spawn_local;

use tenantd_api::wire::{self, AppStatus, Door, TenantAnswer, TenantStatus, Tracking, Verb};
use tenantd_core::name::TenantName;
use tenantd_core::supervisor::action::Answer;
use tenantd_core::supervisor::event::Request;
use tenantd_core::supervisor::view::{StateWord, View, Want, Why};
use tenantd_host::network::leftover::Survey;
use tenantd_host::process;

use super::desk::{Ask, NoDoor, Unknown, Until};
use super::gc::Sorted;
use super::reload::Wish;
use super::{Daemon, clock, programs};

/// Somebody waits until these tenants have come so far.
pub(super) struct Waiter {
    tenants: Vec<TenantName>,
    until: Until,
    unsettled: BTreeSet<TenantName>,
    reply: oneshot::Sender<Result<AppStatus, Unknown>>,
}

impl Daemon {
    /// Answers one request, or notes it for when its answer is known.
    pub(super) fn answer(&mut self, ask: Ask) {
        // Whoever asked may be gone; then the answer is dropped.
        match ask {
            Ask::Status { tenants, reply } => self.tell_status(&tenants, reply),
            Ask::Act {
                verb,
                tenants,
                permanent: true,
                reply,
            } => self.act_for_good(verb, &tenants, reply),
            Ask::Act {
                verb,
                tenants,
                permanent: false,
                reply,
            } => {
                let _gone = reply.send(self.act(verb, &tenants));
            }
            // The next supervisor is asked.
            Ask::Settle { .. } if self.going.is_some() => {}
            Ask::Settle {
                tenants,
                until,
                reply,
            } => match self.views(&tenants) {
                Err(unknown) => {
                    let _gone = reply.send(Err(unknown));
                }
                Ok(views) => {
                    let unsettled = views.iter().filter(|view| !has_reached(until, view));
                    let unsettled = unsettled.map(|view| view.name.clone()).collect();
                    self.waiters.push(Waiter {
                        tenants,
                        until,
                        unsettled,
                        reply,
                    });
                    self.dismiss();
                }
            },
            Ask::Upgrade { reply } => self.begin_upgrade(Some(reply)),
            Ask::Upgraded { reply } => drop(reply.send(self.upgraded())),
            Ask::Leave { reply } => drop(reply.send(self.begin_to_leave())),
            Ask::Reload { reply } => self.wish(Wish::Apply(reply)),
            Ask::Diff { reply } => self.wish(Wish::Show(reply)),
            Ask::Manifest { reply } => {
                let _gone = reply.send(self.reloads.manifest.path().to_owned());
            }
            Ask::Collect {
                survey,
                dry_run,
                reply,
            } => drop(reply.send(self.sort(survey, dry_run))),
            Ask::Enter { tenant, reply } => {
                let _gone = reply.send(self.door(&tenant));
            }
        }
    }

    /// Answers with the status, once it is known which program each tenant runs.
    fn tell_status(
        &mut self,
        tenants: &[TenantName],
        reply: oneshot::Sender<Result<AppStatus, Unknown>>,
    ) {
        match self.status(tenants) {
            Err(unknown) => {
                let _gone = reply.send(Err(unknown));
            }
            Ok(status) => {
                let started = self.started(&status);
                spawn_local(async move {
                    let _gone = reply.send(Ok(programs::compare(status, started).await));
                });
            }
        }
    }

    fn sort(&self, survey: Survey, dry_run: bool) -> Sorted {
        let planned = |tenant: &TenantName| self.ledger.plan(tenant).is_some();
        self.site.sort(survey, planned, dry_run)
    }

    pub(super) fn act(
        &mut self,
        verb: Verb,
        tenants: &[TenantName],
    ) -> Result<Vec<TenantAnswer>, Unknown> {
        let names: Vec<TenantName> = self.views(tenants)?.into_iter().map(|v| v.name).collect();
        let mut answers = Vec::with_capacity(names.len());
        for tenant in names {
            let request = Request { tenant, verb };
            let (answer, step) = self.supervisor.handle_request(clock::now(), &request);
            self.follow(step);
            let tenant = request.tenant;
            let answer = match verb {
                Verb::Stop => self.proved(&tenant, answer),
                Verb::Start | Verb::Restart => answer,
            };
            answers.push(TenantAnswer { tenant, answer });
        }
        Ok(answers)
    }

    /// No stop succeeds while a launch lives that an earlier supervisor made: that one is not
    /// this supervisor's to end.
    fn proved(&mut self, tenant: &TenantName, answer: Answer) -> Answer {
        let fallen = self.ledger.entry(tenant).filter(|e| e.standing.is_none());
        match fallen.and_then(|entry| self.site.not_adopted(&entry.plan)) {
            None => answer,
            Some(reason) => Answer::Refused { reason },
        }
    }

    fn views(&self, tenants: &[TenantName]) -> Result<Vec<View>, Unknown> {
        if tenants.is_empty() {
            let mut views: Vec<View> = self.supervisor.tenants().collect();
            views.sort_by_key(|view| self.reloads.place(&view.name));
            return Ok(views);
        }
        let view = |tenant: &TenantName| {
            self.supervisor.tenant(tenant).ok_or_else(|| Unknown {
                tenant: tenant.clone(),
            })
        };
        tenants.iter().map(view).collect()
    }

    fn status(&mut self, tenants: &[TenantName]) -> Result<AppStatus, Unknown> {
        let views = self.views(tenants)?;
        Ok(AppStatus {
            app: self.site.app.clone(),
            pid: std::process::id(),
            tracking: match self.site.cgroups {
                Some(_) => Tracking::Cgroup,
                None => Tracking::Netns,
            },
            logs: self.logs_go_to,
            tenants: views
                .into_iter()
                .filter_map(|view| self.tenant_status(view))
                .collect(),
        })
    }

    fn tenant_status(&mut self, view: View) -> Option<TenantStatus> {
        let awaits = match view.want {
            Want::Up => self.supervisor.awaited(&view.name).cloned().collect(),
            Want::Down => Vec::new(),
        };
        let entry = self.ledger.entry(&view.name)?;
        let process = entry.running.as_ref().and_then(|run| run.process.as_ref());
        let pid = process.and_then(|process| u32::try_from(process.pid).ok());
        let why = view.why.as_ref().map(ToString::to_string);
        Some(TenantStatus {
            pid,
            addresses: entry.plan.link.addresses.clone(),
            want: view.want.into(),
            permanent: entry.permanent.map(wire::Want::of),
            state: view.state.into(),
            restarts: view.restarts,
            since: clock::date(view.since),
            ready: view.ready,
            program: None,
            awaits,
            until: view.until.map(clock::date),
            why,
            failure: match view.why {
                Some(Why::Failure(failure)) => Some(failure),
                Some(Why::Exit(_)) | None => None,
            },
            name: view.name,
        })
    }

    /// Tells waiters about a tenant that changed.
    pub(super) fn settle(&mut self, tenant: &TenantName) {
        if self.waiters.is_empty() {
            return;
        }
        let Some(view) = self.supervisor.tenant(tenant) else {
            return;
        };
        for waiter in &mut self.waiters {
            if has_reached(waiter.until, &view) {
                waiter.unsettled.remove(tenant);
            }
        }
        self.dismiss();
    }

    /// Tells waiters about a tenant that is there no more: nobody waits for it alone but to hear
    /// just that.
    pub(super) fn missed(&mut self, tenant: &TenantName) {
        for waiter in &mut self.waiters {
            waiter.unsettled.remove(tenant);
            if waiter.tenants.len() > 1 {
                waiter.tenants.retain(|waited| waited != tenant);
            }
        }
        self.dismiss();
    }

    /// Answers the waiters that have nothing left to wait for, and forgets those that left.
    fn dismiss(&mut self) {
        let done = |waiter: &mut Waiter| waiter.unsettled.is_empty() || waiter.reply.is_closed();
        let done: Vec<Waiter> = self.waiters.extract_if(.., done).collect();
        for waiter in done {
            let status = self.status(&waiter.tenants);
            let _gone = waiter.reply.send(status);
        }
    }

    fn door(&mut self, tenant: &TenantName) -> Result<Door, NoDoor> {
        let Some(view) = self.supervisor.tenant(tenant) else {
            return Err(NoDoor::Unknown(Unknown {
                tenant: tenant.clone(),
            }));
        };
        let down = || NoDoor::Down(view.state.into());
        let entry = self.ledger.entry(tenant).ok_or_else(down)?;
        let standing = entry.standing.as_ref().ok_or_else(down)?;
        if view.state != StateWord::Up {
            return Err(down());
        }
        let first = entry.running.as_ref().and_then(|run| run.process.as_ref());
        let pid = match (first, &standing.leaf) {
            (Some(first), _) => Some(first.pid),
            // It went on in the background: any of its processes will do.
            (None, Some(leaf)) => {
                let pids = leaf
                    .pids()
                    .map_err(|failure| NoDoor::Lost(failure.to_string()))?;
                pids.first().copied()
            }
            (None, None) => {
                let pids = process::in_netns(standing.inode).map_err(|error| {
                    NoDoor::Lost(format!("its processes cannot be looked for: {error}"))
                })?;
                pids.first().copied()
            }
        };
        let lost = || NoDoor::Lost("its process has just ended".to_owned());
        let pid = pid.ok_or_else(lost)?;
        let launch = &entry.plan.launch;
        Ok(Door {
            pid: u32::try_from(pid).map_err(|_| lost())?,
            start_ticks: process::start_ticks(pid).ok_or_else(lost)?,
            cgroup: standing
                .leaf
                .as_ref()
                .map(|leaf| leaf.path().display().to_string()),
            uid: launch.identity.uid,
            gid: launch.identity.gid,
            groups: launch.identity.groups.clone(),
            environment: (*launch.environment).clone().into_iter().collect(),
            working_directory: launch.working_directory.display().to_string(),
        })
    }
}

fn has_reached(until: Until, view: &View) -> bool {
    let failed = until == Until::Tried && view.state == StateWord::Waiting;
    failed || wire::is_settled(view.want.into(), view.state.into(), view.ready)
}
