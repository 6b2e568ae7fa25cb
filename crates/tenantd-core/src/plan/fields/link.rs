//! The fields of a tenant's link.

use super::Key::{First, Later};
use super::field::{readdresses, renews};
use super::words::{Address, End};
use super::{LABEL_ADDRESS, See};
use crate::plan::model::LinkPlan;
use crate::plan::{names, rate, traffic};

/// Visits them.
pub(super) fn link(link: &LinkPlan, see: See<'_>) {
    let LinkPlan {
        addresses,
        prefix,
        parent,
        host,
        tenant,
        mark,
        sysctls,
        traffic,
        rate,
        names,
    } = link;
    let is_port = link.is_port();
    let first = Address(addresses.first(), *prefix);
    see(renews(First("address"), LABEL_ADDRESS, &first));
    for (at, address) in addresses.others().iter().enumerate() {
        let (at, address) = (at + 2, Address(*address, *prefix));
        see(readdresses(Later("address"), LABEL_ADDRESS, &address).item(&at));
    }
    if let Some(parent) = parent {
        let label = match is_port {
            true => "port of",
            false => "macvlan of",
        };
        see(renews(Later(label), label, parent));
    }
    let (host, tenant) = (End(host), End(tenant));
    see(renews(First("host end"), "host end", &host));
    see(renews(First("tenant end"), "tenant end", &tenant));
    see(renews(First("mark"), "mark", mark));
    for (one, value) in &**sysctls {
        see(renews(Later("sysctl"), "sysctl", value).item(&one.name()));
    }
    traffic::fields(traffic, see);
    rate::fields(rate, see);
    names::fields(names, see);
}
