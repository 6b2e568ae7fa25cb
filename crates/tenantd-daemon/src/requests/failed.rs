//! The last failure of a tenant, and its strikes, for `status`.

use tenantd_api::wire::LastFailure;
use tenantd_core::name::TenantName;

use crate::clock;
use crate::requests::answer::Tenants;

/// `None` if nothing has failed, as far as is known, and no strike counts.
pub(super) fn of(tenants: Tenants<'_>, tenant: &TenantName) -> Option<LastFailure> {
    let failure = tenants.seen.transitions.failure_of(tenant);
    let strikes = tenants.supervisor.strikes_of(tenant, clock::now());
    if failure.is_none() && strikes.is_none() {
        return None;
    }
    Some(LastFailure {
        time: failure.map(|it| it.time),
        reason: failure.map(|it| it.reason.clone()),
        strikes: strikes.map_or(0, |it| it.count),
        strikes_max: strikes.map_or(0, |it| it.most),
        until: strikes.map(|it| clock::date(it.until)),
    })
}
