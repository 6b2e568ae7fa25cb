//! Requests: receives the requests of the control socket and answers them, at once or after the
//! supervisor has decided.
//!
//! A request that concerns another owner is passed to that owner, together with the channel for its
//! answer. A task prepares an answer that needs the disk, so that the loop does not wait.

pub(crate) mod answer;
mod app_reload;
pub mod control;
mod engine;
mod failed;
mod freeze;
mod offline;
pub mod programs;
pub mod queue;
mod rehearsal;
mod repair;
mod set;
mod signal;

use std::collections::{HashMap, VecDeque};

use tokio::sync::{mpsc, oneshot};

use tenantd_api::wire::{AppReloaded, TenantAnswer, Verb};
use tenantd_core::name::TenantName;
use tenantd_core::plan::model::ControlPlan;
use tenantd_core::rights::Right;
use tenantd_core::supervisor::Supervisor;
use tenantd_core::supervisor::action::Answer;
use tenantd_core::supervisor::event::TenantRequest;
use tenantd_core::supervisor::view::Want;
use tenantd_host::crash;

use crate::audit::Noted;
use crate::executor::Executor;
use crate::executor::inventory::Inventory;
use crate::gc;
use crate::handover::Handover;
use crate::input::Input;
use crate::reload::{ReloadRequest, Reloads};
use crate::requests::answer::{Seen, Tenants};
use crate::requests::app_reload::AppReloads;
use crate::requests::control::grants::Grants;
use crate::requests::control::{Listener, Readers, Served};
use crate::requests::engine::Asked;
use crate::requests::offline::Clients;
use crate::requests::queue::{Request, RequestQueue, Unknown};
use crate::requests::rehearsal::{Rehearsals, Rehearsed};
use crate::stretch::Stretch;
use crate::subscriptions::{Feed, Scope, Subscriptions};
use crate::wants::Wants;

/// The control socket, and the requests that are not answered yet.
pub(super) struct Requests {
    incoming: mpsc::Receiver<Request>,
    control: Served,
    /// The sending side of the request queue, for the control socket.
    queue: RequestQueue,
    readers: Readers,
    rehearsals: Rehearsals,
    acts: VecDeque<Act>,
    app_reloads: AppReloads,
    clients: Clients,
    /// The requests that were noted in the audit log.
    noted: mpsc::UnboundedReceiver<Noted>,
}

/// What the loop receives.
pub(super) enum Arrived {
    /// A new request.
    Request(Request),
    /// A request whose launches have been rehearsed.
    Rehearsed(Rehearsed),
    /// A request was noted in the audit log.
    Noted(Box<Noted>),
}

/// The other owners that a request may concern.
pub(super) struct Owners<'a> {
    pub(super) supervisor: &'a Supervisor,
    pub(super) executor: &'a Executor,
    pub(super) wants: &'a Wants,
    pub(super) reloads: &'a mut Reloads,
    pub(super) handover: &'a mut Handover,
    pub(super) subscriptions: &'a mut Subscriptions,
    pub(super) seen: Seen<'a>,
}

/// Why a restart is refused that would be a start.
const STOPPED: &str = "it is stopped: starting it needs the right `start`";

type Replies<T> = oneshot::Sender<Result<Vec<T>, Unknown>>;

/// A verb for several tenants. The supervisor handles it for one tenant after the other.
struct Act {
    verb: Verb,
    permanent: bool,
    left: VecDeque<TenantName>,
    /// What the client may do, unless it is root.
    grants: Option<Grants>,
    /// Why some of them are refused.
    refused: HashMap<TenantName, String>,
    answers: Vec<TenantAnswer>,
    reply: Replies<TenantAnswer>,
}

impl Act {
    /// Whether a tenant is stopped, and the client that restarts it may not start it.
    fn may_not_start(&self, name: &TenantName, supervisor: &Supervisor) -> bool {
        let Some(grants) = self.grants.as_ref().filter(|_| self.verb == Verb::Restart) else {
            return false;
        };
        let tenant = supervisor.tenant(name);
        tenant.is_some_and(|tenant| tenant.want == Want::Down)
            && grants.check(Right::Start, &mut vec![name.clone()]).is_err()
    }
}

impl Requests {
    /// Serves a control socket while the loop runs with these stretches.
    pub(super) fn serve(mut listener: Listener, stretch: Stretch) -> Self {
        let (queue, incoming) = queue::open();
        // Refusals are noted at a limited rate, and all else is answered by the loop: it needs no bound.
        let (notes, noted) = mpsc::unbounded_channel();
        listener.audit.tell(notes);
        Self {
            incoming,
            readers: listener.readers().clone(),
            control: Served::start(listener, queue.clone(), stretch),
            queue,
            rehearsals: Rehearsals::new(),
            acts: VecDeque::new(),
            app_reloads: AppReloads::new(),
            clients: Clients::default(),
            noted,
        }
    }

