//! What the state of a tenant is for Pacemaker.

use super::{Bad, Code, Done};
use tenantd_api::wire::{StateWord, TenantStatus, Want};

/// The exit code of `monitor`. A tenant that is being started again by the supervisor runs here: a crash is
/// Pacemaker's only when the supervisor has given up. A deep one wants it ready, see [`is_becoming_ready`].
pub(super) fn judge(tenant: &TenantStatus, is_deep: bool) -> Done {
    let bad = || {
        Err(Bad {
            code: Code::Failed,
            why: why(tenant),
        })
    };
    if tenant.offline.is_some() {
        // A command of an operator uses its data.
        return bad();
    }
    match (tenant.state, tenant.want) {
        (StateWord::Up, _) if is_deep && tenant.ready != Some(true) => bad(),
        (StateWord::Up | StateWord::Stopping | StateWord::Releasing, _)
        | (StateWord::Provisioning | StateWord::Launching | StateWord::Waiting, _) => {
            Ok(Code::Success)
        }
        (StateWord::Failed, Want::Up) | (StateWord::Stuck, _) => bad(),
        // Nothing of it is left: one that had failed is stopped.
        (StateWord::Failed, Want::Down) | (StateWord::Down | StateWord::Exited, _) => {
            Ok(Code::NotRunning)
        }
        // A state of a later version may mean that it runs.
        (StateWord::Unknown, _) => bad(),
    }
}

/// Whether the supervisor waits for its program to become ready, which it limits (`ready.within`).
pub(super) fn is_becoming_ready(tenant: &TenantStatus) -> bool {
    let is_wanted = tenant.want == Want::Up && tenant.offline.is_none();
    is_wanted && tenant.state == StateWord::Up && tenant.ready != Some(true)
}

/// Says in which state a tenant is, and why.
pub(super) fn why(tenant: &TenantStatus) -> String {
    let (name, state) = (&tenant.name, tenant.state.word());
    match &tenant.why {
        Some(why) => format!("{name}: {state}: {why}"),
        None => format!("{name}: {state}"),
    }
}
