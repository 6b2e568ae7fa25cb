//! The link of a tenant.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::members;
use crate::plan::address::Addresses;
use crate::plan::model::{EndPlan, LinkPlan};
use crate::plan::{names, rate, traffic};

/// One end.
pub(super) fn end(end: &EndPlan) -> Value {
    let EndPlan { name, mac } = end;
    json!({ "name": name, "mac": mac })
}

/// The addresses as in a manifest.
pub(super) fn ip(addresses: &Addresses) -> Value {
    match addresses.others() {
        [] => json!(addresses.first()),
        _ => addresses.iter().map(|address| json!(address)).collect(),
    }
}

/// The members of a tenant.
pub(super) fn link(link: &LinkPlan) -> Map<String, Value> {
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
    let sysctls: BTreeMap<&str, &String> =
        sysctls.iter().map(|(one, to)| (one.name(), to)).collect();
    let mut whole = members([
        ("ip", ip(addresses)),
        ("mac", json!(tenant.mac)),
        ("addresses", addresses.iter().map(|a| json!(a)).collect()),
        (
            "link",
            json!({
                "prefix": prefix,
                "parent": parent,
                "host": end(host),
                "tenant": end(tenant),
                "mark": mark,
            }),
        ),
        ("sysctls", json!(sysctls)),
    ]);
    traffic::data(traffic, &mut whole);
    rate::data(rate, &mut whole);
    names::data(names, &mut whole);
    whole
}
