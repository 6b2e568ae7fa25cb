//! Requests of operators that the supervisor decides about: verbs, and commands of `exec --offline`.
//!
//! The client of such a command gets what it needs to join the tenant once the launch for it runs, or the
//! reason why none does.

use tenantd_core::name::TenantName;
use tenantd_core::supervisor::Transition;
use tenantd_core::supervisor::action::Answer;
use tenantd_core::supervisor::event::TenantRequest;
use tenantd_core::supervisor::offline::Offline;
use tenantd_core::supervisor::view::StateWord;

use crate::Daemon;
use crate::clock;
use crate::requests::queue::NoExecTarget;

impl Daemon {
    /// Has the supervisor handle a request, unless it is refused before, and answers it.
    pub(super) fn request(&mut self, request: &TenantRequest) {
        let refused = self.requests.refusal(&self.supervisor);
        let answer = match refused.or_else(|| self.executor.refusal(request, &self.supervisor)) {
            Some(refused) => refused,
            None => {
                let (answer, step) = self.supervisor.handle_request(clock::now(), request);
                self.carry_out(step);
                answer
            }
        };
        let inventory = self.executor.inventory();
        self.requests.on_answer(answer, inventory, &mut self.wants);
    }

    /// Has the supervisor begin a command in a tenant that is not up.
    pub(super) fn exec_offline(&mut self, tenant: &TenantName, offline: Offline) {
        let client = offline.client;
        let (answer, step) = self.supervisor.exec_offline(clock::now(), tenant, offline);
        match answer {
            Answer::Accepted | Answer::AlreadySo => self.executor.set_client(tenant, client),
            Answer::Refused { reason } => {
                self.requests
                    .answer_offline(tenant, Err(NoExecTarget::Lost(reason)));
            }
        }
        self.carry_out(step);
    }

    /// Answers the client of such a command, once it can join the tenant or nothing is launched.
    pub(super) fn tell_client(&mut self, transition: &Transition) {
        let tenant = &transition.tenant;
        if !self.requests.awaits_offline(tenant) {
            return;
        }
        let target = match transition.to {
            StateWord::Provisioning | StateWord::Launching if self.is_offline(tenant) => return,
            StateWord::Offline => self.watched().1.offline_target(tenant),
            // It has failed. The program is launched instead, as after a reload.
            StateWord::Provisioning
            | StateWord::Launching
            | StateWord::Down
            | StateWord::Initializing
            | StateWord::Preparing
            | StateWord::Up
            | StateWord::Stopping
            | StateWord::Waiting
            | StateWord::Failed
            | StateWord::Exited
            | StateWord::Releasing
            | StateWord::Stuck => Err(NoExecTarget::Lost(transition.cause.to_string())),
        };
        self.requests.answer_offline(tenant, target);
    }

    /// Whether such a command runs in the tenant, or is being launched.
    fn is_offline(&self, tenant: &TenantName) -> bool {
        let view = self.supervisor.tenant(tenant);
        view.is_some_and(|view| view.offline.is_some())
    }
}
