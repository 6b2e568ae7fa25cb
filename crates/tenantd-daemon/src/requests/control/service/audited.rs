//! Requests that are noted in the audit log: all that change something, and all that are refused.

use std::os::fd::OwnedFd;

use crate::audit::Outcome;
use crate::requests::control::judge::Judge;
use crate::requests::control::parts::Unsent;
use crate::requests::control::service::Service;
use tenantd_api::wire::LimitsSet;
use tenantd_api::wire::varlink::{
    AnswerWord, Answers, AppReloadedList, FrozenList, Refusal, RepairedList, SignalledList,
};
use tenantd_core::name::TenantName;
use tenantd_core::rights::Right;

/// What became of a request that was not refused as a whole: why it failed for some tenant, if it did.
pub(super) trait Failed {
    fn failed(&self) -> Option<String> {
        None
    }
}

impl Failed for () {}

impl Failed for tenantd_api::wire::varlink::Described<tenantd_core::plan::diff::Changes> {}

impl Failed for tenantd_api::wire::ResidueList {}

impl Failed for tenantd_api::wire::Upgrading {}

impl Failed for tenantd_api::wire::ExecTarget {}

impl<T> Failed for (T, OwnedFd) {}

impl Failed for Answers {
    fn failed(&self) -> Option<String> {
        let refused = |answer: AnswerWord| answer == AnswerWord::Refused;
        let first = self.answers.iter().find(|one| refused(one.answer))?;
        let reason = first.reason.as_deref().unwrap_or("refused");
        Some(format!("{}: {reason}", first.tenant))
    }
}

impl Failed for SignalledList {
    fn failed(&self) -> Option<String> {
        let mut each = self.tenants.iter();
        each.find_map(|one| Some(format!("{}: {}", one.tenant, one.refused.as_ref()?)))
    }
}

impl Failed for FrozenList {
    fn failed(&self) -> Option<String> {
        let mut each = self.tenants.iter();
        each.find_map(|one| Some(format!("{}: {}", one.tenant, one.refused.as_ref()?)))
    }
}

impl Failed for LimitsSet {
    fn failed(&self) -> Option<String> {
        self.refused.clone()
    }
}

impl Failed for AppReloadedList {
    fn failed(&self) -> Option<String> {
        let mut each = self.tenants.iter();
        each.find_map(|one| {
            let why = one.refused.as_ref().or(one.failed.as_ref())?;
            Some(format!("{}: {why}", one.tenant))
        })
    }
}

impl Failed for RepairedList {
    fn failed(&self) -> Option<String> {
        let mut each = self.tenants.iter();
        let first = each.find_map(|one| Some(format!("{}: {}", one.tenant, one.failed.as_ref()?)));
        self.shared.clone().or(first)
    }
}

/// A request that is not answered yet. Dropped without an answer, its client has disconnected.
struct Entry<'a> {
    judge: Option<&'a Judge>,
    verb: &'a str,
    tenants: Vec<TenantName>,
    is_noted: bool,
}

impl Entry<'_> {
    fn note(&mut self, outcome: Outcome, detail: Option<&str>) {
        if let Some(judge) = self.judge {
            judge.note((self.verb, &self.tenants), (outcome, detail));
        }
        self.is_noted = true;
    }
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        if !self.is_noted {
            self.note(Outcome::Unanswered, None);
        }
    }
}

impl Service {
    /// Waits until a request may be carried out: a user that is not root has its turn. Before the request
    /// is noted: if the client disconnects meanwhile, nothing has happened.
    ///
    /// # Errors
    /// If the socket is closed: the next program must not wait for that.
    pub(super) async fn turn(&self, right: Right, tenants: &[TenantName]) -> Result<(), Refusal> {
        let (Some(judge), Some(closed)) = (&self.judge, &self.closed) else {
            return Ok(());
        };
        if !self.queue.is_of_operator(right, tenants) {
            return Ok(());
        }
        let mut closed = closed.clone();
        tokio::select! {
            biased;
            () = judge.turn() => Ok(()),
            _ = closed.changed() => Err(Refusal::ShuttingDown),
        }
    }

    /// Answers a request that changes something.
    pub(super) async fn audited<T: Failed>(
        &self,
        verb: &str,
        tenants: Vec<TenantName>,
        answering: impl Future<Output = Result<T, Refusal>>,
    ) -> Result<T, Refusal> {
        let mut entry = Entry {
            judge: self.judge.as_ref(),
            verb,
            tenants,
            is_noted: false,
        };
        let result = answering.await;
        match &result {
            Ok(done) => match done.failed() {
                None => entry.note(Outcome::Done, None),
                Some(why) => entry.note(Outcome::Failed, Some(&why)),
            },
            Err(refusal) => {
                let (outcome, why) = said(refusal);
                entry.note(outcome, Some(&why));
            }
        }
        result
    }

    /// Notes a request that reads, if it was refused.
    pub(super) fn noted<T>(
        &self,
        verb: &str,
        tenants: &[TenantName],
        result: Result<T, Unsent>,
    ) -> Result<T, Unsent> {
        if let Err(Unsent::Refused(refusal)) = &result {
            self.note_refusal(verb, tenants, refusal);
        }
        result
    }

    /// Notes a request, if the client may not send it.
    pub(super) fn note_refusal(&self, verb: &str, tenants: &[TenantName], refusal: &Refusal) {
        let (outcome, why) = said(refusal);
        if let (Some(judge), Outcome::Refused) = (&self.judge, outcome) {
            judge.refused(verb, tenants, &why);
        }
    }
}

/// What a refusal says in the log.
fn said(refusal: &Refusal) -> (Outcome, String) {
    let failed = |why: &str| (Outcome::Failed, why.to_owned());
    match refusal {
        Refusal::ReadOnly { .. } => (Outcome::Refused, "it needs root".to_owned()),
        Refusal::NotAllowed { .. } => (Outcome::Refused, "the user is in no group".to_owned()),
        Refusal::NoRight { right, tenant } => {
            let whom = tenant.as_ref().map_or("all tenants", String::as_str);
            let why = format!("no group of it has the right to {right} {whom}");
            (Outcome::Refused, why)
        }
        Refusal::WrongPlace { reason } => (Outcome::Refused, reason.clone()),
        Refusal::UnknownTenant { tenant } => failed(&format!("no tenant {tenant}")),
        Refusal::TenantDown { .. } => failed("the tenant is not up"),
        Refusal::BadManifest { .. } => failed("the manifest has problems"),
        Refusal::NoExecTarget { reason, .. }
        | Refusal::NoDeputy { reason }
        | Refusal::NotReloaded { reason }
        | Refusal::NotCollected { reason }
        | Refusal::NotUpgraded { reason } => failed(reason),
        Refusal::OnlyMore => failed("called without `more`"),
        Refusal::ShuttingDown => failed("the supervisor is shutting down"),
        Refusal::TooManyConnections { .. } => failed("too many connections"),
        Refusal::TooManySubscriptions { .. } => failed("too many subscriptions"),
    }
}
