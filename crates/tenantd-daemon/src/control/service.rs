//! The methods of the interface: each puts one request on the desk and turns its answer into
//! varlink's.

#![allow(missing_docs, reason = "the macro makes a public enum without any")]

use futures_util::stream::{self, Stream};
use zlink::Reply;
use zlink::connection::Socket;

use super::guard::Writer;
use super::parts::{self, Unsent};
use crate::desk::{Ask, Closed, Desk, NoDoor, NoReload, Unknown};
use crate::gc;
use crate::site::blocking;
use tenantd_api::wire::varlink::description::{Failure, FieldChange, TenantChange};
use tenantd_api::wire::varlink::{AnswerWord, Answered, Answers, Described, ManifestPath, Refusal};
use tenantd_api::wire::watch::{EndReason, EventKind, ProgramExit, Snapshot, TenantEvent, Update};
use tenantd_api::wire::{
    AppStatus, Door, Leftover, LeftoverFate, LeftoverKind, Leftovers, LogPlace, Program, StateWord,
    TenantStatus, Tracking, Upgraded, Upgrading, Verb, Want,
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
pub(super) struct Service {
    app: AppName,
    desk: Desk,
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
    pub(super) fn new(app: AppName, desk: Desk) -> Self {
        Self {
            app,
            desk,
            peer: None,
        }
    }

    /// The same for the connection of this process.
    pub(super) fn of(&self, peer: Option<i32>) -> Self {
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
        let ask = |reply| Ask::Act {
            verb,
            tenants,
            permanent,
            reply,
        };
        let answers = self.desk.ask(ask).await??;
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
        FieldChange, TenantChange, Leftover, LeftoverKind, LeftoverFate, Snapshot, TenantEvent,
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
            parts::status(&self.desk, tenants, more, writer).await,
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
            true => parts::watch(&self.desk, tenants, self.peer, writer).await,
            false => Err(Unsent::Refused(Refusal::OnlyMore)),
        };
        sent(result, writer)
    }

    /// Wants these tenants up, now: overrides any wait and ends a hold. A permanent want outlives the
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
    async fn leave(&self) -> Result<(), Refusal> {
        Ok(self.desk.ask(|reply| Ask::Leave { reply }).await??)
    }

    /// Reads the manifest again and begins what is different. Says what that is, or every problem;
    /// then nothing was changed.
    async fn reload(&self) -> Result<Described<Changes>, Refusal> {
        Ok(Described(
            self.desk.ask(|reply| Ask::Reload { reply }).await??,
        ))
    }

    /// Reads the manifest again and says what a reload would do.
    async fn diff(&self) -> Result<Described<Changes>, Refusal> {
        Ok(Described(
            self.desk.ask(|reply| Ask::Diff { reply }).await??,
        ))
    }

    /// Where the manifest lies that a reload reads.
    async fn manifest(&self) -> Result<ManifestPath, Refusal> {
        let path = self.desk.ask(|reply| Ask::Manifest { reply }).await?;
        Ok(ManifestPath {
            path: path.display().to_string(),
        })
    }

    /// Collects what the application left on the host and no tenant of its plan owns; in a dry run
    /// it only says what that is.
    async fn collect(&self, dry_run: bool) -> Result<Leftovers, Refusal> {
        let app = self.app.clone();
        let failed = |why: stage::Failure| Refusal::NotCollected {
            reason: why.to_string(),
        };
        let survey = blocking(move || gc::look(&app)).await.map_err(failed)?;
        let ask = |reply| Ask::Collect {
            survey,
            dry_run,
            reply,
        };
        let sorted = self.desk.ask(ask).await?;
        let leftovers = blocking(move || Ok(gc::finish(sorted))).await;
        let leftovers = leftovers.map_err(failed)?;
        Ok(Leftovers { leftovers })
    }

    /// Executes the program on disk in the supervisor's process, once it has been tried. It answers
    /// at the end of the trial; who connects from then on is answered by the new program.
    async fn upgrade(&self) -> Result<Upgrading, Refusal> {
        let begun = self.desk.ask(|reply| Ask::Upgrade { reply }).await?;
        begun.map_err(|reason| Refusal::NotUpgraded { reason })
    }

    /// Which program answers, and what came of the last upgrade.
    async fn upgraded(&self) -> Result<Upgraded, Refusal> {
        Ok(self.desk.ask(|reply| Ask::Upgraded { reply }).await?)
    }

    /// What a process needs to join this tenant.
    async fn enter(&self, tenant: Described<TenantName>) -> Result<Door, Refusal> {
        let Described(tenant) = tenant;
        let asked = tenant.clone();
        let ask = |reply| Ask::Enter {
            tenant: asked,
            reply,
        };
        let tenant = tenant.to_string();
        self.desk.ask(ask).await?.map_err(|no_door| match no_door {
            NoDoor::Unknown(unknown) => unknown.into(),
            NoDoor::Down(state) => Refusal::TenantDown { tenant, state },
            NoDoor::Lost(reason) => Refusal::NoDoor { tenant, reason },
        })
    }
}
