//! The clients that wait for the launch of their command of `exec --offline`.

use std::collections::{HashMap, VecDeque};

use tokio::sync::oneshot;

use tenantd_api::wire::ExecTarget;
use tenantd_core::name::TenantName;

use crate::input::Input;
use crate::requests::Requests;
use crate::requests::answer::Tenants;
use crate::requests::queue::{AskedOffline, NoExecTarget};

/// What a client gets.
pub(super) type Joined = Result<ExecTarget, NoExecTarget>;

/// The clients, at most one per tenant that is being set up.
#[derive(Default)]
pub(super) struct Clients {
    /// What the supervisor has not decided about.
    asked: VecDeque<AskedOffline>,
    waiting: HashMap<TenantName, oneshot::Sender<Joined>>,
}

impl Clients {
    /// Queues a command for the supervisor, if its tenant exists.
    pub(super) fn ask(&mut self, asked: AskedOffline, tenants: Tenants<'_>) {
        match tenants.names(std::slice::from_ref(&asked.tenant)) {
            Ok(_) => self.asked.push_back(asked),
            Err(unknown) => drop(asked.reply.send(Err(unknown.into()))),
        }
    }

    /// The next command for the supervisor.
    pub(super) fn poll(&mut self) -> Option<Input> {
        let AskedOffline {
            tenant,
            offline,
            reply,
        } = self.asked.pop_front()?;
        if self.waiting.contains_key(&tenant) {
            let reason = "another `exec --offline` is being started in it".to_owned();
            drop(reply.send(Err(NoExecTarget::Lost(reason))));
            return self.poll();
        }
        self.waiting.insert(tenant.clone(), reply);
        Some(Input::Offline(tenant, offline))
    }
}

impl Requests {
    /// Whether a client waits for this tenant.
    pub(crate) fn awaits_offline(&self, tenant: &TenantName) -> bool {
        self.clients.waiting.contains_key(tenant)
    }

    /// Answers the client that waits for this tenant. If it has gone, the process that waits for its end
    /// ends the launch.
    pub(crate) fn answer_offline(&mut self, tenant: &TenantName, joined: Joined) {
        if let Some(reply) = self.clients.waiting.remove(tenant) {
            drop(reply.send(joined));
        }
    }

    /// The supervisor ends or is upgraded: no client gets an answer.
    pub(super) fn forget_offline(&mut self) {
        self.clients = Clients::default();
    }
}
