//! The methods of the varlink interface. Each puts one request on the request queue and converts
//! its answer.

#![allow(missing_docs, reason = "the macro makes a public enum without any")]

mod asked;
mod audited;
mod clients;
mod deputized;

use std::os::fd::OwnedFd;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::sync::watch::Receiver;
use zlink::connection::Socket;

use deputized::with_descriptor;

use crate::requests::control::deputies::Deputies;
use crate::requests::control::guard::Writer;
use crate::requests::control::judge::Judge;
use crate::requests::control::parts::{self, Unsent};
use crate::requests::control::refusals::not_joined;
use crate::requests::control::sent::{send_whole, sent};
use crate::requests::queue::{Request, RequestQueue};
use tenantd_api::wire::Offline as Running;
use tenantd_api::wire::asked::{RequestEvent, RequestOutcome};
use tenantd_api::wire::varlink::description::{
    Failure, FieldChange, FileDiff, KeyChange, Killed, LastFailure, NamedProcess, NetworkState,
    TenantChange, Unlaunchable,
};
use tenantd_api::wire::varlink::{
    AnswerWord, Answered, Answers, AppReloadedList, Described, FrozenList, ManifestPath, Refusal,
    RepairedList, SignalledList,
};
use tenantd_api::wire::watch::{EndReason, EventKind, ProgramExit, Snapshot, TenantEvent, Update};
use tenantd_api::wire::{
    AppReloaded, AppStatus, Deputy, ExecLimit, ExecPrivileges, ExecTarget, Frozen, LimitByHand,
    LimitsSet, LogPlace, ProbeResults, Program, Repaired, Residue, ResidueFate, ResidueKind,
    ResidueList, Signalled, Starved, StateWord, TenantStatus, Tracking, Upgraded, Upgrading, Verb,
    Want,
};
use tenantd_core::name::{AppName, TenantName};
use tenantd_core::plan::diff::Changes;

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
    deputies: Deputies,
    /// The process of the client.
    peer: Option<i32>,
    /// Who it is, for the audit log.
    judge: Option<Judge>,
    /// Changes when the socket is closed.
    closed: Option<Receiver<()>>,
    /// The places for subscriptions of its kind of clients.
    subscriptions: Arc<Semaphore>,
    limit: u32,
}

