//! What a subscription says about requests: who asked the supervisor for what, and what became of it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use zlink::idl;
use zlink::introspect::{CustomType, Type};

use tenantd_core::name::TenantName;

/// A request that changed something or was refused: what the audit log notes too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestEvent {
    /// What was asked, as the command that asks it.
    pub verb: String,
    /// The first of the tenants that it named. None: all of them, or none in particular.
    pub tenants: Vec<TenantName>,
    /// How many more it named.
    pub more_tenants: u64,
    /// What became of it.
    pub outcome: RequestOutcome,
    /// Why, unless it was carried out.
    pub detail: Option<String>,
    /// The process that asked.
    pub pid: i32,
    /// Its user when it connected.
    pub uid: u32,
    /// Its group when it connected.
    pub gid: u32,
    /// The name of its program, which it chooses itself.
    pub comm: Option<String>,
    /// The file of its program.
    pub exe: Option<String>,
    /// The tenant that it is inside of; null on the host.
    pub inside: Option<String>,
    /// How many refused requests before this one are in no event, because there were too many.
    pub missing_before: u64,
    /// When it was answered, in whole milliseconds (RFC 3339, UTC).
    pub time: Timestamp,
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, CustomType)]
#[serde(rename_all = "kebab-case")]
#[zlink(rename_all = "lowercase")]
pub enum RequestOutcome {
    /// It was carried out, or is being.
    Done,
    /// It was refused for some of its tenants, or could not be carried out.
    Failed,
    /// The peer may not do it.
    Refused,
    /// The peer disconnected before the answer.
    Unanswered,
}

impl RequestOutcome {
    /// Its word, as in JSON.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Refused => "refused",
            Self::Unanswered => "unanswered",
        }
    }
}

mod mirror {
    //! The description of the type above for the interface description. It has no other use.
    #![allow(dead_code, reason = "only its description is used")]

    use super::{CustomType, RequestOutcome};

    /// A request that changed something or was refused.
    #[derive(CustomType)]
    pub(super) struct RequestEvent {
        verb: String,
        tenants: Vec<String>,
        more_tenants: u64,
        outcome: RequestOutcome,
        detail: Option<String>,
        pid: i32,
        uid: u32,
        gid: u32,
        comm: Option<String>,
        exe: Option<String>,
        inside: Option<String>,
        missing_before: u64,
        time: String,
    }
}

impl CustomType for RequestEvent {
    const CUSTOM_TYPE: &'static idl::CustomType<'static> = mirror::RequestEvent::CUSTOM_TYPE;
}

impl Type for RequestEvent {
    const TYPE: &'static idl::Type<'static> = mirror::RequestEvent::TYPE;
}
