//! The firewall of an application: two tables of nftables, `tenantd_APP`, made by netlink.
//!
//! The table of the family `netdev` drops the frames of a tenant that have another's MAC or IP address. The
//! one of the family `inet` refuses what the manifest does not allow. Their rules depend on nothing but the
//! application's network; a tenant is elements of their sets. Each change is one transaction.
//!
//! Where the kernel has the flags `owner` and `persist` of tables (Linux 6.9), no other process can change
//! the tables, also not by `nft flush ruleset`. If the supervisor ends without removing them, they stay, and
//! the next one takes them over: it gives them its rules in one transaction, and the elements stay. Each
//! table and each element bears its owner's mark as a comment.

mod conntrack;
mod content;
mod devices;
mod dismissal;
mod dumped;
mod elements;
pub(super) mod exposed;
mod expressions;
mod found;
mod guard;
mod guarding;
pub(super) mod inner;
mod left;
mod lists;
mod missing;
mod packed;
mod parts;
mod ports;
pub(super) mod residue;
mod restore;
mod rules;
mod sets;
mod socket;
mod tenants;
pub(super) use dismissal::Gone;
pub(crate) use restore::is_plain;
pub(crate) mod survey;
mod wire;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::thread::sleep;
use std::time::{Duration, Instant};

use netlink_packet_netfilter::nftables::{NfTablesMessage, TableFlags};

use tenantd_core::plan::derive;
use tenantd_core::plan::model::{LinkPlan, NetworkPlan};
use tenantd_core::plan::traffic::EgressRule;
use tenantd_core::stage::{Failure, Stage};

use conntrack::Conntrack;
use elements::Element;
use guarding::{Guarding, named_max};
use missing::{lacking, unavailable};
use packed::Packed;
use parts::{asked_on, family_of, list_in};
use ports::Ports;
use rules::{BASES, CHAINS, DENIED, Facts, SPOOFED};
use sets::{Family, SETS};
use socket::{NftSocket, Refused, Transaction};
use tenants::Tenants;
use wire::Change;

/// How long the tables of a process that has ended may still have an owner: the kernel ends it when it closes
/// the socket.
const OWNED_FOR: Duration = Duration::from_secs(2);

/// The chain that names the host ends that it guards.
const GUARD_CHAIN: &str = "guard";

/// The firewall of one application.
pub(super) struct Firewall {
    socket: NftSocket,
    table: String,
    mark: String,
    facts: Facts,
    conntrack: Conntrack,
    network: NetworkPlan,
    tenants: RefCell<Tenants>,
    /// The ports of the host that each tenant publishes.
    ports: RefCell<BTreeMap<String, Ports>>,
    /// The host ends on which the guard was put when the tables were taken over, until their tenants are admitted.
    guarded: RefCell<BTreeSet<String>>,
    /// How the host ends are guarded.
    guarding: Cell<Guarding>,
    /// The most tenants whose host ends one chain names.
    named_max: usize,
    /// Whether the kernel has not refused to guard by a prefix.
    takes_prefix: Cell<bool>,
}

impl Firewall {
    /// Makes the tables, or takes over those of an earlier supervisor.
    ///
    /// # Errors
    /// [`Stage::Firewall`], with what the kernel lacks, or who owns the tables.
    pub(super) fn open(network: &NetworkPlan) -> Result<Self, Failure> {
        let firewall = Self::connected(network)?;
        let made = firewall.make().and_then(|()| firewall.read_tenants());
        match made {
            Ok(()) => {
                firewall.guard_left();
                Ok(firewall)
            }
            Err(why) => {
                // Another socket: this one may have answers that were not read, and owns the tables.
                drop(firewall);
                Err(Self::undone(network, why))
            }
        }
    }

    fn connected(network: &NetworkPlan) -> Result<Self, Failure> {
        let table = derive::nft_table(network.app());
        let fail = |error: std::io::Error| unavailable(&table, error.raw_os_error().unwrap_or(0));
        let socket = NftSocket::open().map_err(fail)?;
        Ok(Self {
            socket,
            mark: network.mark.clone(),
            facts: Facts::of(network),
            conntrack: Conntrack::default(),
            network: network.clone(),
            tenants: RefCell::default(),
            ports: RefCell::default(),
            guarded: RefCell::default(),
            guarding: Cell::new(Guarding::ByName),
            named_max: named_max(),
            takes_prefix: Cell::new(true),
            table,
        })
    }

