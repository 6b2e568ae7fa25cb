//! What the kernel has of the tables of an application, read by any process, and how it differs from the plan.

use std::collections::{BTreeMap, BTreeSet};

use netlink_packet_netfilter::nftables::{
    ChainAttribute, ChainMessage, Hook, HookNumber, NfTablesMessage, RuleAttribute, RuleMessage,
    SetElementList, SetElementMessage, TableAttribute, TableFlags, TableMessage,
};

use tenantd_core::plan::derive;
use tenantd_core::plan::model::{LinkPlan, NetworkPlan};

use super::content::{self, Content};
use super::devices::Devices;
use super::elements::{self, Element};
use super::found::all_elements_in;
use super::parts::{asked_chain, own_guard};
use super::rules::{ASKED, BASES, Base, CHAINS, Facts, GUARD, PREFIX_GUARD};
use super::sets::{Family, SETS};
use super::socket::{NftSocket, Refused};
use super::{GUARD_CHAIN, guard, lists};

/// A chain, by the family of its table and its name.
type Chain = (Family, String);

/// The rules of a chain.
type Rules = Vec<Content>;

/// The tables of an application, as the kernel has them.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    flags: BTreeMap<Family, TableFlags>,
    /// By mark; those without a mark have an empty one.
    elements: BTreeMap<String, BTreeSet<Element>>,
    chains: BTreeMap<Chain, Rules>,
    /// When the kernel calls each chain, and what happens at its end.
    bases: BTreeMap<String, String>,
    /// The devices of each chain that has some.
    devices: BTreeMap<String, Devices>,
}

/// The bytes of a device in a message about a chain, and those that are there for all devices: the largest message of a list
/// without the rest of it.
const DEVICE_LENGTH: usize = 24;
const CHAIN_LENGTH: usize = 30_000;

/// What is planned, and what is there instead.
pub(crate) type Difference = (String, String);

impl Tables {
    /// Reads the tables of an application. They are empty if there are none.
    ///
    /// # Errors
    /// The errno of the socket or the kernel.
    pub(crate) fn read(app: &str) -> Result<Self, i32> {
        let table = derive::nft_table(app);
        let socket = NftSocket::open().map_err(|error| error.raw_os_error().unwrap_or(0))?;
        let mut found = Self::default();
        for family in [Family::Netdev, Family::Inet] {
            found
                .read_family(&socket, family, &table)
                .or_else(absent)
                .map_err(|refused| refused.errno)?;
        }
        Ok(found)
    }

    fn read_family(
        &mut self,
        socket: &NftSocket,
        family: Family,
        table: &str,
    ) -> Result<(), Refused> {
        let question = TableMessage { attributes: vec![] };
        let question = NfTablesMessage::GetTable(question);
        socket.dump(family, question, |answer| {
            if let NfTablesMessage::NewTable(answer) = answer
                && answer
                    .attributes
                    .contains(&TableAttribute::Name(table.to_owned()))
            {
                let flags = answer.attributes.iter().find_map(|part| match part {
                    TableAttribute::Flags(flags) => Some(*flags),
                    _ => None,
                });
                self.flags
                    .insert(family, flags.unwrap_or(TableFlags::empty()));
            }
        })?;
        if !self.flags.contains_key(&family) {
            return Ok(());
        }
        self.read_chains(socket, family, table)?;
        self.read_rules(socket, family, table)?;
        for set in SETS.iter().filter(|set| set.family == family) {
            let attributes = vec![
                SetElementList::Table(table.to_owned()),
                SetElementList::Set(set.name.to_owned()),
            ];
            let question = NfTablesMessage::GetSetElement(SetElementMessage { attributes });
            let read = socket.dump(family, question, |answer| {
                if let NfTablesMessage::NewSetElement(answer) = answer {
                    for (mark, element) in all_elements_in(set, answer) {
                        let mark = mark.unwrap_or_default();
                        self.elements.entry(mark).or_default().insert(element);
                    }
                }
            });
            read.or_else(absent)?;
        }
        Ok(())
    }

