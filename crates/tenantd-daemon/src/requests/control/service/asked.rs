//! What the methods ask the loop.

use tokio::sync::oneshot;
use tokio::task::spawn_local;

use super::{Names, Service, named};
use crate::executor::host::blocking;
use crate::gc;
use crate::requests::control::guard::Writer;
use crate::requests::control::parts::{self, Unsent};
use crate::requests::control::refusals::not_joined;
use crate::requests::queue::{AskedOffline, AskedSet, NoReload, Request, right_to};
use tenantd_api::wire::varlink::{
    Answered, Answers, AppReloadedList, Described, FrozenList, Refusal, RepairedList, SignalledList,
};
use tenantd_api::wire::{ExecTarget, LimitsSet, ResidueList, Verb};
use tenantd_core::cgroup::by_hand::{Typed, typed_name};
use tenantd_core::cgroup::shown;
use tenantd_core::name::TenantName;
use tenantd_core::plan::diff::Changes;
use tenantd_core::plan::typed;
use tenantd_core::rights::Right;
use tenantd_core::stage;
use tenantd_core::supervisor::offline::Offline;

/// The request as the audit log has it: in the notation of the manifest, not as it was typed.
fn set_verb(typed: &Result<Vec<Typed>, String>, reset: bool) -> String {
    let mut verb = String::from(if reset { "set --reset" } else { "set" });
    for Typed { key, item, value } in typed.iter().flatten() {
        let value = value.as_deref().map(|value| shown(key, value));
        let name = typed_name(key, item);
        verb += &format!(" {name}={}", value.unwrap_or_default());
    }
    verb
}

impl Service {
    /// Subscribes a client, if a place for a subscription is free.
    pub(super) async fn subscribe(
        &self,
        tenants: Vec<TenantName>,
        requests: bool,
        writer: &Writer,
    ) -> Result<(), Unsent> {
        let Ok(_place) = self.subscriptions.try_acquire() else {
            return Err(Unsent::Refused(Refusal::TooManySubscriptions {
                limit: self.limit,
            }));
        };
        // Requests say who has asked what: that is for root, as the audit log is.
        let requests = requests && self.queue.is_root().is_ok();
        parts::watch(&self.queue, (tenants, requests), self.peer, writer).await
    }

    pub(super) async fn act(
        &self,
        (verb, engine): (Verb, Option<String>),
        tenants: Option<Names>,
        permanent: bool,
    ) -> Result<Answers, Refusal> {
        let tenants = named(tenants);
        let word = match (verb, permanent) {
            (Verb::Start, _) if engine.is_some() => "start by an engine",
            (Verb::Start, false) => "start",
            (Verb::Start, true) => "start --permanent",
            (Verb::Stop, false) => "stop",
            (Verb::Stop, true) => "stop --permanent",
            (Verb::Restart, _) => "restart",
        };
        let of = tenants.clone();
        self.turn(right_to(verb), &of).await?;
        if engine.is_some() {
            self.queue.is_root()?;
        }
        let request = |reply| Request::Act {
            verb,
            tenants,
            permanent,
            engine,
            grants: None,
            reply,
        };
        let answering = async {
            let answers = self.queue.send(request).await??;
            Ok(Answers {
                answers: answers.into_iter().map(Answered::from).collect(),
            })
        };
        self.audited(word, of, answering).await
    }

    pub(super) async fn take_over(&self, tenants: Vec<TenantName>) -> Result<(), Refusal> {
        let of = tenants.clone();
        let request = |reply| Request::AllowTakeover(tenants, reply);
        let answering = async { Ok(self.queue.send(request).await??) };
        self.audited("takeover", of, answering).await
    }

    pub(super) async fn signalled(
        &self,
        tenants: Option<Names>,
        signal: (i32, bool),
    ) -> Result<SignalledList, Refusal> {
        let tenants = named(tenants);
        let (verb, of) = (format!("kill -s {}", signal.0), tenants.clone());
        self.turn(Right::Kill, &of).await?;
        let request = |reply| Request::Signal {
            tenants,
            signal,
            reply,
        };
        let answering = async {
            let tenants = self.queue.send(request).await??;
            Ok(SignalledList { tenants })
        };
        self.audited(&verb, of, answering).await
    }

