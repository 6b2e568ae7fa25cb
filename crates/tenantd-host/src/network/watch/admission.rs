//! Changes of the addresses, traffic and rates of a tenant, as the watch follows them.

use std::net::IpAddr;
use std::time::Instant;

use super::{ADMIT_AGAIN, Part, Watch};
use crate::network::provision::Provisioner;
use tenantd_core::plan::address::Addresses;
use tenantd_core::plan::model::LinkPlan;
use tenantd_core::stage::Failure;

/// Why a tenant has not what its plan says.
pub(super) struct Unadmitted {
    pub(super) why: Failure,
    /// Whether it is tried again.
    again: bool,
}

impl Watch {
    /// A tenant is about to have the rates of this plan: the kernel tells of it before it is done.
    pub(in crate::network) fn planned(&mut self, link: &LinkPlan) {
        self.model.set_rate(link);
    }

    /// Watches those addresses of a tenant no longer that another plan does not have: they are about to be taken away.
    pub(in crate::network) fn narrow(&mut self, link: &LinkPlan) {
        let Some(part @ Part::Tenant(index)) = self.model.part(&link.mark) else {
            return;
        };
        let Some(old) = self.model.link(index).cloned() else {
            return;
        };
        let stays = |address: &IpAddr| link.addresses.iter().any(|other| other == *address);
        let addresses = Addresses::of(old.addresses.iter().filter(stays));
        if let Some(addresses) = addresses.filter(|addresses| *addresses != old.addresses) {
            let narrowed = LinkPlan { addresses, ..old };
            if self.model.add(narrowed, index) {
                self.suspect(part, Instant::now());
            }
        }
    }

    /// Notes whether the traffic of a tenant could be changed.
    pub(in crate::network) fn admitted(&mut self, link: &LinkPlan, why: Option<Failure>) {
        let now = Instant::now();
        let Some(part) = self.model.part(&link.mark) else {
            return;
        };
        // Addresses are changed in the tenant's namespace, which only the next change opens again.
        let again = self.has_addresses(part, link) && link.parent.is_none();
        self.model.replan(link);
        match why {
            Some(why) => {
                self.unadmitted.insert(part, Unadmitted { why, again });
                if again {
                    self.look_at_least(part, now + ADMIT_AGAIN);
                }
            }
            // What others wait for may be free now.
            None => {
                self.unadmitted.remove(&part);
                let others = self.unadmitted.keys().map(|other| (*other, now));
                self.due.extend(others);
                // Its addresses may be others now.
                if let Part::Tenant(index) = part
                    && self.model.add(link.clone(), index)
                {
                    self.suspect(part, now);
                }
            }
        }
        if self.unadmitted.contains_key(&part) || self.drifts.contains_key(&part) {
            let why = self.unadmitted.get(&part).map(|it| it.why.clone());
            self.set_drift(part, why);
        }
    }

    /// Has a part looked at then, or earlier.
    fn look_at_least(&mut self, part: Part, then: Instant) {
        let at = self.due.entry(part).or_insert(then);
        *at = then.min(*at);
    }

    /// Tries again to give a tenant the traffic of its plan.
    pub(super) async fn admit_again(&mut self, provisioner: &Provisioner, part: Part) {
        let Part::Tenant(index) = part else {
            return;
        };
        let Some(link) = self.model.link(index) else {
            return;
        };
        if !self.unadmitted.get(&part).is_some_and(|it| it.again) {
            return;
        }
        let admitted = match provisioner.is_admissible(link) {
            true => provisioner.admit(link, None).await,
            false => return self.look_at_least(part, Instant::now() + ADMIT_AGAIN),
        };
        match admitted {
            Ok(()) => drop(self.unadmitted.remove(&part)),
            Err(why) => {
                let again = true;
                self.unadmitted.insert(part, Unadmitted { why, again });
                self.look_at_least(part, Instant::now() + ADMIT_AGAIN);
            }
        }
    }

    /// Whether a tenant has the addresses of this plan already.
    fn has_addresses(&self, part: Part, link: &LinkPlan) -> bool {
        let Part::Tenant(index) = part else {
            return false;
        };
        let watched = self.model.link(index);
        watched.is_some_and(|it| it.addresses == link.addresses)
    }
}
