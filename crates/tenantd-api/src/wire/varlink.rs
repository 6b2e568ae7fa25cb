//! How the words of [`super`] look in varlink: the errors, the types of the interface
//! description, and what a client calls. With the daemon's control socket and [`crate::client`]
//! the only place that knows zlink.
//!
//! Varlink has no enum with data and no names with dashes; what has those gets a mirror here. A
//! mirror that exists for the description alone is checked against what is really sent by
//! `tests/kernel/control`.

use serde::{Deserialize, Serialize};
use zlink::idl;
use zlink::introspect::{CustomType, Type};

use super::{
    Answer, AppStatus, ExecTarget, Program, ResidueList, StateWord, TenantAnswer, TenantStatus,
    Upgraded, Upgrading, Want,
};
use tenantd_core::name::TenantName;
use tenantd_core::plan::diff::Changes;

/// Why a request was not carried out at all.
#[derive(Debug, Clone, PartialEq, Eq, zlink::ReplyError, zlink::introspect::ReplyError)]
#[zlink(interface = "io.tenantd.Supervisor")]
pub enum Refusal {
    /// The application has no tenant of this name. Nothing was done to the others either.
    UnknownTenant {
        /// The name.
        tenant: String,
    },
    /// The tenant has no process to join.
    TenantDown {
        /// The tenant.
        tenant: String,
        /// The state it is in.
        state: StateWord,
    },
    /// The tenant's process could not be told.
    NoExecTarget {
        /// The tenant.
        tenant: String,
        /// Why not.
        reason: String,
    },
    /// The manifest that was to be reloaded has problems. Nothing was changed.
    BadManifest {
        /// All of them, as `tenantd check` shows them.
        problems: String,
    },
    /// The manifest is good, and what it changes cannot be changed by a reload. Nothing was
    /// changed.
    NotReloaded {
        /// Why not, and what would help.
        reason: String,
    },
    /// The host could not be looked at for residue.
    NotCollected {
        /// Why not.
        reason: String,
    },
    /// The method has more than one reply, and was called without `more`.
    OnlyMore,
    /// The supervisor is ending and answers nothing more.
    ShuttingDown,
    /// The program on disk would not serve, and the one that runs carries on.
    NotUpgraded {
        /// Why.
        reason: String,
    },
    /// Only root and the supervisor's own user are served.
    NotAllowed {
        /// The user that asked.
        uid: u32,
    },
    /// As many connections as are served at once are open.
    TooManyConnections {
        /// How many that is.
        limit: u32,
    },
}

/// The answers to one request, in the order of the tenants asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Type)]
pub struct Answers {
    /// One per tenant.
    pub answers: Vec<Answered>,
}

/// One answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answered {
    /// The tenant.
    pub tenant: TenantName,
    /// The answer.
    pub answer: AnswerWord,
    /// Why it was refused, and what would help.
    pub reason: Option<String>,
}

/// The answer to a request, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, CustomType)]
#[serde(rename_all = "snake_case")]
#[zlink(rename_all = "snake_case")]
pub enum AnswerWord {
    /// It is being done.
    Accepted,
    /// It was so before.
    AlreadySo,
    /// It will not be done.
    Refused,
}

impl From<TenantAnswer> for Answered {
    fn from(TenantAnswer { tenant, answer }: TenantAnswer) -> Self {
        let (answer, reason) = match answer {
            Answer::Accepted => (AnswerWord::Accepted, None),
            Answer::AlreadySo => (AnswerWord::AlreadySo, None),
            Answer::Refused { reason } => (AnswerWord::Refused, Some(reason)),
        };
        Self {
            tenant,
            answer,
            reason,
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
        }
    }
}

/// A value of a type of another crate, on its way over the socket: it looks like the value itself.
/// The interface's description needs a type of this crate to say so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Described<T>(pub T);

impl Type for Described<TenantName> {
    const TYPE: &'static idl::Type<'static> = &idl::Type::String;
}

impl Type for Described<Changes> {
    const TYPE: &'static idl::Type<'static> = description::Changes::TYPE;
}

/// Where the manifest lies that a reload reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Type)]
pub struct ManifestPath {
    /// Absolute.
    pub path: String,
}

pub mod description {
    //! How the types of other crates, or those which hold one, look in the interface's description.
    //! They exist for that alone.
    #![allow(dead_code, missing_docs, reason = "only their descriptions are used")]