    /// The next request; None once the control socket is closed and all requests are answered.
    /// Cancelling this loses nothing.
    pub(super) async fn next(&mut self) -> Option<Arrived> {
        tokio::select! {
            Some(request) = self.incoming.recv() => Some(Arrived::Request(request)),
            Some(noted) = self.noted.recv() => Some(Arrived::Noted(Box::new(noted))),
            rehearsed = self.rehearsals.next() => Some(Arrived::Rehearsed(rehearsed)),
            () = self.control.closed() => None,
        }
    }

    /// Answers what has arrived, passes it to another owner, or queues it for the supervisor.
    pub(super) fn on_arrived(&mut self, arrived: Arrived, owners: Owners<'_>) {
        match arrived {
            Arrived::Request(request) => {
                let calm = &owners.executor.host().taking_up.calm;
                match request.only_reads() {
                    true => calm.asked(),
                    // It may be about what is postponed.
                    false => calm.end(),
                }
                self.on_request(request, owners);
            }
            Arrived::Noted(noted) => {
                let Noted { event, tenants } = *noted;
                owners.subscriptions.publish_request(event, &tenants);
            }
            Arrived::Rehearsed(Rehearsed { mut act, refused }) => {
                act.refused.extend(refused);
                self.acts.push_back(act);
            }
        }
    }

    /// Answers a request, passes it to another owner, or queues it for the supervisor. If the client has disconnected, the
    /// answer is dropped.
    fn on_request(&mut self, request: Request, owners: Owners<'_>) {
        let Owners {
            supervisor,
            executor,
            wants,
            reloads,
            handover,
            subscriptions,
            seen,
        } = owners;
        let tenants = Tenants::of((supervisor, executor), reloads, wants, seen);
        let is_serving = handover.is_serving();
        match request {
            Request::Names { tenants: of, reply } => drop(reply.send(tenants.names(&of))),
            Request::Part {
                tenants: of,
                watch,
                reply,
            } => drop(reply.send(tenants.part(&subscriptions.part_of(watch, of)))),
            // The client connects to the next supervisor.
            Request::Watch { .. } if handover.exit().is_some() => {}
            Request::Watch {
                tenants: names,
                requests,
                pid,
                reply,
            } => drop(reply.send(watch((&names, requests), pid, tenants, subscriptions))),
            Request::Act {
                verb,
                tenants: names,
                permanent,
                engine,
                grants,
                reply,
            } => self.act((verb, permanent, engine), &names, (grants, reply), tenants),
            Request::AllowTakeover(of, reply) => drop(reply.send(tenants.allow_takeover(&of))),
            Request::Signal {
                tenants: names,
                signal,
                reply,
            } => signal::send(tenants, &names, signal, reply),
            Request::Freeze(of, how, reply) => freeze::begin(tenants, &of, how, reply),
            Request::Set(asked) => set::begin(tenants, asked),
            Request::Repair { tenants: of, reply } => repair::begin(tenants, &of, reply),
            Request::ReloadApp { tenants: of, reply } => self.reload_apps(tenants, &of, reply),
            Request::Logs { tenants: of, reply } => drop(reply.send(tenants.logged(&of))),
            Request::Exec(asked) => tenants.answer_exec(asked),
            Request::Upgrade { reply } => handover.preflight(&executor.host().app, Some(reply)),
            Request::Upgraded { reply } => drop(reply.send(handover.upgraded())),
            Request::Detach { reply } => drop(reply.send(handover.detach())),
            Request::Reload { expect, reply } => {
                reloads.want(ReloadRequest::Apply { expect, reply }, is_serving);
            }
            Request::Diff { reply } => reloads.want(ReloadRequest::Show(reply), is_serving),
            Request::Manifest { reply } => drop(reply.send(reloads.manifest().path().to_owned())),
            Request::Planned { reply } => drop(reply.send(planned(executor))),
            Request::Enter { tenant, reply } => drop(reply.send(tenants.exec_target(&tenant))),
            Request::Offline(asked) => self.clients.ask(asked, tenants),
        }
    }

    fn reload_apps(
        &mut self,
        tenants: Tenants<'_>,
        names: &[TenantName],
        reply: Replies<AppReloaded>,
    ) {
        self.app_reloads.begin(tenants, names, reply);
    }

