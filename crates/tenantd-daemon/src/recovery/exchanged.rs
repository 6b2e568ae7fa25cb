//! Tenants that were provisioned for another network: the manifest was changed while no supervisor ran.

use tenantd_core::plan::effect::Effect;

use super::Findings;
use crate::state_file::record::Made;

/// Has all of them reprovisioned that have a network.
pub(super) fn reprovision(found: &mut Findings) {
    for (plan, survivor) in found {
        let Some(survivor) = survivor else {
            continue;
        };
        let provisioned = survivor.provisioned.as_ref();
        if provisioned.is_some_and(|provisioned| provisioned.has_netns) {
            survivor.found.outdated = Some(Effect::Reprovision);
            survivor.made.get_or_insert_with(|| Made::by(plan));
        }
    }
}
