//! The varlink form of the types of [`super`]: errors, interface description and client calls.
//!
//! Most programs do not need this module; [`crate::client`] does. Varlink has neither enums with
//! data nor names with dashes, so types that have those are represented here by types of their own.
//! Those in [`description`] are only used for the interface description; `tests/kernel/control`
//! compares them with what is sent.
//!
//! A client must live until its request is answered: the supervisor looks at the process that sent a request
//! when it receives it, and refuses that of a process that has ended. This holds for a `oneway` call too,
//! which has no answer: shut down the sending side and wait until the supervisor closes the connection.

use std::os::fd::OwnedFd;

use serde::{Deserialize, Serialize};
use zlink::idl;
use zlink::introspect::{CustomType, Type};

use super::{
    Answer, AppReloaded, AppStatus, Deputy, ExecTarget, Frozen, LimitsSet, Phase, Program,
    Repaired, ResidueList, Signalled, StateWord, TenantAnswer, TenantStatus, Upgraded, Upgrading,
    Want,
};
use tenantd_core::name::TenantName;
use tenantd_core::plan::diff::Changes;

/// An error reply: the supervisor did not carry out the request.
#[derive(Debug, Clone, PartialEq, Eq, zlink::ReplyError, zlink::introspect::ReplyError)]
#[zlink(interface = "io.tenantd.Supervisor")]
pub enum Refusal {
    /// The application has no tenant with this name. Nothing was done to any tenant.
    UnknownTenant {
        /// The unknown name.
        tenant: String,
    },
    /// The tenant has no running process to join.
    TenantDown {
        /// The name of the tenant.
        tenant: String,
        /// The state of the tenant.
        state: StateWord,
    },
    /// The tenant's process could not be determined.
    NoExecTarget {
        /// The name of the tenant.
        tenant: String,
        /// Why it could not be determined.
        reason: String,
    },
    /// The manifest has mistakes and was not reloaded.
    BadManifest {
        /// All mistakes, formatted as `tenantd check` prints them.
        problems: String,
    },
    /// The manifest is valid, but contains a change that a reload cannot make. Nothing was changed.
    NotReloaded {
        /// The change that cannot be made, and what to do instead.
        reason: String,
    },
    /// The supervisor could not look for residue.
    NotCollected {
        /// What failed.
        reason: String,
    },
    /// The method sends several replies and must be called with `more`.
    OnlyMore,
    /// The supervisor is shutting down and accepts no more requests.
    ShuttingDown,
    /// The program on disk failed its preflight; the running supervisor continues.
    NotUpgraded {
        /// What failed.
        reason: String,
    },
    /// The supervisor serves only root, its own user, and members of the groups in `control.read`
    /// and `control.operators` of the manifest.
    NotAllowed {
        /// The user ID of the caller.
        uid: u32,
    },
    /// The request is for root.
    ReadOnly {
        /// The user ID of the caller.
        uid: u32,
    },
    /// The caller is not root, and its groups have not the right to do this with this tenant, by
    /// `control.operators` of the manifest.
    NoRight {
        /// The right.
        right: String,
        /// The tenant; null if all tenants are meant.
        tenant: Option<String>,
    },
    /// The supervisor serves only processes of the host, and none inside a tenant, whatever its user is.
    WrongPlace {
        /// Where the process is.
        reason: String,
    },
    /// The caller, or all callers of its kind (root, readers), have the maximum number of
    /// connections.
    TooManyConnections {
        /// The maximum number.
        limit: u32,
    },
    /// The process of root could not be started that would carry this out, or the caller has the maximum
    /// number of them.
    NoDeputy {
        /// Why not.
        reason: String,
    },
    /// All callers of this kind (root, readers) have the maximum number of subscriptions. Other
    /// requests are still answered.
    TooManySubscriptions {
        /// The maximum number.
        limit: u32,
    },
}

/// The answers to a start, stop or restart, in the order of the requested tenants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Type)]
pub struct Answers {
    /// One answer per tenant.
    pub answers: Vec<Answered>,
}

/// The answer for one tenant; the varlink form of [`TenantAnswer`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answered {
    /// The tenant that the answer is about.
    pub tenant: TenantName,
    /// Whether the request was accepted, changes nothing, or was refused.
    pub answer: AnswerWord,
    /// Why the request was refused, and what to do; null otherwise.
    pub reason: Option<String>,
    /// Why it is not permanent, although it was not refused; null otherwise.
    #[serde(default)]
    pub unkept: Option<String>,
}

