//! Whether the tables of the firewall are safe from other processes.

use tenantd_core::plan::model::{Firewall, Plan};

use super::{Finding, Grade};
use crate::network::is_plain;

/// Whether another process can remove the tables of the firewall. None if it cannot, or there is no firewall.
#[must_use]
pub fn tables(plan: &Plan) -> Option<Finding> {
    let found = "another process can remove its tables, for example by `nft flush ruleset`: the supervisor makes them \
                 again and ends the connections that began meanwhile, but not while it does not run; Linux 6.9 \
                 lets it own them";
    let is_open = plan.network.firewall == Firewall::On && is_plain();
    is_open.then(|| Finding::new(Grade::Weak, "firewall", found))
}
