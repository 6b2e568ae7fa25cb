//! The error reply for each reason why a request has no answer.

use tenantd_api::wire::varlink::Refusal;

use crate::requests::queue::{Closed, NoAnswer, NoExecTarget, NoReload, Unknown};
use tenantd_core::name::TenantName;

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
            NoReload::OtherChanges { .. } => Refusal::NotReloaded {
                reason: no_reload.to_string(),
            },
            NoReload::Closed => Refusal::ShuttingDown,
        }
    }
}

impl From<NoAnswer> for Refusal {
    fn from(error: NoAnswer) -> Self {
        match error {
            NoAnswer::Closed(closed) => closed.into(),
            NoAnswer::ReadOnly { uid } => Refusal::ReadOnly { uid },
            NoAnswer::NoRight { right, tenant, .. } => Refusal::NoRight {
                right: right.word().to_owned(),
                tenant: tenant.map(|tenant| tenant.to_string()),
            },
        }
    }
}

impl From<Closed> for Refusal {
    fn from(Closed: Closed) -> Self {
        Refusal::ShuttingDown
    }
}

/// Why a tenant cannot be joined.
pub(super) fn not_joined(tenant: &TenantName, error: NoExecTarget) -> Refusal {
    let tenant = tenant.to_string();
    match error {
        NoExecTarget::Unknown(unknown) => unknown.into(),
        NoExecTarget::Down(state) => Refusal::TenantDown { tenant, state },
        NoExecTarget::Lost(reason) => Refusal::NoExecTarget { tenant, reason },
    }
}
