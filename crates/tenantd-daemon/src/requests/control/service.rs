//! The methods of the interface: each puts one request on the request queue and turns its answer into
//! varlink's.

#![allow(missing_docs, reason = "the macro makes a public enum without any")]

use futures_util::stream::{self, Stream};
use zlink::Reply;
use zlink::connection::Socket;

use crate::executor::host::blocking;
use crate::gc;
use crate::requests::control::guard::Writer;
use crate::requests::control::parts::{self, Unsent};
use crate::requests::queue::{Closed, NoExecTarget, NoReload, Request, RequestQueue, Unknown};
use tenantd_api::wire::varlink::description::{Failure, FieldChange, TenantChange};
use tenantd_api::wire::varlink::{AnswerWord, Answered, Answers, Described, ManifestPath, Refusal};
use tenantd_api::wire::watch::{EndReason, EventKind, ProgramExit, Snapshot, TenantEvent, Update};
use tenantd_api::wire::{
    AppStatus, ExecTarget, LogPlace, Program, Residue, ResidueFate, ResidueKind, ResidueList,
    StateWord, TenantStatus, Tracking, Upgraded, Upgrading, Verb, Want,
};
use tenantd_core::name::{AppName, TenantName};
use tenantd_core::plan::diff::Changes;
use tenantd_core::stage;

/// The tenants that a request names.
type Names = Vec<Described<TenantName>>;

fn named(tenants: Option<Names>) -> Vec<TenantName> {
    let tenants = tenants.unwrap_or_default().into_iter();
    tenants.map(|Described(tenant)| tenant).collect()
}

/// The requests of one connection.
#[derive(Debug, Clone)]
pub(crate) struct Service {
    app: AppName,
    queue: RequestQueue,
    /// The process that asks.
    peer: Option<i32>,
}

impl From<Unknown> for Refusal {
    fn from(Unknown { tenant }: Unknown) -> Self {
        let tenant = tenant.to_string();
        Refusal::UnknownTenant { tenant }
    }
}

impl From<NoReload> for Refusal {
    fn from(no_reload: NoReload) -> Self {
        match no_reload {
            NoReload::BadManifest(problems) => Refusal::BadManifest { problems },
            NoReload::Refused(reason) => Refusal::NotReloaded { reason },
            NoReload::Closed => Refusal::ShuttingDown,
        }
    }
}

impl From<Closed> for Refusal {
    fn from(Closed: Closed) -> Self {
        Refusal::ShuttingDown
    }
}

impl Service {
    pub(crate) fn new(app: AppName, queue: RequestQueue) -> Self {
        Self {
            app,
            queue,
            peer: None,
        }
    }

    /// The same for the connection of this process.
    pub(crate) fn of(&self, peer: Option<i32>) -> Self {
        Self {
            peer,
            ..self.clone()
        }
    }

    async fn act(
        &self,
        verb: Verb,
        tenants: Option<Names>,
        permanent: bool,
    ) -> Result<Answers, Refusal> {
        let tenants = named(tenants);
        let request = |reply| Request::Act {
            verb,
            tenants,
            permanent,
            reply,
        };
        let answers = self.queue.send(request).await??;
        Ok(Answers {
            answers: answers.into_iter().map(Answered::from).collect(),
        })
    }
}

/// What is left for zlink to send of an answer that was sent in parts: nothing, or a refusal.
fn sent<T>(
    result: Result<(), Unsent>,
    writer: &Writer,
) -> impl Stream<Item = Result<Reply<T>, Refusal>> + Unpin + use<T> {
    let refusal = match result {
        Ok(()) => None,
        Err(Unsent::Refused(refusal)) => Some(refusal),
        Err(Unsent::Broken(error)) => {
            tracing::debug!(%error, "an answer is not sent to its end");
            writer.hang_up();
            None
        }
    };
    stream::iter(refusal.map(Err))
}