/// What became of a request to send a signal, in the order of the requested tenants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Type)]
pub struct SignalledList {
    /// One entry per tenant.
    pub tenants: Vec<Signalled>,
}

/// What became of a request to pause tenants or to let them continue, in the order of the requested tenants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Type)]
pub struct FrozenList {
    /// One entry per tenant.
    pub tenants: Vec<Frozen>,
}

/// What became of a request to make programs read their configuration again, in the order of the
/// requested tenants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Type)]
pub struct AppReloadedList {
    /// One entry per tenant.
    pub tenants: Vec<AppReloaded>,
}

/// What became of a request to mend what differs from the plan, in the order of the requested tenants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Type)]
pub struct RepairedList {
    /// Why what all tenants share could not be mended; null if nothing failed.
    pub shared: Option<String>,
    /// One entry per tenant.
    pub tenants: Vec<Repaired>,
}

/// Whether a request was accepted, changes nothing, or was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, CustomType)]
#[serde(rename_all = "snake_case")]
#[zlink(rename_all = "snake_case")]
pub enum AnswerWord {
    /// The supervisor is carrying out the request.
    Accepted,
    /// The tenant is in the requested state already.
    AlreadySo,
    /// The supervisor does not carry out the request.
    Refused,
}

impl From<TenantAnswer> for Answered {
    fn from(answered: TenantAnswer) -> Self {
        let TenantAnswer {
            tenant,
            answer,
            unkept,
        } = answered;
        let (answer, reason) = match answer {
            Answer::Accepted => (AnswerWord::Accepted, None),
            Answer::AlreadySo => (AnswerWord::AlreadySo, None),
            Answer::Refused { reason } => (AnswerWord::Refused, Some(reason)),
        };
        Self {
            tenant,
            answer,
            reason,
            unkept,
        }
    }
}

impl From<Answered> for TenantAnswer {
    fn from(answered: Answered) -> Self {
        let answer = match answered.answer {
            AnswerWord::Accepted => Answer::Accepted,
            AnswerWord::AlreadySo => Answer::AlreadySo,
            AnswerWord::Refused => Answer::Refused {
                reason: answered.reason.unwrap_or_default(),
            },
        };
        Self {
            tenant: answered.tenant,
            answer,
            unkept: answered.unkept,
        }
    }
}

/// Wraps a value of a type that another crate defines, so that the interface description can
/// describe it. It is serialized as the value itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Described<T>(pub T);

impl Type for Described<TenantName> {
    const TYPE: &'static idl::Type<'static> = &idl::Type::String;
}

impl Type for Described<Changes> {
    const TYPE: &'static idl::Type<'static> = description::Changes::TYPE;
}

/// The path of the manifest that a reload reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Type)]
pub struct ManifestPath {
    /// The absolute path.
    pub path: String,
}

pub mod description;

macro_rules! described {
    ($($type:ident),*) => {$(
        impl CustomType for $type {
            const CUSTOM_TYPE: &'static idl::CustomType<'static> = description::$type::CUSTOM_TYPE;
        }

        impl Type for $type {
            const TYPE: &'static idl::Type<'static> = description::$type::TYPE;
        }
    )*};
}

described!(
    TenantStatus,
    Answered,
    Signalled,
    Frozen,
    AppReloaded,
    Repaired
);

impl Type for AppStatus {
    const TYPE: &'static idl::Type<'static> = description::AppStatus::TYPE;
}

