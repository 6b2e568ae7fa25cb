//! Removes what the tables have of tenants whose links are gone: of all that are waiting, in two transactions. So the
//! kernel waits once for all of them until no packet is in what it removes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use tenantd_core::stage::Failure;

use super::elements::Element;
use super::guarding::Guarding;
use super::left::DEVICES_MAX;
use super::parts::{family_of, list_in, own_guard};
use super::rules::GUARD;
use super::sets::Family;
use super::socket::{Refused, Transaction};
use super::{Firewall, GUARD_CHAIN, wire};

/// A tenant whose link is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::network) struct Gone {
    /// The mark that its link had.
    pub(in crate::network) mark: String,
    /// The name of its host end.
    pub(in crate::network) device: String,
}

impl Firewall {
    /// Removes what the tables have of these tenants. Returns the outcome of each, in their order.
    ///
    /// # Errors
    /// Each is that of [`Stage::Release`](tenantd_core::stage::Stage::Release). Nothing of that tenant was changed then.
    pub(in crate::network) fn dismiss(&self, all: &[Gone]) -> Vec<Result<(), Failure>> {
        if all.is_empty() {
            return Vec::new();
        }
        match (self.dismiss_together(all), all) {
            (Ok(()), _) => all.iter().map(|_| Ok(())).collect(),
            (Err(refused), [one]) => vec![Err(self.refused(&one.mark, &refused))],
            // Another process has removed a part of one: the others are not to wait for it.
            (Err(_), _) => all.chunks(1).flat_map(|one| self.dismiss(one)).collect(),
        }
    }

    fn dismiss_together(&self, all: &[Gone]) -> Result<(), Refused> {
        for gone in all {
            self.ports.borrow_mut().remove(&gone.mark);
            self.guarded.borrow_mut().remove(&gone.device);
        }
        let elements = self.without_elements(all);
        if !elements.is_empty() {
            self.socket.commit(&elements)?;
        }
        let mut addresses: BTreeSet<IpAddr> = BTreeSet::new();
        for gone in all {
            let elements = self.tenants.borrow_mut().remove(&gone.mark);
            let elements = elements.map(|elements| elements.elements());
            let elements = elements.iter().flatten();
            addresses.extend(elements.filter_map(Element::own_address));
        }
        // Without it they expire.
        if !addresses.is_empty()
            && let Err(error) = self.conntrack.forget(&addresses)
        {
            tracing::debug!(%error, "cannot delete the connections of {addresses:?}");
        }
        self.unguard(all)
    }

    /// The changes that remove the elements of these tenants, and the lists that no other has.
    fn without_elements(&self, all: &[Gone]) -> Transaction {
        let tenants = self.tenants.borrow();
        let marks: BTreeSet<&str> = all.iter().map(|gone| gone.mark.as_str()).collect();
        let mut changes: Transaction = Vec::new();
        // Each with how many of these tenants have it.
        let mut lists: BTreeMap<String, usize> = BTreeMap::new();
        for elements in marks.iter().filter_map(|mark| tenants.get(mark)) {
            let elements = elements.elements();
            let removed = elements
                .iter()
                .map(|gone| (family_of(gone), wire::remove_element(&self.table, gone)));
            changes.extend(removed);
            if let Some(list) = list_in(&elements) {
                *lists.entry(list.to_owned()).or_default() += 1;
            }
        }
        let unused = lists
            .into_iter()
            .filter(|(list, count)| tenants.users(list) == *count);
        changes
            .extend(unused.map(|(list, _)| (Family::Inet, wire::delete_chain(&self.table, &list))));
        changes
    }

    /// Takes the host ends out of the chain that guards them.
    fn unguard(&self, all: &[Gone]) -> Result<(), Refused> {
        let table = self.table.as_str();
        let devices: Vec<&str> = all.iter().map(|gone| gone.device.as_str()).collect();
        let changes: Transaction = match self.guarding.get() {
            // It is on none that is gone.
            Guarding::ByPrefix => return Ok(()),
            Guarding::ByName => devices
                .chunks(DEVICES_MAX)
                .map(|some| wire::delete_devices(table, GUARD_CHAIN, &GUARD, some))
                .map(|change| (Family::Netdev, change))
                .collect(),
            Guarding::Apart => devices
                .iter()
                .map(|device| wire::delete_chain(table, &own_guard(device)))
                .map(|change| (Family::Netdev, change))
                .collect(),
        };
        match self.socket.commit(&changes) {
            // Before Linux 6.16, a device leaves its chain when it ends.
            Err(refused) if refused.errno == libc::ENOENT && all.len() > 1 => {
                all.chunks(1).try_for_each(|one| self.unguard(one))
            }
            Err(refused) if refused.errno == libc::ENOENT => Ok(()),
            outcome => outcome,
        }
    }
}