    use super::super::{LogPlace, Tracking};
    use super::{AnswerWord, CustomType, Program, StateWord, Type, Want};

    /// The answer to a request about one tenant.
    #[derive(CustomType)]
    pub struct Answered {
        tenant: String,
        answer: AnswerWord,
        reason: Option<String>,
    }

    /// The state of an application.
    #[derive(Type)]
    pub struct AppStatus {
        app: String,
        pid: u32,
        tracking: Tracking,
        logs: LogPlace,
        tenants: Vec<TenantStatus>,
    }

    /// The state of one tenant. What is absent is null.
    #[derive(CustomType)]
    pub struct TenantStatus {
        name: String,
        want: Want,
        permanent: Option<Want>,
        state: StateWord,
        pid: Option<u32>,
        address: std::net::IpAddr,
        addresses: Vec<std::net::IpAddr>,
        restarts: u32,
        since: String,
        ready: Option<bool>,
        program: Option<Program>,
        awaits: Vec<String>,
        until: Option<String>,
        why: Option<String>,
        failure: Option<Failure>,
        applying: bool,
        unapplied: Option<Failure>,
    }

    /// A field that is not what it was; null where there was none, or is none any more.
    #[derive(CustomType)]
    pub struct FieldChange {
        field: String,
        before: Option<String>,
        after: Option<String>,
    }

    /// What happens to a tenant (remove, reprovision, relaunch, live, add), the fields that cause it,
    /// the tenants that are released first, and what a live change touches (nothing, policy,
    /// processes).
    #[derive(CustomType)]
    pub struct TenantChange {
        tenant: String,
        change: String,
        fields: Vec<FieldChange>,
        after: Vec<String>,
        touches: Option<String>,
    }

    /// What is different: what cannot change while the supervisor runs (where there is any,
    /// nothing else is said), what happens to which tenant, how many stay as they are, and
    /// to which of those an earlier live change is applied again.
    #[derive(Type)]
    pub struct Changes {
        fixed: Vec<FieldChange>,
        tenants: Vec<TenantChange>,
        unchanged: u32,
        retried: Vec<String>,
    }

    /// A stage that failed, its object and its errno (0: the kernel gave none).
    #[derive(CustomType)]
    pub struct Failure {
        stage: String,
        object: String,
        errno: i32,
        detail: String,
    }
}

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

described!(TenantStatus, Answered);

impl Type for AppStatus {
    const TYPE: &'static idl::Type<'static> = description::AppStatus::TYPE;
}

/// What a client calls. Each method is described where it is served.
#[zlink::proxy("io.tenantd.Supervisor")]
pub trait Supervisor {
    /// The state of these tenants, or of all if none is named.
    async fn status(&mut self, tenants: &[TenantName])
    -> zlink::Result<Result<AppStatus, Refusal>>;
    /// Wants them up.
    async fn start(
        &mut self,
        tenants: &[TenantName],
        permanent: bool,
    ) -> zlink::Result<Result<Answers, Refusal>>;
    /// Wants them down.
    async fn stop(
        &mut self,
        tenants: &[TenantName],
        permanent: bool,
    ) -> zlink::Result<Result<Answers, Refusal>>;
    /// Ends their launches and starts others.
    async fn restart(&mut self, tenants: &[TenantName]) -> zlink::Result<Result<Answers, Refusal>>;
    /// Ends the supervisor, and lets the tenants go on.
    async fn detach(&mut self) -> zlink::Result<Result<(), Refusal>>;
    /// Reads the manifest again and does what is different.
    async fn reload(&mut self) -> zlink::Result<Result<Changes, Refusal>>;
    /// Reads the manifest again and says what is different.
    async fn diff(&mut self) -> zlink::Result<Result<Changes, Refusal>>;
    /// Where that manifest lies.
    async fn manifest(&mut self) -> zlink::Result<Result<ManifestPath, Refusal>>;
    /// Collects residue, or says what would be collected.
    async fn collect(&mut self, dry_run: bool) -> zlink::Result<Result<ResidueList, Refusal>>;
    /// Executes the program on disk.
    async fn upgrade(&mut self) -> zlink::Result<Result<Upgrading, Refusal>>;
    /// Which program answers, after an upgrade.
    async fn upgraded(&mut self) -> zlink::Result<Result<Upgraded, Refusal>>;
    /// What is needed to join a tenant.
    async fn enter(&mut self, tenant: &TenantName) -> zlink::Result<Result<ExecTarget, Refusal>>;
}
