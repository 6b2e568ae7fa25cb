//! Whether others reach tenants by the uplink.

use super::{Finding, Grade};
use crate::uplink::lacking;
use tenantd_core::plan::model::Plan;

/// Checks the settings of the uplink. `None` if they are as they must be, or tenantd sets them.
#[must_use]
pub fn uplink(plan: &Plan) -> Option<Finding> {
    let uplink = plan.network.uplink.as_ref().filter(|it| !it.set)?;
    let addresses = || {
        let tenants = plan.tenants.iter();
        tenants.flat_map(|tenant| tenant.link.traffic.by_uplink.iter())
    };
    let has = |four: bool| addresses().any(|it| it.is_ipv4() == four);
    let settings = lacking(&uplink.name, has(true), has(false));
    if settings.is_empty() {
        return None;
    }
    let has_dot = uplink.name.contains('.');
    let each = settings.iter().map(|it| {
        // A dot in the name of the interface is none between the parts of the setting.
        let path = if has_dot {
            it.path.clone()
        } else {
            it.path.replace('/', ".")
        };
        format!("{path}={}", it.value)
    });
    let line = format!("sysctl -w {}", each.collect::<Vec<_>>().join(" "));
    let found = format!(
        "others do not reach {} address{} of tenants by {}: the host does not forward there, or does not answer for \
         others; or let tenantd do it: `set_uplink = true` in [network]",
        addresses().count(),
        if addresses().count() == 1 { "" } else { "es" },
        uplink.name
    );
    Some(Finding::new(Grade::Weak, "uplink", found).fix(line))
}
