//! What elements and tables consist of.

use std::collections::BTreeSet;

use super::super::link::index_of;
use super::elements::Element;
use super::rules::{ASKED, Rule};
use super::sets::{Family, Set};
use super::socket::Transaction;
use super::{Firewall, guard, wire};
use tenantd_core::plan::model::UplinkPlan;
use tenantd_core::stage::Failure;

/// The changes that add rules to a chain for frames.
pub(super) fn chain_rules(table: &str, chain: &str, rules: Vec<Rule>) -> Transaction {
    let rules = rules.into_iter();
    rules
        .map(|rule| (Family::Netdev, wire::new_rule(table, chain, rule)))
        .collect()
}

/// The chain that guards one host end.
pub(super) fn own_guard(device: &str) -> String {
    format!("guard_{}", device.replace('-', "_"))
}

/// The chain for what others ask for on an uplink.
pub(super) fn asked_chain(uplink: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    format!("asked_{}", uplink.chars().map(plain).collect::<String>())
}

/// The changes that make that chain. None without the interface: it is made once it appears.
pub(super) fn asked_on(table: &str, uplink: Option<&UplinkPlan>) -> Transaction {
    let uplink = uplink.map(|uplink| uplink.name.as_str());
    let Some(uplink) = uplink.filter(|uplink| index_of(uplink).is_ok()) else {
        return Vec::new();
    };
    let chain = asked_chain(uplink);
    let made = wire::new_base_chain(table, &chain, &ASKED, &[uplink]);
    let mut all = vec![
        (Family::Netdev, made),
        (Family::Netdev, wire::flush_chain(table, &chain)),
    ];
    all.extend(chain_rules(table, &chain, guard::asked()));
    all
}

impl Firewall {
    /// Has the kernel answer at once for tenants on an uplink that has appeared.
    ///
    /// # Errors
    /// [`Stage::Firewall`](tenantd_core::stage::Stage::Firewall).
    pub(in crate::network) fn answer_at_once(&self, uplink: &UplinkPlan) -> Result<(), Failure> {
        let made = self.socket.commit(&asked_on(&self.table, Some(uplink)));
        made.map_err(|refused| self.refused(&uplink.name, &refused))
    }
}

/// The table that an element is in.
pub(super) fn family_of(element: &Element) -> Family {
    Set::named(element.set).map_or(Family::Inet, |set| set.family)
}

/// The list of rules that elements lead to.
pub(super) fn list_in(elements: &BTreeSet<Element>) -> Option<&str> {
    elements.iter().find_map(Element::list)
}