    /// Removes tables that have no tenants, after they could not be made as a whole. Returns why they could not, and
    /// what is left.
    fn undone(network: &NetworkPlan, why: Failure) -> Failure {
        let removed = Self::connected(network).and_then(|firewall| {
            firewall.read_tenants()?;
            match firewall.marks().is_empty() {
                true => firewall.remove(),
                false => Ok(()),
            }
        });
        match removed {
            Ok(()) => why,
            Err(left) => {
                let both = format!("{} (and {left})", why.detail);
                why.with(both)
            }
        }
    }

    /// Makes the tables with their rules, or gives existing ones today's rules.
    fn make(&self) -> Result<(), Failure> {
        let begun = Instant::now();
        let mut flags = restore::flags();
        let mut fresh = false;
        loop {
            self.note_guarding()?;
            let whole = self.whole(flags, fresh);
            let Err(refused) = self.socket.commit(&whole) else {
                return Ok(());
            };
            let at = refused.at.and_then(|at| whole.get(at));
            let is_chain = |(_, change): &(Family, Change)| {
                matches!(change.message, NfTablesMessage::NewChain(_))
            };
            match refused.errno {
                libc::EPERM if refused.at.is_none() => {
                    let failure = Failure::errno(Stage::Firewall, &self.table, libc::EPERM);
                    return Err(failure.with("CAP_NET_ADMIN is missing"));
                }
                // Before Linux 6.4, a chain cannot get further devices.
                libc::EOPNOTSUPP | libc::EINVAL | libc::ENOENT
                    if self.guarding.get() == Guarding::ByName && at.is_some_and(is_chain) =>
                {
                    self.guarding.set(Guarding::Apart);
                }
                // A kernel without these flags, or a table that was made without them.
                libc::EOPNOTSUPP | libc::EINVAL if !flags.is_empty() => flags = TableFlags::empty(),
                // Sets of another version.
                libc::EEXIST if !fresh => fresh = true,
                libc::EPERM if begun.elapsed() < OWNED_FOR => sleep(Duration::from_millis(1)),
                errno => {
                    let failure = unavailable(&self.table, errno);
                    let what = at.map(|(_, change)| lacking(&change.message));
                    return Err(match what.filter(|_| errno != libc::EPERM) {
                        Some(what) => failure.with(what),
                        None => failure,
                    });
                }
            }
        }
    }

    /// All changes that make the tables with their rules.
    fn whole(&self, flags: TableFlags, fresh: bool) -> Transaction {
        let table = self.table.as_str();
        let mut all: Transaction = Vec::new();
        for family in [Family::Netdev, Family::Inet] {
            all.push((family, wire::new_table(table, flags, &self.mark)));
            if fresh {
                all.push((family, wire::delete_table(table)));
                all.push((family, wire::new_table(table, flags, &self.mark)));
            }
        }
        all.push((Family::Netdev, wire::new_counter(table, SPOOFED)));
        all.push((Family::Inet, wire::new_counter(table, DENIED)));
        for (id, set) in (1..).zip(SETS) {
            all.push((set.family, wire::new_set(table, set, id)));
        }
        for chain in CHAINS {
            all.push((Family::Inet, wire::new_chain(table, chain)));
        }
        for base in &BASES {
            all.push((
                Family::Inet,
                wire::new_base_chain(table, base.name, base, &[]),
            ));
        }
        all.extend(self.guards());
        all.extend(asked_on(table, self.network.uplink.as_ref()));
        let chains = self.facts.rules();
        for (chain, _) in &chains {
            all.push((Family::Inet, wire::flush_chain(table, chain)));
        }
        for (chain, rules) in chains {
            for rule in rules {
                all.push((Family::Inet, wire::new_rule(table, chain, rule)));
            }
        }
        for gateway in self.network.gateways().map(elements::of_gateway) {
            all.push((Family::Inet, wire::add_element(table, &gateway, &self.mark)));
        }
        all
    }

