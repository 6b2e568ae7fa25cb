//! What a subscription says: a snapshot of the tenants, then every event, and at last why it ended.
//!
//! The method is `Watch`, called with varlink's `more`. Its promise, tenant by tenant: the snapshot
//! holds each tenant once, as it was at one moment, and every event of the tenant after that moment
//! follows, once and in order. The snapshot may come in several replies, taken a few milliseconds
//! apart; all of them come before the first event. See `docs/decisions/0019-subscription.md`.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use zlink::idl;
use zlink::introspect::{CustomType, Type};

use super::{LogPlace, StateWord, TenantStatus, Tracking};
use tenantd_core::name::{AppName, TenantName};
use tenantd_core::supervisor::event::Exit;
use tenantd_core::supervisor::view::Why;
use tenantd_core::supervisor::{Cause, Find};

/// One reply to `Watch`. On the wire it is an object with exactly one of the fields `snapshot`,
/// `event` and `end`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Update {
    /// A part of the snapshot. The one with [`Snapshot::complete`] is the last.
    Snapshot(Snapshot),
    /// Something happened to a tenant.
    Event(Box<TenantEvent>),
    /// The subscription has ended; nothing follows.
    End(EndReason),
}

/// The tenants as they are, or a part of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The application.
    pub app: AppName,
    /// The supervisor's process.
    pub pid: u32,
    /// How the processes of a tenant are tracked and ended.
    pub tracking: Tracking,
    /// Where the tenants' output goes.
    pub logs: LogPlace,
    /// The tenants, in the order of the manifest.
    pub tenants: Vec<TenantStatus>,
    /// Whether this is the last part.
    pub complete: bool,
}

/// Something happened to a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TenantEvent {
    /// The tenant.
    pub tenant: TenantName,
    /// What kind of event it is.
    pub kind: EventKind,
    /// The state that it left; null where it was added.
    pub from: Option<StateWord>,
    /// The state that it entered. The same as `from`, where the event is no transition.
    pub state: StateWord,
    /// What brought it there, for a person; null where there is nothing to say.
    pub reason: Option<String>,
    /// How its program ended, where that is what happened.
    pub exit: Option<ProgramExit>,
    /// When it happened, in whole milliseconds (RFC 3339, UTC).
    pub time: Timestamp,
    /// The tenant after the event; null once it is removed. `program` is always null: the file on
    /// disk is not looked at for an event.
    pub status: Option<TenantStatus>,
}

/// What kind of event it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, CustomType)]
#[serde(rename_all = "kebab-case")]
#[zlink(rename_all = "lowercase")]
pub enum EventKind {
    /// A reload added the tenant.
    Added,
    /// The tenant went from one state to another.
    Transition,
    /// The tenant's program became ready.
    Ready,
    /// Something else of the tenant changed, such as what is wanted of it.
    Changed,
    /// The tenant is gone: a reload had removed it, and nothing of it is left but its datastore.
    Removed,
}

/// How a program ended. Both are null where that is not known, as it was not the supervisor's child.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, CustomType)]
pub struct ProgramExit {
    /// Its exit status, if it ended by itself.
    pub status: Option<i32>,
    /// The signal that killed it.
    pub signal: Option<i32>,
}

/// Why a subscription ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, CustomType)]
#[serde(rename_all = "snake_case")]
#[zlink(rename_all = "snake_case")]
pub enum EndReason {
    /// The supervisor ended, and its tenants with it.
    Ended,
    /// The supervisor detaches: its tenants go on without one.
    Detached,
    /// The supervisor is about to be upgraded: whoever connects now is served by the program that
    /// comes.
    Upgrading,
    /// Events came faster than they were read.
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
    /// How the program ended, where a transition has that as its cause.
    #[must_use]
    pub fn of(cause: &Cause) -> Option<Self> {
        match cause {
            Cause::Exited(exit)
            | Cause::GivenUp(Why::Exit(exit))
            | Cause::Found(Find::Died(exit)) => Some((*exit).into()),
            Cause::Planned
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
            | Cause::Ready
            | Cause::Applied
            | Cause::NotApplied(_)
            | Cause::Emptied
            | Cause::Released
            | Cause::Failed(_)
            | Cause::GivenUp(Why::Failure(_))
            | Cause::Due
            | Cause::GraceOver
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
    //! Types that exist for their description alone.
    #![allow(dead_code, reason = "only their descriptions are used")]

    use super::{
        CustomType, EndReason, EventKind, LogPlace, ProgramExit, StateWord, TenantStatus, Tracking,
        Type,
    };

    /// Exactly one of them is there.
    #[derive(Type)]
    pub(super) struct Update {
        snapshot: Option<super::Snapshot>,
        event: Option<super::TenantEvent>,
        end: Option<EndReason>,
    }

    /// The tenants as they are, or a part of them.
    #[derive(CustomType)]
    pub(super) struct Snapshot {
        app: String,
        pid: u32,
        tracking: Tracking,
        logs: LogPlace,
        tenants: Vec<TenantStatus>,
        complete: bool,
    }

    /// Something happened to a tenant.
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
