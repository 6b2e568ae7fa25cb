//! What an earlier supervisor has left in the tables: the elements of its tenants, and the guard on their host ends.
//!
//! The guard is put on those of these host ends that it is not on when the tables are taken over: while no supervisor ran,
//! another process can have taken it off. Where the kernel does not tell on which it is, it is put on all of them.
//! Afterwards a tenant whose elements are as planned needs no transaction.

use std::collections::BTreeSet;

use netlink_packet_netfilter::nftables::{NfTablesMessage, SetElementList, SetElementMessage};

use tenantd_core::plan::derive::{self, HOST_END};
use tenantd_core::plan::model::LinkPlan;
use tenantd_core::stage::Failure;

use super::super::link::index_of;
use super::elements::{self, Element};
use super::found::elements_in;
use super::guarding::Guarding;
use super::missing::unavailable;
use super::packed::Packed;
use super::rules::GUARD;
use super::sets::{Family, SETS};
use super::{Firewall, GUARD_CHAIN, wire};

/// The most devices of a chain in one message: the kernel refuses the one that makes them `NFT_NETDEVICE_MAX`, 256.
pub(super) const DEVICES_MAX: usize = 255;

impl Firewall {
    /// Reads which elements of which tenants an earlier supervisor has left.
    pub(super) fn read_tenants(&self) -> Result<(), Failure> {
        let mut tenants = self.tenants.borrow_mut();
        for set in SETS {
            let question = SetElementMessage {
                attributes: vec![
                    SetElementList::Table(self.table.clone()),
                    SetElementList::Set(set.name.to_owned()),
                ],
            };
            let question = NfTablesMessage::GetSetElement(question);
            let read = self.socket.dump(set.family, question, |answer| {
                let NfTablesMessage::NewSetElement(answer) = answer else {
                    return;
                };
                for (mark, element) in elements_in(set, answer) {
                    if mark != self.mark {
                        tenants.add(mark, &element);
                    }
                }
            });
            read.map_err(|refused| unavailable(&self.table, refused.errno))?;
        }
        Ok(())
    }

    /// Puts the guard on the host ends of the tenants that were left. One on which it cannot be put so gets it when its
    /// tenant is admitted.
    pub(super) fn guard_left(&self) {
        let are_many = self.tenants.borrow().len() > self.named_max;
        if self.guarding.get() != Guarding::ByName || (are_many && self.guard_by_prefix(HOST_END)) {
            return;
        }
        let devices = self.left_devices();
        self.guarded.borrow_mut().clone_from(&devices);
        let unnamed: Vec<String> = self.unnamed(devices).into_iter().collect();
        for some in unnamed.chunks(DEVICES_MAX) {
            let names: Vec<&str> = some.iter().map(String::as_str).collect();
            let change = wire::new_base_chain(&self.table, GUARD_CHAIN, &GUARD, &names);
            match self.socket.commit(&vec![(Family::Netdev, change)]) {
                Ok(()) => {}
                Err(refused) => {
                    self.guarded.borrow_mut().retain(|it| !some.contains(it));
                    tracing::debug!(
                        errno = refused.errno,
                        "cannot guard {} links at once: each is guarded when its tenant is admitted",
                        some.len()
                    );
                }
            }
        }
    }

    /// Whether an admission of a tenant that was left would change nothing.
    pub(in crate::network) fn has(&self, link: &LinkPlan, index: u32) -> bool {
        let tenants = self.tenants.borrow();
        let is_guarded = self.guarding.get() == Guarding::ByPrefix
            || self.guarded.borrow().contains(link.host.name.as_str());
        let present = tenants.get(&link.mark).map(Packed::elements);
        is_guarded && present == Some(elements::of(link, index))
    }

    /// The host ends of the tenants that were left, as far as they are the links for which the elements were made.
    fn left_devices(&self) -> BTreeSet<String> {
        let tenants = self.tenants.borrow();
        let ends = tenants.iter().filter_map(|(mark, elements)| {
            let (app, tenant) = derive::of_link_mark(mark)?;
            let end = derive::host_end(derive::tenant_hash(&app, &tenant));
            let index = index_of(end.name.as_str()).ok()?;
            let is_of_it = |element: &Element| element.arrives_by() == Some(index);
            let is_left = elements.elements().iter().any(is_of_it);
            is_left.then(|| end.name.as_str().to_owned())
        });
        ends.collect()
    }
}