/// The supervisor of one application. An absent or empty list of tenants means all of them. A
/// list with an unknown name is refused as a whole.
#[zlink::service(
    interface = "io.tenantd.Supervisor",
    types = [
        TenantStatus, Want, StateWord, Program, Tracking, LogPlace, Failure, Answered, AnswerWord,
        FieldChange, TenantChange, Residue, ResidueKind, ResidueFate, Snapshot, TenantEvent,
        EventKind, ProgramExit, EndReason
    ],
    vendor = "tenantd",
    product = "tenantd",
    version = env!("CARGO_PKG_VERSION"),
    url = "https://varlink.org"
)]
impl<Sock> Service
where
    Sock: Socket<WriteHalf = Writer>,
{
    /// The state of these tenants. With `more` it comes in several replies, of some tenants each, in
    /// the order of the manifest. The state of each tenant is of one moment; those of two tenants may
    /// be of two.
    #[zlink(more)]
    async fn status(
        &self,
        more: bool,
        tenants: Option<Names>,
        #[zlink(connection)] conn: &mut Connection<Sock>,
    ) -> impl Stream<Item = Result<Reply<AppStatus>, Refusal>> + Unpin {
        let writer = conn.write().write_half();
        let tenants = named(tenants);
        sent(
            parts::status(&self.queue, tenants, more, writer).await,
            writer,
        )
    }

    /// What happens to these tenants: a snapshot, and then every event, until the connection or the
    /// supervisor ends. It is called with `more`.
    #[zlink(more)]
    async fn watch(
        &self,
        more: bool,
        tenants: Option<Names>,
        #[zlink(connection)] conn: &mut Connection<Sock>,
    ) -> impl Stream<Item = Result<Reply<Update>, Refusal>> + Unpin {
        let writer = conn.write().write_half();
        let tenants = named(tenants);
        let result = match more {
            true => parts::watch(&self.queue, tenants, self.peer, writer).await,
            false => Err(Unsent::Refused(Refusal::OnlyMore)),
        };
        sent(result, writer)
    }

    /// Wants these tenants up, now: overrides any wait and ends the state `failed`. A permanent want outlives the
    /// supervisor's end and a reboot.
    async fn start(
        &self,
        tenants: Option<Names>,
        permanent: Option<bool>,
    ) -> Result<Answers, Refusal> {
        self.act(Verb::Start, tenants, permanent.unwrap_or(false))
            .await
    }

    /// Wants these tenants down; permanently so, if asked.
    async fn stop(
        &self,
        tenants: Option<Names>,
        permanent: Option<bool>,
    ) -> Result<Answers, Refusal> {
        self.act(Verb::Stop, tenants, permanent.unwrap_or(false))
            .await
    }

    /// Ends the launches of these tenants and starts others.
    async fn restart(&self, tenants: Option<Names>) -> Result<Answers, Refusal> {
        self.act(Verb::Restart, tenants, false).await
    }

    /// Ends the supervisor, and lets the tenants go on. The answer says that it is begun; it is done
    /// when the supervisor's process has ended.
    async fn detach(&self) -> Result<(), Refusal> {
        Ok(self.queue.send(|reply| Request::Detach { reply }).await??)
    }

    /// Reads the manifest again and begins what is different. Says what that is, or every problem;
    /// then nothing was changed.
    async fn reload(&self) -> Result<Described<Changes>, Refusal> {
        Ok(Described(
            self.queue.send(|reply| Request::Reload { reply }).await??,
        ))
    }

    /// Reads the manifest again and says what a reload would do.
    async fn diff(&self) -> Result<Described<Changes>, Refusal> {
        Ok(Described(
            self.queue.send(|reply| Request::Diff { reply }).await??,
        ))
    }

    /// Where the manifest lies that a reload reads.
    async fn manifest(&self) -> Result<ManifestPath, Refusal> {
        let path = self.queue.send(|reply| Request::Manifest { reply }).await?;
        Ok(ManifestPath {
            path: path.display().to_string(),
        })
    }

    /// Collects what the application left on the host and no tenant of its plan owns; in a dry run
    /// it only says what that is.
    async fn collect(&self, dry_run: bool) -> Result<ResidueList, Refusal> {
        let app = self.app.clone();
        let failed = |why: stage::Failure| Refusal::NotCollected {
            reason: why.to_string(),
        };
        let survey = blocking(move || gc::look(&app)).await.map_err(failed)?;
        let request = |reply| Request::Collect {
            survey,
            dry_run,
            reply,
        };
        let sorted = self.queue.send(request).await?;
        let residue = blocking(move || Ok(gc::finish(sorted))).await;
        let residue = residue.map_err(failed)?;
        Ok(ResidueList { residue })
    }

    /// Executes the program on disk in the supervisor's process, once it has been tried. It answers
    /// at the end of the preflight; who connects from then on is answered by the new program.
    async fn upgrade(&self) -> Result<Upgrading, Refusal> {
        let begun = self.queue.send(|reply| Request::Upgrade { reply }).await?;
        begun.map_err(|reason| Refusal::NotUpgraded { reason })
    }

    /// Which program answers, and what came of the last upgrade.
    async fn upgraded(&self) -> Result<Upgraded, Refusal> {
        Ok(self.queue.send(|reply| Request::Upgraded { reply }).await?)
    }

    /// What a process needs to join this tenant.
    async fn enter(&self, tenant: Described<TenantName>) -> Result<ExecTarget, Refusal> {
        let Described(tenant) = tenant;
        let asked = tenant.clone();
        let request = |reply| Request::Enter {
            tenant: asked,
            reply,
        };
        let tenant = tenant.to_string();
        self.queue
            .send(request)
            .await?
            .map_err(|error| match error {
                NoExecTarget::Unknown(unknown) => unknown.into(),
                NoExecTarget::Down(state) => Refusal::TenantDown { tenant, state },
                NoExecTarget::Lost(reason) => Refusal::NoExecTarget { tenant, reason },
            })
    }
}