    /// Queues a verb for these tenants, if all of them exist, once its launches are rehearsed.
    fn act(
        &mut self,
        (verb, permanent, engine): (Verb, bool, Option<String>),
        names: &[TenantName],
        (grants, reply): (Option<Grants>, Replies<TenantAnswer>),
        tenants: Tenants<'_>,
    ) {
        let asked = Asked {
            verb,
            permanent,
            engine: engine.as_deref(),
            is_all: names.is_empty(),
        };
        let mut names = match tenants.names(names) {
            Ok(names) => names,
            Err(unknown) => return drop(reply.send(Err(unknown))),
        };
        let refused = engine::sort(&mut names, asked, tenants);
        if names.is_empty() {
            return drop(reply.send(Ok(Vec::new())));
        }
        let act = Act {
            verb,
            permanent,
            answers: Vec::with_capacity(names.len()),
            left: names.into(),
            grants,
            refused,
            reply,
        };
        self.acts.extend(self.rehearsals.begin(act, tenants));
    }

    /// The next input for the loop.
    pub(super) fn poll(&mut self) -> Option<Input> {
        let Some(act) = self.acts.front() else {
            return self.clients.poll();
        };
        let request = TenantRequest {
            tenant: act.left.front()?.clone(),
            verb: act.verb,
        };
        Some(Input::TenantRequest(request))
    }

    /// The answer to the input that [`Requests::poll`] returned last, if the rehearsal refused it, or if it would
    /// start what is stopped by now and the client has not the right to.
    pub(super) fn refusal(&mut self, supervisor: &Supervisor) -> Option<Answer> {
        let act = self.acts.front_mut()?;
        let name = act.left.front()?;
        let reason = match act.refused.remove(name) {
            None if act.may_not_start(name, supervisor) => STOPPED.to_owned(),
            refused => refused?,
        };
        Some(Answer::Refused { reason })
    }

    /// The supervisor has answered the input that [`Requests::poll`] returned last.
    pub(super) fn on_answer(&mut self, answer: Answer, inventory: &Inventory, wants: &mut Wants) {
        let Some(mut act) = self.acts.pop_front() else {
            return;
        };
        if let Some(tenant) = act.left.pop_front() {
            act.answers.push(TenantAnswer {
                tenant,
                answer,
                unkept: None,
            });
        }
        if !act.left.is_empty() {
            self.acts.push_front(act);
        } else if act.permanent {
            wants.keep(act.verb, act.answers, act.reply, inventory);
        } else {
            let _gone = act.reply.send(Ok(act.answers));
        }
    }

    /// Lets the members of groups use the control socket as this says, and no others.
    pub(super) fn set_readers(&self, control: &ControlPlan) {
        if let Err(error) = self.readers.set(control.into()) {
            tracing::error!(
                %error,
                "cannot set the access control list of the control socket: groups in \
                 `[control]` may be unable to connect"
            );
        }
    }

    /// Tells the subscribers of the requests that are noted by now, before the subscriptions end that are to.
    pub(super) fn last_noted(&mut self, subscriptions: &mut Subscriptions) {
        while let Ok(Noted { event, tenants }) = self.noted.try_recv() {
            subscriptions.publish_request(event, &tenants);
        }
        subscriptions.end_now();
    }

    /// Accepts no new connection, and answers the requests that have arrived.
    pub(super) fn close(&mut self) {
        self.app_reloads.end();
        self.forget_offline();
        self.control.close();
    }

    /// Accepts connections again, first those that were made meanwhile.
    pub(super) fn reopen(&mut self) {
        self.app_reloads.resume();
        self.control.reopen(self.queue.clone());
        crash::point("upgrade: socket reopened", "");
    }

    /// The control socket, once it is closed and all requests are answered.
    pub(super) fn closed(&self) -> Option<&Listener> {
        self.control.listener()
    }

    /// Ends the service: waiting clients get an error before the socket is removed.
    pub(super) async fn end(self) {
        drop((self.acts, self.incoming, self.app_reloads));
        self.control.end().await;
    }
}

/// Subscribes a client to these tenants, or to all if none is named.
fn watch(
    (names, requests): (&[TenantName], bool),
    pid: Option<i32>,
    tenants: Tenants<'_>,
    subscriptions: &mut Subscriptions,
) -> Result<Feed, Unknown> {
    let watched = tenants.names(names)?;
    let all = names.is_empty();
    Ok(subscriptions.subscribe(watched, Scope { all, requests }, pid))
}

/// The tenants beside whose resources residue is looked for: no other one is provisioned as long as the result exists.
fn planned(executor: &Executor) -> gc::Beside {
    // Also those that are removed and not released yet.
    let plans = executor.inventory().current_plans();
    let tenants = plans.map(|plan| plan.name.clone()).collect();
    let host = executor.host();
    gc::Beside {
        planned: gc::Planned::new(host, tenants),
        clearing: host.taking_up.clearing.begin(),
    }
}
