//! What elements and tables consist of.

use std::collections::BTreeSet;

use super::elements::Element;
use super::sets::{Family, Set};
use super::socket::Transaction;
use super::{conntrack, guard, wire};

/// The rules of a chain that guards host ends.
pub(super) fn guard_rules(table: &str, chain: &str) -> Transaction {
    let rules = guard::guard().into_iter();
    rules
        .map(|rule| (Family::Netdev, wire::new_rule(table, chain, rule)))
        .collect()
}

/// The chain that guards one host end.
pub(super) fn own_guard(device: &str) -> String {
    format!("guard_{}", device.replace('-', "_"))
}

/// The table that an element is in.
pub(super) fn family_of(element: &Element) -> Family {
    Set::named(element.set).map_or(Family::Inet, |set| set.family)
}

/// The list of rules that elements lead to.
pub(super) fn list_in(elements: &BTreeSet<Element>) -> Option<&str> {
    elements.iter().find_map(Element::list)
}

/// Deletes the connections of a tenant's addresses. Without it they expire.
pub(super) fn forget(mark: &str, elements: &BTreeSet<Element>) {
    for address in elements.iter().filter_map(Element::own_address) {
        if let Err(error) = conntrack::forget(address) {
            tracing::debug!(%error, "{mark}: cannot delete the connections of {address}");
        }
    }
}
