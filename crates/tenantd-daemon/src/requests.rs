//! Requests: takes each request from the control socket and has it answered: at once, when the
//! supervisor has decided, or when the tenants that it waits for have come so far.
//!
//! A request for another owner is handed to that owner together with the channel for its answer. An
//! answer that needs the disk is worked out by a task, so that the loop is not kept.

use std::collections::VecDeque;

use tokio::sync::{mpsc, oneshot};

use tenantd_api::wire::{TenantAnswer, Verb};
use tenantd_core::name::TenantName;
use tenantd_core::supervisor::Supervisor;
use tenantd_core::supervisor::action::Answer;
use tenantd_core::supervisor::event::Request;
use tenantd_host::crash;

use super::answer::Tenants;
use super::control::{Listener, Served};
use super::desk::{self, Ask, Desk, Unknown};
use super::executor::Executor;
use super::gc;
use super::handover::Handover;
use super::input::Input;
use super::ledger::Ledger;
use super::reload::{Reloads, Wish};
use super::subscriptions::{Feed, Subscriptions};
use super::wants::Wants;

/// The control socket, and the requests that are not answered yet.
pub(super) struct Requests {
    asks: mpsc::Receiver<Ask>,
    control: Served,
    /// The control socket's way to the loop.
    desk: Desk,
    acts: VecDeque<Act>,
}

/// The other owners that a request may concern.
pub(super) struct Owners<'a> {
    pub(super) supervisor: &'a Supervisor,
    pub(super) executor: &'a Executor,
    pub(super) wants: &'a Wants,
    pub(super) reloads: &'a mut Reloads,
    pub(super) handover: &'a mut Handover,
    pub(super) subscriptions: &'a mut Subscriptions,
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

impl Requests {
    /// Serves a control socket.
    pub(super) fn serve(listener: Listener) -> Self {
        let (desk, asks) = desk::open();
        Self {
            asks,
            control: Served::start(listener, desk.clone()),
            desk,
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
            subscriptions,
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
            Ask::Names {
                tenants: names,
                reply,
            } => drop(reply.send(tenants.names(&names))),
            Ask::Part {
                tenants: names,
                watch,
                reply,
            } => {
                let names = subscriptions.part_of(watch, names);
                drop(reply.send(tenants.part(&names)));
            }
            // The next supervisor is asked.
            Ask::Watch { .. } if handover.exit().is_some() => {}
            Ask::Watch {
                tenants: names,
                pid,
                reply,
            } => drop(reply.send(watch(&names, pid, tenants, subscriptions))),
            Ask::Act {
                verb,
                tenants: names,
                permanent,
                reply,
            } => match tenants.names(&names) {
                Err(unknown) => drop(reply.send(Err(unknown))),
                Ok(names) => self.act(verb, names, permanent, reply),
            },
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

    /// Has the supervisor asked this about each of these tenants.
    fn act(&mut self, verb: Verb, tenants: Vec<TenantName>, permanent: bool, reply: Replies) {
        if tenants.is_empty() {
            return drop(reply.send(Ok(Vec::new())));
        }
        self.acts.push_back(Act {
            verb,
            permanent,
            answers: Vec::with_capacity(tenants.len()),
            left: tenants.into(),
            reply,
        });
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

    /// Accepts no connection from now on, and answers the requests that have come.
    pub(super) fn close(&mut self) {
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
        drop((self.acts, self.asks));
        self.control.end().await;
    }
}

/// Takes on a client that watches these tenants, or all if none is named.
fn watch(
    names: &[TenantName],
    pid: Option<i32>,
    tenants: Tenants<'_>,
    subscriptions: &mut Subscriptions,
) -> Result<Feed, Unknown> {
    let watched = tenants.names(names)?;
    Ok(subscriptions.subscribe(watched, names.is_empty(), pid))
}