/// The supervisor of one application. An absent or empty list of tenants means all of them. A
/// list with an unknown name is refused as a whole.
#[zlink::service(
    interface = "io.tenantd.Supervisor",
    types = [
        TenantStatus, Want, StateWord, Program, Tracking, LogPlace, Failure, Answered, AnswerWord,
        NetworkState,
        FieldChange, KeyChange, TenantChange, FileDiff, Unlaunchable, Residue, ResidueKind, ResidueFate,
        Snapshot, TenantEvent, RequestEvent, RequestOutcome, EventKind, ProgramExit, EndReason, ExecLimit, ExecPrivileges,
        Killed, LastFailure, NamedProcess, Signalled, Frozen, LimitByHand, ProbeResults, Starved, AppReloaded, Repaired, Running,
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
    /// Returns the state of these tenants. With `more` it comes in several replies, each with some
    /// of the tenants, in the order of the manifest. The states of two tenants may be of different
    /// moments.
    #[zlink(more)]
    async fn status(
        &self,
        more: bool,
        tenants: Option<Names>,
        #[zlink(connection)] conn: &mut Connection<Sock>,
    ) -> impl Stream<Item = Result<Reply<AppStatus>, Refusal>> + Unpin {
        let writer = conn.write().write_half();
        let tenants = named(tenants);
        let result = parts::status(&self.queue, tenants.clone(), more, writer).await;
        sent(self.noted("status", &tenants, result), writer)
    }

    /// Subscribes to these tenants: returns a snapshot, and then every event, until the connection
    /// or the supervisor ends. Must be called with `more`. With `requests`, root also gets each request
    /// that changes something in these tenants or is refused; others get none.
    #[zlink(more)]
    async fn watch(
        &self,
        more: bool,
        tenants: Option<Names>,
        requests: Option<bool>,
        #[zlink(connection)] conn: &mut Connection<Sock>,
    ) -> impl Stream<Item = Result<Reply<Update>, Refusal>> + Unpin {
        let writer = conn.write().write_half();
        let tenants = named(tenants);
        let result = match more {
            true => {
                let requests = requests.unwrap_or(false);
                self.subscribe(tenants.clone(), requests, writer).await
            }
            false => Err(Unsent::Refused(Refusal::OnlyMore)),
        };
        sent(self.noted("events", &tenants, result), writer)
    }

    /// Wants these tenants up. A tenant that is waiting or failed is started at once. A permanent
    /// want also holds after the supervisor's end and a reboot. `engine` is the engine that sends the
    /// request, which needs root: see `engine` of the manifest.
    #[zlink(more)]
    async fn start(
        &self,
        more: bool,
        tenants: Option<Names>,
        permanent: Option<bool>,
        engine: Option<String>,
        #[zlink(connection)] conn: &mut Connection<Sock>,
    ) -> impl Stream<Item = Result<Reply<Answers>, Refusal>> + Unpin {
        let permanent = permanent.unwrap_or(false);
        let answers = self.act((Verb::Start, engine), tenants, permanent).await;
        send_whole(more, answers, conn.write().write_half()).await
    }

    /// Allows the next start of these tenants to take over a datastore that another host uses, for a
    /// minute. Only for a caller that knows that the other host does not use it.
    async fn allow_takeover(&self, tenants: Option<Names>) -> Result<(), Refusal> {
        self.take_over(named(tenants)).await
    }

    /// Wants these tenants down, optionally permanently.
    #[zlink(more)]
    async fn stop(
        &self,
        more: bool,
        tenants: Option<Names>,
        permanent: Option<bool>,
        #[zlink(connection)] conn: &mut Connection<Sock>,
    ) -> impl Stream<Item = Result<Reply<Answers>, Refusal>> + Unpin {
        let permanent = permanent.unwrap_or(false);
        let answers = self.act((Verb::Stop, None), tenants, permanent).await;
        send_whole(more, answers, conn.write().write_half()).await
    }

    /// Relaunches these tenants: ends their programs and starts them again.
    #[zlink(more)]
    async fn restart(
        &self,
        more: bool,
        tenants: Option<Names>,
        #[zlink(connection)] conn: &mut Connection<Sock>,
    ) -> impl Stream<Item = Result<Reply<Answers>, Refusal>> + Unpin {
        let answers = self.act((Verb::Restart, None), tenants, false).await;
        send_whole(more, answers, conn.write().write_half()).await
    }

    /// Sends a signal to every process of these tenants' programs, with `main` to their main processes
    /// only. Returns to how many it was sent.
    #[zlink(more)]
    async fn signal(
        &self,
        more: bool,
        tenants: Option<Names>,
        signal: i32,
        main: Option<bool>,
        #[zlink(connection)] conn: &mut Connection<Sock>,
    ) -> impl Stream<Item = Result<Reply<SignalledList>, Refusal>> + Unpin {
        let signalled = self
            .signalled(tenants, (signal, main.unwrap_or(false)))
            .await;
        send_whole(more, signalled, conn.write().write_half()).await
    }

    /// Pauses these tenants, or lets them continue; with `reclaim`, also takes the memory of those that are paused.
    /// Returns when that is done.
    #[zlink(more)]
    async fn freeze(
        &self,
        more: bool,
        tenants: Option<Names>,
        frozen: bool,
        reclaim: Option<bool>,
        #[zlink(connection)] conn: &mut Connection<Sock>,
    ) -> impl Stream<Item = Result<Reply<FrozenList>, Refusal>> + Unpin {
        let how = (frozen, reclaim.unwrap_or(false));
        let list = self.frozen(tenants, how).await;
        send_whole(more, list, conn.write().write_half()).await
    }

    /// Sets limits of this tenant until it stops, all or none of them, each as `LIMIT=VALUE` of the manifest; one without
    /// a value is taken back, with `reset` first all that are set. Returns once the kernel has confirmed it.
    async fn set(
        &self,
        tenant: Described<TenantName>,
        limits: Option<Vec<String>>,
        reset: Option<bool>,
    ) -> Result<LimitsSet, Refusal> {
        self.limited(tenant.0, limits, reset.unwrap_or(false)).await
    }

    /// Makes the programs of these tenants read their configuration again, as `[app.reload]` of the
    /// manifest says. Returns when that is done.
    #[zlink(more)]
    async fn reload_app(
        &self,
        more: bool,
        tenants: Option<Names>,
        #[zlink(connection)] conn: &mut Connection<Sock>,
    ) -> impl Stream<Item = Result<Reply<AppReloadedList>, Refusal>> + Unpin {
        let reloaded = self.app_reloaded(tenants).await;
        send_whole(more, reloaded, conn.write().write_half()).await
    }

    /// Starts a process of root that sends the logs of these tenants, for the right `logs`, to a stream: the last lines
    /// of all together, at most 10000, or all, those since a time in microseconds, and with `follow` those that come.
    #[zlink(return_fds)]
    async fn logs(
        &self,
        tenants: Option<Names>,
        lines: Option<u64>,
        since: Option<i64>,
        follow: Option<bool>,
    ) -> (Result<Deputy, Refusal>, Vec<OwnedFd>) {
        let follow = follow.unwrap_or(false);
        with_descriptor(self.logged(tenants, (lines, since, follow)).await)
    }

    /// Starts a process of root that sends the history of these tenants, for the right `logs`. Times are in milliseconds.
    #[zlink(return_fds)]
    async fn history(
        &self,
        tenants: Option<Names>,
        since: Option<i64>,
        until: Option<i64>,
        lines: Option<u64>,
        kinds: Option<Vec<String>>,
    ) -> (Result<Deputy, Refusal>, Vec<OwnedFd>) {
        with_descriptor(self.happened(tenants, (since, until, lines), kinds).await)
    }

    /// Mends what of these tenants differs from the plan, and what all tenants share, as far as it can be while the
    /// tenants run. Returns when that is done.
    #[zlink(more)]
    async fn repair(
        &self,
        more: bool,
        tenants: Option<Names>,
        #[zlink(connection)] conn: &mut Connection<Sock>,
    ) -> impl Stream<Item = Result<Reply<RepairedList>, Refusal>> + Unpin {
        let repaired = self.repaired(tenants).await;
        send_whole(more, repaired, conn.write().write_half()).await
    }

    /// Starts a process of root that runs a command in this tenant, as its user, for a client with the right
    /// `exec`, and returns a socket of the type `SOCK_SEQPACKET`: see `Streams` and `CommandEnd` of the crate
    /// tenantd-api. `term` is the value of `TERM` for it.
    #[zlink(return_fds)]
    async fn exec(
        &self,
        tenant: Described<TenantName>,
        command: Vec<String>,
        term: Option<String>,
    ) -> (Result<Deputy, Refusal>, Vec<OwnedFd>) {
        with_descriptor(self.visited(tenant.0, command, term).await)
    }

    /// Detaches: ends the supervisor and leaves the tenants running. The answer comes when it has
    /// begun; it is complete when the supervisor's process has ended.
    async fn detach(&self) -> Result<(), Refusal> {
        let answering = async { Ok(self.queue.send(|reply| Request::Detach { reply }).await??) };
        self.audited("detach", Vec::new(), answering).await
    }

    /// Reads the manifest again and begins to apply the changes. Returns the changes, or every
    /// problem of the manifest; then nothing was changed. With `expect`, the hash that `Diff`
    /// returned, it applies only the changes of that hash.
    #[zlink(more)]
    async fn reload(
        &self,
        more: bool,
        expect: Option<String>,
        #[zlink(connection)] conn: &mut Connection<Sock>,
    ) -> impl Stream<Item = Result<Reply<Described<Changes>>, Refusal>> + Unpin {
        let request = |reply| Request::Reload { expect, reply };
        let changes = self.audited("reload", Vec::new(), self.changes(request));
        let changes = changes.await;
        send_whole(more, changes, conn.write().write_half()).await
    }

    /// Reads the manifest again and returns the changes that a reload would apply, with their hash.
    #[zlink(more)]
    async fn diff(
        &self,
        more: bool,
        #[zlink(connection)] conn: &mut Connection<Sock>,
    ) -> impl Stream<Item = Result<Reply<Described<Changes>>, Refusal>> + Unpin {
        let changes = self.changes(|reply| Request::Diff { reply }).await;
        if let Err(refusal) = &changes {
            self.note_refusal("diff", &[], refusal);
        }
        send_whole(more, changes, conn.write().write_half()).await
    }

    /// Returns the path of the manifest.
    async fn manifest(&self) -> Result<ManifestPath, Refusal> {
        let path = self.queue.send(|reply| Request::Manifest { reply }).await?;
        Ok(ManifestPath {
            path: path.display().to_string(),
        })
    }

    /// Removes the residue of the application. A dry run only reports it.
    #[zlink(more)]
    async fn collect(
        &self,
        more: bool,
        dry_run: bool,
        #[zlink(connection)] conn: &mut Connection<Sock>,
    ) -> impl Stream<Item = Result<Reply<ResidueList>, Refusal>> + Unpin {
        let verb = if dry_run { "gc --dry-run" } else { "gc" };
        let residue = self.audited(verb, Vec::new(), self.residue(dry_run)).await;
        send_whole(more, residue, conn.write().write_half()).await
    }

    /// Executes the program on disk in the supervisor's process, after a successful preflight. The
    /// answer comes after the preflight; the new program answers later connections.
    async fn upgrade(&self) -> Result<Upgrading, Refusal> {
        let answering = async {
            let begun = self.queue.send(|reply| Request::Upgrade { reply }).await?;
            begun.map_err(|reason| Refusal::NotUpgraded { reason })
        };
        self.audited("upgrade", Vec::new(), answering).await
    }

    /// Returns the version of the running program and the result of the last upgrade.
    async fn upgraded(&self) -> Result<Upgraded, Refusal> {
        Ok(self.queue.send(|reply| Request::Upgraded { reply }).await?)
    }

    /// Returns what a process needs to join this tenant.
    async fn enter(&self, tenant: Described<TenantName>) -> Result<ExecTarget, Refusal> {
        let Described(tenant) = tenant;
        let asked = tenant.clone();
        let request = |reply| Request::Enter {
            tenant: asked,
            reply,
        };
        let answering = async {
            let target = self.queue.send(request).await?;
            target.map_err(|error| not_joined(&tenant, error))
        };
        self.audited("exec", vec![tenant.clone()], answering).await
    }

    /// Launches what the program of this tenant would have, for a command of the client, and returns what
    /// a process needs to join it. The tenant must be down or have failed. It is as before once the
    /// client's process has ended.
    async fn exec_offline(
        &self,
        tenant: Described<TenantName>,
        command: String,
    ) -> Result<ExecTarget, Refusal> {
        self.offline(tenant.0, command).await
    }
}