#[cfg(test)]
mod as_root {
    use std::io::Write;
    use std::net::Ipv4Addr;
    use std::process::{Command, Stdio};
    use std::sync::Arc;
    use std::thread;

    use nix::sched::{CloneFlags, unshare};

    use super::super::super::link::index_of;
    use super::super::devices;
    use super::super::rules::PREFIX_GUARD;
    use super::*;
    use tenantd_core::plan::derive;
    use tenantd_core::plan::model::{self, EndPlan, LinkPlan, MacAddr, Mode, NetworkPlan};
    use tenantd_core::plan::names::NamesPlan;

    fn network() -> NetworkPlan {
        NetworkPlan {
            mode: Mode::Routed,
            parent: None,
            subnet: "10.77.0.0/24".parse().unwrap(),
            gateway: [10, 77, 0, 1].into(),
            ipv6: None,
            uplink: None,
            hub: EndPlan {
                name: "td-wiki".parse().unwrap(),
                mac: MacAddr([2, 0, 0, 0, 0, 1]),
            },
            mark: "tenantd:wiki".into(),
            mtu: 1400,
            mtu_given: true,
            firewall: model::Firewall::On,
        }
    }

    fn link(network: &NetworkPlan, n: u8) -> LinkPlan {
        let end = |name: String, kind| EndPlan {
            name: name.parse().unwrap(),
            mac: MacAddr([2, 0, 0, kind, 0, n]),
        };
        LinkPlan {
            addresses: Ipv4Addr::from([10, 77, 0, n]).into(),
            prefix: 32,
            parent: None,
            host: end(format!("vt-{n}"), 1),
            tenant: end("eth0".to_owned(), 2),
            mark: format!("tenantd:wiki/t{n}"),
            sysctls: Arc::default(),
            traffic: Arc::default(),
            rate: Default::default(),
            names: NamesPlan::usual(network.gateway, network.subnet, true).into(),
        }
    }

    fn ip(words: &str) {
        let done = Command::new("ip").args(words.split(' ')).status().unwrap();
        assert!(done.success(), "ip {words}");
    }

    /// More than fit into one message.
    fn many() {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        let network = network();
        let firewall = Firewall::open(&network).unwrap();
        let named = |n: usize| {
            let mut link = link(&network, u8::try_from(2 + n % 250).unwrap());
            link.mark = format!("tenantd:wiki/t{n}");
            let (app, tenant) = derive::of_link_mark(&link.mark).unwrap();
            link.host = derive::host_end(derive::tenant_hash(&app, &tenant));
            link.addresses = Ipv4Addr::from_bits(0x0a4d_0002 + u32::try_from(n).unwrap()).into();
            link
        };
        let links: Vec<LinkPlan> = (0..=DEVICES_MAX).map(named).collect();
        let add = |link: &LinkPlan| format!("link add {} type bridge\n", link.host.name);
        batch(&links.iter().map(add).collect::<String>());
        for link in &links {
            let index = index_of(link.host.name.as_str()).unwrap();
            firewall.admit(link, index).unwrap();
        }
        drop(firewall);
        let firewall = Firewall::open(&network).unwrap();
        let is_left = |link: &LinkPlan| {
            let index = index_of(link.host.name.as_str()).unwrap();
            firewall.has(link, index)
        };
        let left = links.iter().filter(|link| is_left(link)).count();
        assert_eq!(
            left,
            links.len(),
            "all are guarded when the tables are taken over"
        );
        let gone = links.iter().map(|link| Gone {
            mark: link.mark.clone(),
            device: link.host.name.as_str().to_owned(),
        });
        firewall.unguard(&gone.collect::<Vec<_>>()).unwrap();
    }

    #[test]
    fn more_than_the_kernel_takes_in_a_message_are_guarded_and_unguarded_at_once() {
        thread::spawn(many).join().unwrap();
    }

