//! The replies of a subscription: a snapshot of the tenants, then every event, finally the reason
//! why it ended.
//!
//! The method is `Watch`, called with varlink's `more`. The snapshot contains each tenant once, as
//! it was at one moment. Every event of that tenant after that moment follows exactly once and in
//! order. The snapshot may arrive in several replies, taken a few milliseconds apart; all of them
//! come before the first event. See `docs/decisions/0019-subscription.md`.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use zlink::idl;
use zlink::introspect::{CustomType, Type};

use super::asked::RequestEvent;
use super::{LogPlace, StateWord, TenantStatus, Tracking};
use tenantd_core::name::{AppName, TenantName};
use tenantd_core::supervisor::event::Exit;
use tenantd_core::supervisor::view::Why;
use tenantd_core::supervisor::{Cause, Find};

/// One reply to `Watch`: a JSON object with exactly one of the fields `snapshot`, `event`, `request`
/// and `end`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Update {
    /// A part of the snapshot. In the last part, [`Snapshot::complete`] is true.
    Snapshot(Snapshot),
    /// Something happened to a tenant.
    Event(Box<TenantEvent>),
    /// A request was answered that changed something or was refused. Only for a client that is root and
    /// has asked for requests.
    Request(Box<RequestEvent>),
    /// The subscription ends with this reply.
    End(EndReason),
}

/// The state of the watched tenants, or of a part of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The name of the application.
    pub app: AppName,
    /// The process ID of the supervisor.
    pub pid: u32,
    /// How the supervisor tracks and ends the processes of a tenant.
    pub tracking: Tracking,
    /// Where the tenants' output goes.
    pub logs: LogPlace,
    /// The tenants, in the order of the manifest.
    pub tenants: Vec<TenantStatus>,
    /// Whether this is the last part of the snapshot.
    pub complete: bool,
}

/// Something that happened to a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TenantEvent {
    /// The name of the tenant.
    pub tenant: TenantName,
    /// The kind of the event.
    pub kind: EventKind,
    /// The state before the event; null if the tenant was added.
    pub from: Option<StateWord>,
    /// The state after the event. The same as `from` unless the event is a transition.
    pub state: StateWord,
    /// The cause of the event as text for people; null if there is none.
    pub reason: Option<String>,
    /// How the program ended; null if the event has another cause.
    pub exit: Option<ProgramExit>,
    /// The time of the event, in whole milliseconds (RFC 3339, UTC).
    pub time: Timestamp,
    /// The tenant after the event; null if it was removed. Its `program` is always null, because an
    /// event does not look at the file on disk.
    pub status: Option<TenantStatus>,
}

/// The kind of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, CustomType)]
#[serde(rename_all = "kebab-case")]
#[zlink(rename_all = "lowercase")]
pub enum EventKind {
    /// A reload added the tenant.
    Added,
    /// The tenant entered another state.
    Transition,
    /// The tenant's program became ready.
    Ready,
    /// Something other than the state changed, such as the want.
    Changed,
    /// The tenant, which a reload removed from the plan, was released. Only its datastore is left.
    Removed,
}

/// How a program ended. Both fields are null if that is unknown, as for a program that was started
/// by an earlier supervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, CustomType)]
pub struct ProgramExit {
    /// The exit status, if the program exited.
    pub status: Option<i32>,
    /// The number of the signal, if a signal killed the program.
    pub signal: Option<i32>,
}

/// Why a subscription ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, CustomType)]
#[serde(rename_all = "snake_case")]
#[zlink(rename_all = "snake_case")]
pub enum EndReason {
    /// The supervisor exited after it stopped its tenants.
    Ended,
    /// The supervisor detached; the tenants keep running.
    Detached,
    /// The supervisor is being upgraded. The new program accepts the next connection.
    Upgrading,
    /// The subscriber read more slowly than events came.
    TooSlow,
}

impl EventKind {
    /// Its word, as in `--json`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Transition => "transition",
            Self::Ready => "ready",
            Self::Changed => "changed",
            Self::Removed => "removed",
        }
    }
}