    fn read_chains(
        &mut self,
        socket: &NftSocket,
        family: Family,
        table: &str,
    ) -> Result<(), Refused> {
        let question = NfTablesMessage::GetChain(ChainMessage { attributes: vec![] });
        socket.dump(family, question, |answer| {
            let NfTablesMessage::NewChain(ChainMessage { attributes }) = answer else {
                return;
            };
            if !attributes.contains(&ChainAttribute::Table(table.to_owned())) {
                return;
            }
            let (mut name, mut devices) = (String::new(), Devices::default());
            let mut base = FoundBase::default();
            for part in attributes {
                match part {
                    ChainAttribute::Name(found) => name = found,
                    ChainAttribute::Type(kind) => base.kind = kind,
                    ChainAttribute::Policy(policy) => base.accepts = policy == 1,
                    ChainAttribute::Hook(hook) => {
                        base.note(&hook);
                        hook.iter().for_each(|part| devices.note(part));
                    }
                    _ => {}
                }
            }
            self.devices.insert(name.clone(), devices);
            self.bases.insert(name.clone(), base.words());
            self.chains.entry((family, name)).or_default();
        })
    }

    fn read_rules(
        &mut self,
        socket: &NftSocket,
        family: Family,
        table: &str,
    ) -> Result<(), Refused> {
        let attributes = vec![RuleAttribute::Table(table.to_owned())];
        let question = NfTablesMessage::GetRule(RuleMessage { attributes });
        socket.dump(family, question, |answer| {
            let NfTablesMessage::NewRule(RuleMessage { attributes }) = answer else {
                return;
            };
            let (mut chain, mut expressions) = (String::new(), Vec::new());
            for part in attributes {
                match part {
                    RuleAttribute::Table(found) if found != table => return,
                    RuleAttribute::Chain(found) => chain = found,
                    RuleAttribute::Expressions(found) => expressions = content::of(&found),
                    _ => {}
                }
            }
            let rules = self.chains.entry((family, chain)).or_default();
            rules.push(expressions);
        })
    }

    /// How the tables, their owner, their chains and what belongs to no tenant differ from the plan.
    pub(crate) fn shared(&self, network: &NetworkPlan) -> Vec<Difference> {
        let table = derive::nft_table(network.app());
        let mut all = Vec::new();
        let mut missing = false;
        for (family, word) in [(Family::Netdev, "netdev"), (Family::Inet, "inet")] {
            let name = format!("table {word} {table}");
            match self.flags.get(&family) {
                None => all.push((name, "missing".to_owned())),
                Some(flags) if !flags.contains(TableFlags::Owner) && has_owners() => {
                    let found = "no owner: another process can change it";
                    all.push((format!("{name} owned by the supervisor"), found.to_owned()));
                }
                Some(_) => {}
            }
            missing |= !self.flags.contains_key(&family);
        }
        if missing {
            return all;
        }
        let planned = Facts::of(network).rules();
        let rules = |name: &str| {
            let rules = planned.iter().find(|(chain, _)| *chain == name);
            let rules = rules.map(|(_, rules)| rules.iter());
            content::of_rules(rules.into_iter().flatten())
        };
        let bases = BASES.iter().map(|base| base.name);
        for name in bases.chain(CHAINS) {
            let key = (Family::Inet, name.to_owned());
            all.extend(self.chain(&key, &rules(name)));
        }
        all.extend(BASES.iter().filter_map(|base| self.base(base.name, base)));
        if let Some(uplink) = &network.uplink {
            let name = asked_chain(&uplink.name);
            all.extend(self.base(&name, &ASKED));
            let rules = content::of_rules(&guard::asked());
            all.extend(self.chain(&(Family::Netdev, name), &rules));
        }
        if self.devices.contains_key(PREFIX_GUARD.name) {
            let rules = guard::of_group(network.group());
            all.extend(self.base(PREFIX_GUARD.name, &PREFIX_GUARD));
            let name = (Family::Netdev, PREFIX_GUARD.name.to_owned());
            all.extend(self.chain(&name, &content::of_rules(&rules)));
        }
        let own = self.elements.get(&network.mark);
        for gateway in network.gateways().map(elements::of_gateway) {
            if !own.is_some_and(|own| own.contains(&gateway)) {
                all.push((gateway.to_string(), "missing".to_owned()));
            }
        }
        let unmarked = self.elements.get("").into_iter().flatten();
        all.extend(unmarked.map(|element| ("none".to_owned(), element.to_string())));
        all
    }

