//! Puts back what was taken from the tables: by `nft flush ruleset` where the kernel has no owners, or by another
//! process while no supervisor ran.

use std::collections::BTreeSet;

use netlink_packet_netfilter::nftables::TableFlags;

use tenantd_core::plan::model::LinkPlan;
use tenantd_core::stage::Failure;

use super::elements::list_of;
use super::missing::unavailable;
use super::packed::Packed;
use super::parts::family_of;
use super::sets::Family;
use super::socket::Transaction;
use super::survey::Tables;
use super::{Firewall, lists, wire};
use crate::release;

/// The variable that has tables made as before Linux 6.9, in builds with debug assertions.
const PLAIN: &str = "TENANTD_PLAIN_TABLES";

/// The first release with tables that persist without their owner.
const OWNED_SINCE: (u32, u32) = (6, 9);

/// Whether the tables have no owner, so that any process can change them.
pub(crate) fn is_plain() -> bool {
    let chosen = cfg!(debug_assertions) && std::env::var_os(PLAIN).is_some();
    chosen || release::numbers().is_some_and(|release| release < OWNED_SINCE)
}

/// The flags of the tables that are tried first.
pub(super) fn flags() -> TableFlags {
    match is_plain() {
        true => TableFlags::empty(),
        false => TableFlags::Owner | TableFlags::Persisent,
    }
}

impl Firewall {
    /// Whether the tables are as they were made. Reads all of them.
    ///
    /// # Errors
    /// [`Stage::Firewall`](tenantd_core::stage::Stage::Firewall).
    pub(in crate::network) fn is_whole(
        &self,
        tenants: &[(LinkPlan, u32)],
    ) -> Result<bool, Failure> {
        let found = self.survey()?;
        let mut all = tenants.iter();
        Ok(found.shared(&self.network).is_empty()
            && all.all(|(link, index)| found.of_tenant(link, *index).is_empty()))
    }

    fn survey(&self) -> Result<Tables, Failure> {
        let found = Tables::read(self.network.app());
        found.map_err(|errno| unavailable(&self.table, errno))
    }

    /// Makes the tables, their rules and the elements of these tenants as they are to be, whatever is there.
    ///
    /// # Errors
    /// [`Stage::Firewall`](tenantd_core::stage::Stage::Firewall).
    pub(in crate::network) fn restore(&self, tenants: &[(LinkPlan, u32)]) -> Result<(), Failure> {
        self.make()?;
        self.guarded.borrow_mut().clear();
        let mut found = self.survey()?.take();
        found.remove(&self.mark);
        let foreign = found.remove("").unwrap_or_default();
        let foreign: Transaction = foreign
            .iter()
            .map(|element| {
                (
                    family_of(element),
                    wire::remove_element(&self.table, element),
                )
            })
            .collect();
        if !foreign.is_empty() {
            let removed = self.socket.commit(&foreign);
            removed.map_err(|refused| self.refused(&self.mark, &refused))?;
        }
        let found = found.iter();
        let found = found.map(|(mark, elements)| (mark.clone(), Packed::from(elements)));
        *self.tenants.borrow_mut() = found.collect();
        let mut seen = BTreeSet::new();
        for (link, index) in tenants {
            self.admit(link, *index)?;
            if let Some(list) =
                list_of(&link.traffic.egress).filter(|list| seen.insert(list.clone()))
            {
                self.list_again(link, &list)?;
            }
        }
        Ok(())
    }

    /// Gives a chain of a list its rules again.
    fn list_again(&self, link: &LinkPlan, list: &str) -> Result<(), Failure> {
        let table = self.table.as_str();
        let mut all: Transaction = vec![(Family::Inet, wire::flush_chain(table, list))];
        let rules = lists::list(&link.traffic.egress).into_iter();
        all.extend(rules.map(|rule| (Family::Inet, wire::new_rule(table, list, rule))));
        let set = self.socket.commit(&all);
        set.map_err(|refused| self.refused(&link.mark, &refused))
    }

    /// Ends the connections of these tenants: one that began while the tables were gone would stay open. What is
    /// allowed continues: the kernel takes up its next packet as a new connection.
    pub(in crate::network) fn cut(&self, tenants: &[(LinkPlan, u32)]) {
        let links = tenants.iter().map(|(link, _)| link);
        let addresses = links.flat_map(|link| link.addresses.iter()).collect();
        if let Err(error) = self.conntrack.forget_all(&addresses) {
            tracing::warn!(%error, "cannot end the connections that began without the firewall");
        }
    }

    /// The name of its tables, and the port of the socket that makes them.
    pub(in crate::network) fn identity(&self) -> (&str, u32) {
        (&self.table, self.socket.port())
    }
}