/// The methods of the interface. [`crate::client::Connection`] is the convenient way to call them.
#[zlink::proxy("io.tenantd.Supervisor")]
pub trait Supervisor {
    /// Returns the state of these tenants, or of all if the list is empty.
    async fn status(&mut self, tenants: &[TenantName])
    -> zlink::Result<Result<AppStatus, Refusal>>;
    /// Starts these tenants, or all.
    async fn start(
        &mut self,
        tenants: &[TenantName],
        permanent: bool,
    ) -> zlink::Result<Result<Answers, Refusal>>;
    /// Allows the next start of these tenants to take the datastore of another host, for a minute.
    async fn allow_takeover(
        &mut self,
        tenants: &[TenantName],
    ) -> zlink::Result<Result<(), Refusal>>;
    /// Starts these tenants on behalf of an engine.
    #[zlink(rename = "Start")]
    async fn start_by(
        &mut self,
        tenants: &[TenantName],
        engine: &str,
    ) -> zlink::Result<Result<Answers, Refusal>>;
    /// Stops these tenants, or all.
    async fn stop(
        &mut self,
        tenants: &[TenantName],
        permanent: bool,
    ) -> zlink::Result<Result<Answers, Refusal>>;
    /// Restarts the programs of these tenants, or of all.
    async fn restart(&mut self, tenants: &[TenantName]) -> zlink::Result<Result<Answers, Refusal>>;
    /// Sends a signal to the processes of these tenants, or of all.
    async fn signal(
        &mut self,
        tenants: &[TenantName],
        signal: i32,
        main: bool,
    ) -> zlink::Result<Result<SignalledList, Refusal>>;
    /// Pauses these tenants, or all, or lets them continue; with `reclaim` also takes their memory.
    async fn freeze(
        &mut self,
        tenants: &[TenantName],
        frozen: bool,
        reclaim: bool,
    ) -> zlink::Result<Result<FrozenList, Refusal>>;
    /// Sets limits of this tenant until it stops, or takes them back; with `reset` first all that are set.
    async fn set(
        &mut self,
        tenant: &TenantName,
        limits: &[String],
        reset: bool,
    ) -> zlink::Result<Result<LimitsSet, Refusal>>;
    /// Makes the programs of these tenants, or of all, read their configuration again.
    async fn reload_app(
        &mut self,
        tenants: &[TenantName],
    ) -> zlink::Result<Result<AppReloadedList, Refusal>>;
    /// Mends what of these tenants, or of all, differs from the plan, without a restart.
    async fn repair(
        &mut self,
        tenants: &[TenantName],
    ) -> zlink::Result<Result<RepairedList, Refusal>>;
    /// Ends the supervisor and keeps the tenants running.
    async fn detach(&mut self) -> zlink::Result<Result<(), Refusal>>;
    /// Reads the manifest again and applies the changes, with `expect` only those of this hash.
    async fn reload(&mut self, expect: Option<&str>) -> zlink::Result<Result<Changes, Refusal>>;
    /// Reads the manifest again and returns the changes, without applying them.
    async fn diff(&mut self) -> zlink::Result<Result<Changes, Refusal>>;
    /// Returns the path of the manifest.
    async fn manifest(&mut self) -> zlink::Result<Result<ManifestPath, Refusal>>;
    /// Removes residue, or lists it if `dry_run` is true.
    async fn collect(&mut self, dry_run: bool) -> zlink::Result<Result<ResidueList, Refusal>>;
    /// Replaces the supervisor by the program on disk.
    async fn upgrade(&mut self) -> zlink::Result<Result<Upgrading, Refusal>>;
    /// Returns the running version and the result of the last upgrade.
    async fn upgraded(&mut self) -> zlink::Result<Result<Upgraded, Refusal>>;
    /// Returns what a process needs to join a tenant.
    async fn enter(&mut self, tenant: &TenantName) -> zlink::Result<Result<ExecTarget, Refusal>>;
    /// Launches what a command needs in a tenant that is not up, and returns what it needs to join.
    async fn exec_offline(
        &mut self,
        tenant: &TenantName,
        command: &str,
    ) -> zlink::Result<Result<ExecTarget, Refusal>>;
    /// Starts a deputy that sends the logs of these tenants.
    #[zlink(return_fds)]
    async fn logs(
        &mut self,
        tenants: &[TenantName],
        lines: Option<u64>,
        since: Option<i64>,
        follow: bool,
    ) -> zlink::Result<(Result<Deputy, Refusal>, Vec<OwnedFd>)>;
    /// Starts a deputy that sends the history of these tenants.
    #[zlink(return_fds)]
    async fn history(
        &mut self,
        tenants: &[TenantName],
        since: Option<i64>,
        until: Option<i64>,
        lines: Option<u64>,
        kinds: &[&str],
    ) -> zlink::Result<(Result<Deputy, Refusal>, Vec<OwnedFd>)>;
    /// Starts a deputy that runs a command in a tenant.
    #[zlink(return_fds)]
    async fn exec(
        &mut self,
        tenant: &TenantName,
        command: &[String],
        term: Option<&str>,
    ) -> zlink::Result<(Result<Deputy, Refusal>, Vec<OwnedFd>)>;
}
