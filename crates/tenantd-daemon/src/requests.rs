//! Requests: takes each request from the control socket and has it answered: at once, when the
//! supervisor has decided, or when the tenants that it waits for have come so far.
//!
//! A request for another owner is handed to that owner together with the channel for its answer. An
//! answer that needs the disk is worked out by a task, so that the loop is not kept.

use std::collections::{BTreeSet, VecDeque};

use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_local;

use tenantd_api::wire::{AppStatus, TenantAnswer, Verb};
use tenantd_core::name::TenantName;
use tenantd_core::supervisor::Supervisor;
use tenantd_core::supervisor::action::Answer;
use tenantd_core::supervisor::event::Request;
use tenantd_host::crash;

use super::answer::{Tenants, has_reached};
use super::control::{Listener, Served};
use super::desk::{self, Ask, Desk, Unknown, Until};
use super::executor::Executor;
use super::gc;
use super::handover::Handover;
use super::input::Input;
use super::ledger::Ledger;
use super::programs;
use super::reload::{Reloads, Wish};
use super::wants::Wants;

/// The control socket, and the requests that are not answered yet.
pub(super) struct Requests {
    asks: mpsc::Receiver<Ask>,
    control: Served,
    /// The control socket's way to the loop.
    desk: Desk,
    waiters: Vec<Waiter>,
    acts: VecDeque<Act>,
}

/// The other owners that a request may concern.
pub(super) struct Owners<'a> {
    pub(super) supervisor: &'a Supervisor,
    pub(super) executor: &'a Executor,
    pub(super) wants: &'a Wants,
    pub(super) reloads: &'a mut Reloads,
    pub(super) handover: &'a mut Handover,
}

type Replies = oneshot::Sender<Result<Vec<TenantAnswer>, Unknown>>;

/// A verb for several tenants, which the supervisor is asked about one after the other.
struct Act {
    verb: Verb,
    permanent: bool,
    left: VecDeque<TenantName>,
    answers: Vec<TenantAnswer>,
    reply: Replies,
}

/// A client that waits until these tenants have come so far.
struct Waiter {
    tenants: Vec<TenantName>,
    until: Until,
    unsettled: BTreeSet<TenantName>,
    reply: oneshot::Sender<Result<AppStatus, Unknown>>,
}

impl Requests {
    /// Serves a control socket.
    pub(super) fn serve(listener: Listener) -> Self {
        let (desk, asks) = desk::open();
        Self {
            asks,
            control: Served::start(listener, desk.clone()),
            desk,
            waiters: Vec::new(),
            acts: VecDeque::new(),
        }
    }

    /// The next request; none once the control socket is closed and all requests are answered.
    /// Nothing is lost when it is cancelled.
    pub(super) async fn next(&mut self) -> Option<Ask> {
        tokio::select! {
            Some(ask) = self.asks.recv() => Some(ask),
            () = self.control.closed() => None,
        }
    }

    /// Answers one request, hands it on, or notes it for when its answer is known.
    pub(super) fn on_request(&mut self, ask: Ask, owners: Owners<'_>) {
        let Owners {
            supervisor,
            executor,
            wants,
            reloads,
            handover,
        } = owners;
        let tenants = Tenants {
            supervisor,
            executor,
            reloads,
            wants,
        };
        let serving = handover.is_serving();
        // Whoever asked may be gone; then the answer is dropped.
        match ask {
            Ask::Status {
                tenants: names,
                reply,
            } => tell_status(tenants, &names, reply),
            Ask::Act {
                verb,
                tenants: names,
                permanent,
                reply,
            } => match tenants.views(&names) {
                Err(unknown) => drop(reply.send(Err(unknown))),
                Ok(views) if views.is_empty() => drop(reply.send(Ok(Vec::new()))),
                Ok(views) => self.acts.push_back(Act {
                    verb,
                    permanent,
                    left: views.into_iter().map(|view| view.name).collect(),
                    answers: Vec::with_capacity(names.len()),
                    reply,
                }),
            },
            // The next supervisor is asked.
            Ask::Settle { .. } if handover.exit().is_some() => {}
            Ask::Settle {
                tenants: names,
                until,
                reply,
            } => self.wait(names, until, reply, tenants),
            Ask::Upgrade { reply } => handover.preflight(&executor.site().app, Some(reply)),
            Ask::Upgraded { reply } => drop(reply.send(handover.upgraded())),
            Ask::Leave { reply } => drop(reply.send(handover.detach())),
            Ask::Reload { reply } => reloads.want(Wish::Apply(reply), serving),
            Ask::Diff { reply } => reloads.want(Wish::Show(reply), serving),
            Ask::Manifest { reply } => drop(reply.send(reloads.manifest().path().to_owned())),
            Ask::Collect {
                survey,
                dry_run,
                reply,
            } => {
                let planned = |tenant: &TenantName| executor.ledger().plan(tenant).is_some();
                drop(reply.send(gc::sort(executor.site(), survey, planned, dry_run)));
            }
            Ask::Enter { tenant, reply } => drop(reply.send(tenants.door(&tenant))),
        }
    }