    /// Lets a tenant's host end, which has this index, have the traffic of its plan, and no other. Does
    /// nothing if that is so already.
    ///
    /// # Errors
    /// [`Stage::Firewall`]. Nothing was changed then.
    pub(super) fn admit(&self, link: &LinkPlan, index: u32) -> Result<(), Failure> {
        self.guard_by_prefix_if_many(&link.mark);
        let wanted = elements::of(link, index);
        let mut ports = self.ports.borrow_mut();
        let added = match ports.get(&link.mark) {
            Some(held) => held.added(link)?,
            None => Ports::default().added(link)?,
        };
        let device = link.host.name.as_str();
        let tenants = self.tenants.borrow();
        let present = tenants.get(&link.mark).map(Packed::elements);
        let present = (link.mark.as_str(), &present.unwrap_or_default());
        let changed = self.difference(&tenants, present, &wanted, &link.traffic.egress);
        drop(tenants);
        // The index of the link is in the elements, so the guarded link is this one if they are the same.
        let is_guarded = self.guarded.borrow_mut().remove(device) && changed.is_empty();
        let mut all = match is_guarded {
            true => Vec::new(),
            false => self.on_device(device),
        };
        all.extend(changed);
        if !all.is_empty() {
            let committed = self.socket.commit(&all);
            committed.map_err(|refused| self.refused(&link.mark, &refused))?;
        }
        let mut tenants = self.tenants.borrow_mut();
        tenants.insert(link.mark.clone(), Packed::from(&wanted));
        if let Some(held) = ports.get_mut(&link.mark) {
            held.change(added, link);
        } else if !added.is_empty() {
            ports.insert(link.mark.clone(), added);
        }
        Ok(())
    }

    /// Whether the ports of the host that a plan publishes are this tenant's or no process's.
    pub(super) fn has_free_ports(&self, link: &LinkPlan) -> bool {
        let ports = self.ports.borrow();
        let held = ports.get(&link.mark);
        held.map_or_else(
            || Ports::default().are_free(link),
            |held| held.are_free(link),
        )
    }

    /// The changes from the elements that a tenant has to those that it is to have.
    fn difference(
        &self,
        tenants: &Tenants,
        (mark, present): (&str, &BTreeSet<Element>),
        wanted: &BTreeSet<Element>,
        egress: &[EgressRule],
    ) -> Transaction {
        let table = self.table.as_str();
        let mut all: Transaction = Vec::new();
        let (old, new) = (list_in(present), list_in(wanted));
        if let Some(list) = new.filter(|list| tenants.users(list) == 0) {
            all.push((Family::Inet, wire::new_chain(table, list)));
            all.push((Family::Inet, wire::flush_chain(table, list)));
            let rules = lists::list(egress).into_iter();
            all.extend(rules.map(|rule| (Family::Inet, wire::new_rule(table, list, rule))));
        }
        for gone in present.difference(wanted) {
            all.push((family_of(gone), wire::remove_element(table, gone)));
        }
        for added in wanted.difference(present) {
            all.push((family_of(added), wire::add_element(table, added, mark)));
        }
        if let Some(list) = old.filter(|list| new != Some(*list) && tenants.users(list) == 1) {
            all.push((Family::Inet, wire::delete_chain(table, list)));
        }
        all
    }

    /// The marks of the tenants that the tables have.
    pub(super) fn marks(&self) -> Vec<String> {
        let tenants = self.tenants.borrow();
        tenants.iter().map(|(mark, _)| mark.to_owned()).collect()
    }

    /// Removes the tables.
    ///
    /// # Errors
    /// [`Stage::Release`].
    pub(super) fn remove(&self) -> Result<(), Failure> {
        let all = [Family::Netdev, Family::Inet];
        let all = all.map(|family| (family, wire::delete_table(&self.table)));
        let removed = self.socket.commit(&all.into());
        removed.map_err(|refused| Failure::errno(Stage::Release, &self.table, refused.errno))
    }

    fn refused(&self, mark: &str, refused: &Refused) -> Failure {
        let failure = Failure::errno(Stage::Firewall, mark, refused.errno);
        match refused.errno {
            libc::ENOENT => failure.with(format!(
                "another process has removed the nftables table {} or a part of it: restart the supervisor \
                 with `tenantd upgrade`, which makes it again",
                self.table
            )),
            _ => failure,
        }
    }
}