    /// How the elements of a tenant, whose host end has this index, the chain of its list and the guard of its link
    /// differ from the plan.
    pub(crate) fn of_tenant(&self, link: &LinkPlan, index: u32) -> Vec<Difference> {
        let mut all = Vec::new();
        let planned = elements::of(link, index);
        let none = BTreeSet::new();
        let found = self.elements.get(&link.mark).unwrap_or(&none);
        for missing in planned.difference(found) {
            all.push((missing.to_string(), "missing".to_owned()));
        }
        for more in found.difference(&planned) {
            all.push(("none".to_owned(), more.to_string()));
        }
        if let Some(list) = elements::list_of(&link.traffic.egress) {
            let rules = lists::list(&link.traffic.egress);
            all.extend(self.chain(&(Family::Inet, list), &content::of_rules(&rules)));
        }
        let device = link.host.name.as_str();
        let guards = [GUARD_CHAIN.to_owned(), own_guard(device)];
        let is_on = |chain: &str| {
            let devices = self.devices.get(chain);
            devices.is_some_and(|devices| devices.cover(device))
        };
        let guard = guards.into_iter().find(|chain| is_on(chain));
        match guard {
            // What its rules are is told of all tenants together.
            None if is_on(PREFIX_GUARD.name) => {}
            None if self.has_unread_guard() => all.extend(self.guard(GUARD_CHAIN)),
            None => all.push((format!("guard on {device}"), "none".to_owned())),
            Some(guard) => {
                all.extend(self.base(&guard, &GUARD));
                all.extend(self.guard(&guard));
            }
        }
        all
    }

    /// How the rules of the guard differ.
    fn guard(&self, name: &str) -> Option<Difference> {
        let rules = content::of_rules(&guard::guard());
        self.chain(&(Family::Netdev, name.to_owned()), &rules)
    }

    /// Whether the kernel could not tell of the guard: it leaves a chain out that does not fit into one message with the
    /// names of all its devices.
    fn has_unread_guard(&self) -> bool {
        !self.devices.contains_key(GUARD_CHAIN)
            && self.elements.len() * DEVICE_LENGTH > CHAIN_LENGTH
    }

    /// The elements of a tenant.
    pub(super) fn take(&mut self) -> BTreeMap<String, BTreeSet<Element>> {
        std::mem::take(&mut self.elements)
    }

    /// How a chain that the kernel calls differs in when it is called, and in what happens at its end.
    fn base(&self, name: &str, planned: &Base) -> Option<Difference> {
        let planned = words(
            planned.kind,
            hook_number(planned.hook),
            planned.priority,
            planned.accepts,
        );
        let found = self.bases.get(name).filter(|found| **found != planned)?;
        Some((format!("chain {name} with {planned}"), found.clone()))
    }

    pub(super) fn chain(&self, chain: &Chain, planned: &Rules) -> Option<Difference> {
        let name = format!("chain {}", chain.1);
        match self.chains.get(chain) {
            None => Some((name, "missing".to_owned())),
            Some(found) if found != planned => Some((
                format!("{name} with {} rules", planned.len()),
                match found.len() {
                    count if count == planned.len() => {
                        let same = found
                            .iter()
                            .zip(planned)
                            .take_while(|(one, two)| one == two);
                        format!("another rule {}", same.count() + 1)
                    }
                    count => format!("{count} rules"),
                },
            )),
            Some(_) => None,
        }
    }
}

/// When the kernel calls a chain, and what happens at its end, as it tells.
#[derive(Debug, Default)]
struct FoundBase {
    kind: String,
    hook: u32,
    priority: i32,
    accepts: bool,
}

impl FoundBase {
    fn note(&mut self, hook: &[Hook]) {
        for part in hook {
            match part {
                Hook::Number(number) => self.hook = hook_number(*number),
                Hook::Priority(priority) => self.priority = priority.cast_signed(),
                _ => {}
            }
        }
    }

    fn words(&self) -> String {
        words(&self.kind, self.hook, self.priority, self.accepts)
    }
}

fn words(kind: &str, hook: u32, priority: i32, accepts: bool) -> String {
    let policy = if accepts { "accept" } else { "drop" };
    format!("type {kind}, hook {hook}, priority {priority} and policy {policy}")
}

fn hook_number(hook: HookNumber) -> u32 {
    u32::from(hook)
}

/// Whether this kernel has owners of tables that persist: Linux 6.9.
fn has_owners() -> bool {
    !super::restore::is_plain()
}

fn absent(refused: Refused) -> Result<(), Refused> {
    match refused.errno {
        libc::ENOENT | libc::EOPNOTSUPP => Ok(()),
        _ => Err(refused),
    }
}