    /// Answers once these tenants have come so far, which may be now.
    fn wait(
        &mut self,
        names: Vec<TenantName>,
        until: Until,
        reply: oneshot::Sender<Result<AppStatus, Unknown>>,
        tenants: Tenants<'_>,
    ) {
        let views = match tenants.views(&names) {
            Ok(views) => views,
            Err(unknown) => return drop(reply.send(Err(unknown))),
        };
        let unsettled = views.iter().filter(|view| !has_reached(until, view));
        let unsettled = unsettled.map(|view| view.name.clone()).collect();
        self.waiters.push(Waiter {
            tenants: names,
            until,
            unsettled,
            reply,
        });
        self.dismiss(tenants);
    }

    /// What is to be applied next.
    pub(super) fn poll(&mut self) -> Option<Input> {
        let act = self.acts.front()?;
        let request = Request {
            tenant: act.left.front()?.clone(),
            verb: act.verb,
        };
        Some(Input::Request(request))
    }

    /// The supervisor has answered the request that was polled last.
    pub(super) fn on_answer(&mut self, answer: Answer, ledger: &Ledger, wants: &mut Wants) {
        let Some(mut act) = self.acts.pop_front() else {
            return;
        };
        if let Some(tenant) = act.left.pop_front() {
            act.answers.push(TenantAnswer { tenant, answer });
        }
        if !act.left.is_empty() {
            self.acts.push_front(act);
        } else if act.permanent {
            wants.keep(act.verb, act.answers, act.reply, ledger);
        } else {
            let _gone = act.reply.send(Ok(act.answers));
        }
    }

    /// Tells waiters about a tenant that changed.
    pub(super) fn on_transition(&mut self, tenant: &TenantName, tenants: Tenants<'_>) {
        if self.waiters.is_empty() {
            return;
        }
        let Some(view) = tenants.supervisor.tenant(tenant) else {
            return;
        };
        for waiter in &mut self.waiters {
            if has_reached(waiter.until, &view) {
                waiter.unsettled.remove(tenant);
            }
        }
        self.dismiss(tenants);
    }

    /// Tells waiters about a tenant that is there no more: nobody waits for it alone but to hear
    /// just that.
    pub(super) fn on_forgotten(&mut self, tenant: &TenantName, tenants: Tenants<'_>) {
        for waiter in &mut self.waiters {
            waiter.unsettled.remove(tenant);
            if waiter.tenants.len() > 1 {
                waiter.tenants.retain(|waited| waited != tenant);
            }
        }
        self.dismiss(tenants);
    }

    /// Answers the waiters that have nothing left to wait for, and forgets those that left.
    fn dismiss(&mut self, tenants: Tenants<'_>) {
        let done = |waiter: &mut Waiter| waiter.unsettled.is_empty() || waiter.reply.is_closed();
        let done: Vec<Waiter> = self.waiters.extract_if(.., done).collect();
        for waiter in done {
            let _gone = waiter.reply.send(tenants.status(&waiter.tenants));
        }
    }

    /// Accepts no connection from now on, and answers the requests that have come. A client that waits
    /// for tenants asks the next supervisor.
    pub(super) fn close(&mut self) {
        self.waiters.clear();
        self.control.close();
    }

    /// Accepts connections again, those first that came meanwhile.
    pub(super) fn reopen(&mut self) {
        self.control.reopen(self.desk.clone());
        crash::point("upgrade: door opened again", "");
    }

    /// The control socket, once it is closed and all requests are answered.
    pub(super) fn closed(&self) -> Option<&Listener> {
        self.control.listener()
    }

    /// Ends the service: clients that wait are told so before the socket is removed.
    pub(super) async fn end(self) {
        drop((self.waiters, self.acts, self.asks));
        self.control.end().await;
    }
}

/// Answers with the status, once it is known which program each tenant runs.
fn tell_status(
    tenants: Tenants<'_>,
    names: &[TenantName],
    reply: oneshot::Sender<Result<AppStatus, Unknown>>,
) {
    match tenants.status(names) {
        Err(unknown) => {
            let _gone = reply.send(Err(unknown));
        }
        Ok(status) => {
            let started = tenants.started(&status);
            spawn_local(async move {
                let _gone = reply.send(Ok(programs::compare(status, started).await));
            });
        }
    }
}