    pub(super) async fn frozen(
        &self,
        tenants: Option<Names>,
        how: (bool, bool),
    ) -> Result<FrozenList, Refusal> {
        let tenants = named(tenants);
        let verb = match how {
            (true, true) => "hibernate",
            (true, false) => "pause",
            (false, _) => "resume",
        };
        let of = tenants.clone();
        self.turn(Right::Pause, &of).await?;
        let request = |reply| Request::Freeze(tenants, how, reply);
        let answering = async {
            let tenants = self.queue.send(request).await??;
            Ok(FrozenList { tenants })
        };
        self.audited(verb, of, answering).await
    }

    pub(super) async fn limited(
        &self,
        tenant: TenantName,
        limits: Option<Vec<String>>,
        reset: bool,
    ) -> Result<LimitsSet, Refusal> {
        let of = vec![tenant];
        let typed = typed::read(&limits.unwrap_or_default());
        let verb = set_verb(&typed, reset);
        self.turn(Right::Set, &of).await?;
        let tenants = of.clone();
        let request = |reply| {
            Request::Set(AskedSet {
                tenants,
                typed,
                reset,
                reply,
            })
        };
        let answering = async { Ok(self.queue.send(request).await??) };
        self.audited(&verb, of, answering).await
    }

    pub(super) async fn app_reloaded(
        &self,
        tenants: Option<Names>,
    ) -> Result<AppReloadedList, Refusal> {
        let tenants = named(tenants);
        let of = tenants.clone();
        self.turn(Right::ReloadApp, &of).await?;
        let request = |reply| Request::ReloadApp { tenants, reply };
        let answering = async {
            let tenants = self.queue.send(request).await??;
            Ok(AppReloadedList { tenants })
        };
        self.audited("reload-app", of, answering).await
    }

    pub(super) async fn repaired(&self, tenants: Option<Names>) -> Result<RepairedList, Refusal> {
        let tenants = named(tenants);
        let of = tenants.clone();
        let request = |reply| Request::Repair { tenants, reply };
        let answering = async { Ok(self.queue.send(request).await??) };
        self.audited("verify --repair", of, answering).await
    }

    pub(super) async fn offline(
        &self,
        tenant: TenantName,
        command: String,
    ) -> Result<ExecTarget, Refusal> {
        let unknown = || Refusal::NoExecTarget {
            tenant: tenant.to_string(),
            reason: "the process of the client is not known".to_owned(),
        };
        let client = self.peer.and_then(|pid| u32::try_from(pid).ok());
        let client = client.ok_or_else(unknown)?;
        let asked = tenant.clone();
        let request = |reply| {
            Request::Offline(AskedOffline {
                tenant: asked,
                offline: Offline { client, command },
                reply,
            })
        };
        let answering = async {
            let target = self.queue.send(request).await?;
            target.map_err(|error| not_joined(&tenant, error))
        };
        let of = vec![tenant.clone()];
        self.audited("exec --offline", of, answering).await
    }

    pub(super) async fn changes(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<Changes, NoReload>>) -> Request,
    ) -> Result<Described<Changes>, Refusal> {
        Ok(Described(self.queue.send(request).await??))
    }

    pub(super) async fn residue(&self, dry_run: bool) -> Result<ResidueList, Refusal> {
        self.queue.is_root()?;
        let app = self.app.clone();
        let failed = |why: stage::Failure| Refusal::NotCollected {
            reason: why.to_string(),
        };
        let survey = blocking(move || gc::look(&app)).await.map_err(failed)?;
        let request = |reply| Request::Planned { reply };
        let gc::Beside { planned, clearing } = self.queue.send(request).await?;
        // A task of its own: the client may end meanwhile, and no tenant is provisioned before it is done.
        let collecting = spawn_local(async move {
            let residue = blocking(move || Ok(gc::collect(&planned, survey, dry_run))).await;
            drop(clearing);
            residue
        });
        let residue = collecting.await.map_err(|error| Refusal::NotCollected {
            reason: error.to_string(),
        })?;
        let residue = residue.map_err(failed)?;
        Ok(ResidueList { residue })
    }
}