    /// Carries out lines of ip(8).
    fn batch(lines: &str) {
        let mut ip = Command::new("ip");
        let mut ip = ip
            .args(["-batch", "-"])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        ip.stdin
            .take()
            .unwrap()
            .write_all(lines.as_bytes())
            .unwrap();
        assert!(ip.wait().unwrap().success());
    }

    fn dismissed() {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        let network = network();
        let firewall = Firewall::open(&network).unwrap();
        let links = [2, 3, 4].map(|n| link(&network, n));
        for link in &links {
            let device = link.host.name.as_str();
            ip(&format!("link add {device} type bridge"));
            firewall.admit(link, index_of(device).unwrap()).unwrap();
        }
        let [first, ..] = &links;
        let taken = firewall
            .tenants
            .borrow()
            .get(&first.mark)
            .unwrap()
            .elements()
            .pop_first()
            .unwrap();
        let family = family_of(&taken);
        let taken = wire::remove_element(&firewall.table, &taken);
        firewall.socket.commit(&vec![(family, taken)]).unwrap();
        let gone = links.each_ref().map(|link| Gone {
            mark: link.mark.clone(),
            device: link.host.name.as_str().to_owned(),
        });
        for one in &gone {
            ip(&format!("link delete {}", one.device));
        }
        let outcomes = firewall.dismiss(&gone);
        assert!(outcomes[0].is_err() && outcomes[1..].iter().all(Result::is_ok));
        assert_eq!(firewall.marks(), std::slice::from_ref(&first.mark));
        assert!(firewall.dismiss(&[]).is_empty());
    }

    /// Another process has removed a part of one tenant, as it can where tables have no owner.
    #[test]
    fn one_that_cannot_be_dismissed_keeps_no_other() {
        thread::spawn(dismissed).join().unwrap();
    }

    fn devices_of(firewall: &Firewall, chain: &str) -> Option<devices::Devices> {
        let mut chains = devices::read(&firewall.socket, &firewall.table).unwrap();
        chains.remove(chain)
    }

    /// No kernel takes a prefix that is longer than a name, as one before Linux 6.17 takes none.
    fn refused() {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        let network = network();
        let firewall = Firewall::open(&network).unwrap();
        let [first, second] = [2, 3].map(|n| link(&network, n));
        for link in [&first, &second] {
            let device = link.host.name.as_str();
            ip(&format!("link add {device} type bridge"));
            assert!(!firewall.guard_by_prefix("td-longer-than-a-name"));
            firewall.admit(link, index_of(device).unwrap()).unwrap();
            let guard = devices_of(&firewall, GUARD_CHAIN).unwrap();
            assert!(guard.cover(device), "it is named");
        }
        assert!(devices_of(&firewall, PREFIX_GUARD.name).is_none());
        assert!(
            !firewall.guard_by_prefix(derive::HOST_END),
            "it is not asked again"
        );
        let gone = [first, second].map(|link| Gone {
            device: link.host.name.as_str().to_owned(),
            mark: link.mark,
        });
        assert!(firewall.dismiss(&gone).into_iter().all(|done| done.is_ok()));
        firewall.remove().unwrap();
    }

    #[test]
    fn a_kernel_without_prefixes_names_each_link() {
        thread::spawn(refused).join().unwrap();
    }

    fn at_the_limit() {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        let network = network();
        let mut firewall = Firewall::open(&network).unwrap();
        firewall.named_max = 2;
        for n in 2..=4 {
            let link = link(&network, n);
            let device = link.host.name.as_str();
            ip(&format!("link add {device} type bridge"));
            firewall.admit(&link, index_of(device).unwrap()).unwrap();
            // Once more changes nothing.
            firewall.admit(&link, index_of(device).unwrap()).unwrap();
            let is_by_prefix = firewall.guarding.get() == Guarding::ByPrefix;
            assert_eq!(is_by_prefix, n == 4, "{n}");
            assert_eq!(devices_of(&firewall, GUARD_CHAIN).is_none(), n == 4);
            let all = devices_of(&firewall, PREFIX_GUARD.name);
            assert_eq!(all.is_some_and(|all| all.cover("td0123456789ab")), n == 4);
        }
    }

    #[test]
    fn more_links_than_one_chain_names_are_guarded_by_a_prefix() {
        thread::spawn(at_the_limit).join().unwrap();
    }
}