impl ProgramExit {
    /// How the program ended, if the cause of a transition is the end of a program.
    #[must_use]
    pub fn of(cause: &Cause) -> Option<Self> {
        match cause {
            Cause::Exited(exit)
            | Cause::LeftOthers(exit)
            | Cause::NotRestarted(exit)
            | Cause::Finished(_, exit, _)
            | Cause::GivenUp(Why::Exit(exit))
            | Cause::Found(Find::Died(exit)) => Some((*exit).into()),
            Cause::Planned
            | Cause::Offline(_)
            | Cause::Found(Find::Lives | Find::AsItWas(_))
            | Cause::Replanned
            | Cause::Reloaded
            | Cause::Removed
            | Cause::Unblocked
            | Cause::Requested(_)
            | Cause::Shutdown
            | Cause::Hurry
            | Cause::Provisioned
            | Cause::Launched
            | Cause::Executed(_)
            | Cause::Skipped
            | Cause::Concluded
            | Cause::Ready
            | Cause::Applied
            | Cause::NotApplied(_)
            | Cause::Emptied
            | Cause::Released
            | Cause::Failed(_)
            | Cause::GivenUp(Why::Failure(_))
            | Cause::Due
            | Cause::GraceOver
            | Cause::Killed(_)
            | Cause::SaysStopping
            | Cause::StillRuns(_)
            | Cause::Extended
            | Cause::NoMoreTime(..)
            | Cause::Retry => None,
        }
    }
}

impl From<Exit> for ProgramExit {
    fn from(exit: Exit) -> Self {
        let (status, signal) = match exit {
            Exit::Status(status) => (Some(status), None),
            Exit::Signal(signal) => (None, Some(signal)),
            Exit::Unknown => (None, None),
        };
        Self { status, signal }
    }
}

mod mirror {
    //! Descriptions of the types above for the interface description. They have no other use.
    #![allow(dead_code, reason = "only their descriptions are used")]

    use super::{
        CustomType, EndReason, EventKind, LogPlace, ProgramExit, StateWord, TenantStatus, Tracking,
        Type,
    };

    /// Exactly one of the fields is present.
    #[derive(Type)]
    pub(super) struct Update {
        snapshot: Option<super::Snapshot>,
        event: Option<super::TenantEvent>,
        request: Option<super::RequestEvent>,
        end: Option<EndReason>,
    }

    /// The state of the watched tenants, or of a part of them.
    #[derive(CustomType)]
    pub(super) struct Snapshot {
        app: String,
        pid: u32,
        tracking: Tracking,
        logs: LogPlace,
        tenants: Vec<TenantStatus>,
        complete: bool,
    }

    /// Something that happened to a tenant.
    #[derive(CustomType)]
    pub(super) struct TenantEvent {
        tenant: String,
        kind: EventKind,
        from: Option<StateWord>,
        state: StateWord,
        reason: Option<String>,
        exit: Option<ProgramExit>,
        time: String,
        status: Option<TenantStatus>,
    }
}

impl CustomType for Snapshot {
    const CUSTOM_TYPE: &'static idl::CustomType<'static> = mirror::Snapshot::CUSTOM_TYPE;
}

impl Type for Snapshot {
    const TYPE: &'static idl::Type<'static> = mirror::Snapshot::TYPE;
}

impl Type for Update {
    const TYPE: &'static idl::Type<'static> = mirror::Update::TYPE;
}

impl CustomType for TenantEvent {
    const CUSTOM_TYPE: &'static idl::CustomType<'static> = mirror::TenantEvent::CUSTOM_TYPE;
}

impl Type for TenantEvent {
    const TYPE: &'static idl::Type<'static> = mirror::TenantEvent::TYPE;
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_update_is_an_object_with_one_field() {
        let end = Update::End(EndReason::TooSlow);
        assert_eq!(
            serde_json::to_value(&end).unwrap(),
            json!({"end": "too_slow"})
        );
        let event = TenantEvent {
            tenant: "acme".parse().unwrap(),
            kind: EventKind::Transition,
            from: Some(StateWord::Up),
            state: StateWord::Stopping,
            reason: ProgramExit::of(&Cause::Exited(Exit::Signal(9))).map(|_| "killed".into()),
            exit: ProgramExit::of(&Cause::Exited(Exit::Signal(9))),
            time: Timestamp::UNIX_EPOCH,
            status: None,
        };
        let update = Update::Event(Box::new(event));
        let value = serde_json::to_value(&update).unwrap();
        assert_eq!(
            value,
            json!({"event": {
                "tenant": "acme", "kind": "transition", "from": "up", "state": "stopping",
                "reason": "killed", "exit": {"status": null, "signal": 9},
                "time": "1970-01-01T00:00:00Z", "status": null,
            }})
        );
        assert_eq!(serde_json::from_value::<Update>(value).unwrap(), update);
    }
}
