//! The answers to requests of operators.

use tenantd_core::supervisor::Step;
use tenantd_core::supervisor::action::{Action, Answer};
use tenantd_core::supervisor::event::{TenantRequest, Verb};
use tenantd_core::supervisor::view::View;

use super::checker::Checker;
use super::invariant::{Invariant, Violation, check};
use super::world::{Occurrence, World};

impl Checker {
    /// The answer of the supervisor to a request, before its step is checked.
    pub(crate) fn on_answer(
        &mut self,
        request: &TenantRequest,
        answer: &Answer,
        step: &Step,
    ) -> Result<(), Violation> {
        let TenantRequest { tenant, verb } = request;
        if *answer == Answer::Accepted {
            let model = self.tenants.get_mut(tenant).unwrap();
            model.end_requested = true;
            if *verb != Verb::Stop {
                model.requested = true;
                model.strikes = 0;
            }
            return Ok(());
        }
        let of_it = |action: &&Action| match action {
            Action::Provision { tenant: whose }
            | Action::Launch { tenant: whose, .. }
            | Action::Abandon { tenant: whose, .. }
            | Action::Conclude { tenant: whose, .. }
            | Action::Apply { tenant: whose, .. }
            | Action::Terminate { tenant: whose, .. }
            | Action::Kill { tenant: whose, .. }
            | Action::Release { tenant: whose }
            | Action::Remove { tenant: whose } => whose == tenant,
        };
        let done = step.actions.iter().find(of_it);
        check(done.is_none(), Invariant::RefusalDoesNothing, || {
            format!("{request:?}, {answer:?}: {done:?}")
        })
    }

    /// A request that is refused changes neither the want nor the state.
    pub(super) fn check_refused(
        answer: &Answer,
        before: Option<&View>,
        after: Option<&View>,
    ) -> Result<(), Violation> {
        let same = match answer {
            Answer::Accepted => true,
            Answer::AlreadySo | Answer::Refused { .. } => {
                before.map(|view| (view.want, view.state))
                    == after.map(|view| (view.want, view.state))
            }
        };
        check(same, Invariant::RefusalDoesNothing, || {
            format!("{answer:?}: {before:?} became {after:?}")
        })
    }
}

impl World {
    /// Makes a random request, sometimes for an unknown tenant.
    pub(super) fn schedule_request(&mut self, most: u64) {
        let verb = *self.random.pick(&[Verb::Start, Verb::Stop, Verb::Restart]);
        let tenant = if self.random.chance(5) {
            "unknown".parse().unwrap()
        } else {
            self.random.pick(&self.names).clone()
        };
        self.schedule(most, Occurrence::Request(TenantRequest { tenant, verb }));
    }
}
