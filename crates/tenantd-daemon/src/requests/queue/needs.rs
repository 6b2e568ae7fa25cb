//! What a client needs to send each request.

use tenantd_api::wire::Verb;
use tenantd_core::name::TenantName;
use tenantd_core::rights::Right;

use super::Request;

/// What a client needs to send a request.
pub(super) enum Needs<'a> {
    /// Any right: it reveals nothing about a tenant that the client has not been told.
    Any,
    /// This right for these tenants.
    Right(Right, &'a mut Vec<TenantName>),
    /// To be root.
    Root,
}

/// The right that a verb needs.
pub(crate) fn right_to(verb: Verb) -> Right {
    match verb {
        Verb::Start => Right::Start,
        Verb::Stop => Right::Stop,
        Verb::Restart => Right::Restart,
    }
}

impl Request {
    /// Whether a client only asks how the supervisor and its tenants are.
    pub(crate) fn only_reads(&self) -> bool {
        matches!(
            self,
            Self::Names { .. }
                | Self::Part { .. }
                | Self::Watch { .. }
                | Self::Manifest { .. }
                | Self::Upgraded { .. }
        )
    }

    pub(super) fn needs(&mut self) -> Needs<'_> {
        match self {
            // The names in a part are those of an earlier answer.
            Request::Part { .. } | Request::Manifest { .. } | Request::Upgraded { .. } => {
                Needs::Any
            }
            Request::Names { tenants, .. } | Request::Watch { tenants, .. } => {
                Needs::Right(Right::Status, tenants)
            }
            Request::Act { verb, tenants, .. } => Needs::Right(right_to(*verb), tenants),
            Request::Signal { tenants, .. } => Needs::Right(Right::Kill, tenants),
            Request::Freeze(tenants, ..) => Needs::Right(Right::Pause, tenants),
            Request::Set(asked) => Needs::Right(Right::Set, &mut asked.tenants),
            Request::ReloadApp { tenants, .. } => Needs::Right(Right::ReloadApp, tenants),
            Request::Logs { tenants, .. } => Needs::Right(Right::Logs, tenants),
            Request::Exec(asked) => Needs::Right(Right::Exec, &mut asked.tenants),
            // The values of a diff and of an exec target contain environments, and the others concern
            // more than a tenant.
            Request::AllowTakeover(..)
            | Request::Repair { .. }
            | Request::Detach { .. }
            | Request::Reload { .. }
            | Request::Diff { .. }
            | Request::Planned { .. }
            | Request::Upgrade { .. }
            | Request::Offline(_)
            | Request::Enter { .. } => Needs::Root,
        }
    }
}
