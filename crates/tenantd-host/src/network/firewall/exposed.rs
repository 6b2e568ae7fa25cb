//! Ports of a tenant's loopback addresses that are reached by its own addresses: a table in the tenant's network
//! namespace translates them.
//!
//! The program cannot change the table: the namespace belongs to the host's user namespace, and no tenant has
//! `CAP_NET_ADMIN` unless its manifest gives it. What arrives for other loopback addresses, or from one, is dropped.
//! Without exposed ports there is no table; if the last one is taken away while the tenant runs, the table stays
//! without ports, so that established connections continue.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netlink_packet_netfilter::nftables::{
    InetHookNumber, NfTablesMessage, RuleAttribute, RuleMessage, TableAttribute, TableFlags,
    TableMessage,
};

use tenantd_core::plan::model::LinkPlan;
use tenantd_core::plan::traffic::Exposed;
use tenantd_core::stage::Failure;

use super::content::{self, Content};
use super::elements::number;
use super::expressions::{
    Compare, DESTINATION4, DESTINATION6, ETHERNET, IIFTYPE, L4PROTO, OIFTYPE, PORT, SOURCE4,
};
use super::missing::{lacking, unavailable};
use super::rules::{Base, Rule, base, rule};
use super::sets::Family;
use super::socket::{NftSocket, Refused, Transaction};
use super::wire;

/// The name of the table. A tenant's namespace has one application.
const TABLE: &str = "tenantd";

/// The chain with the translations.
const TRANSLATE: &str = "to_loopback";

/// The chains that the kernel calls.
const BASES: [Base; 4] = [
    base("early", "filter", InetHookNumber::PreRouting, -300),
    base("arriving", "nat", InetHookNumber::PreRouting, -100),
    base("own", "nat", InetHookNumber::LocalOut, -100),
    base("leaving", "filter", InetHookNumber::LocalOut, 0),
];

/// All loopback addresses of IPv4: mask and network.
const LOOPBACK: (&[u8], &[u8]) = (&[255, 0, 0, 0], &[127, 0, 0, 0]);

/// The rules of each chain.
fn rules(link: &LinkPlan) -> Vec<(&'static str, Vec<Rule>)> {
    let (mask, network) = LOOPBACK;
    let by_link = || rule().is(IIFTYPE, &ETHERNET.to_ne_bytes()).ipv4();
    let foreign = |field| by_link().bits(field, mask, Compare::Equal, network).drop();
    // An answer is translated after this. Without `route_localnet` the kernel refuses all else at once.
    let left = || {
        let by_link = rule().is(OIFTYPE, &ETHERNET.to_ne_bytes()).ipv4();
        by_link.bits(SOURCE4, mask, Compare::Equal, network)
    };
    let exposed = &link.traffic.exposed;
    let addresses = || link.addresses.iter();
    let translated = exposed
        .iter()
        .flat_map(|exposed| addresses().map(|address| translate(*exposed, address)));
    vec![
        ("early", vec![foreign(DESTINATION4), foreign(SOURCE4)]),
        ("arriving", vec![rule().goto(TRANSLATE)]),
        ("own", vec![rule().goto(TRANSLATE)]),
        (
            "leaving",
            vec![left().translated().accept(), left().prohibited()],
        ),
        (TRANSLATE, translated.collect()),
    ]
}

fn translate(exposed: Exposed, address: IpAddr) -> Rule {
    let Exposed { port, protocol } = exposed;
    let rule = match address {
        IpAddr::V4(address) => rule().ipv4().is(DESTINATION4, &address.octets()),
        IpAddr::V6(address) => rule().ipv6().is(DESTINATION6, &address.octets()),
    };
    let rule = rule
        .is(L4PROTO, &[number(protocol)])
        .is(PORT, &port.to_be_bytes());
    match address {
        IpAddr::V4(_) => rule.destination_to(&Ipv4Addr::LOCALHOST.octets()),
        IpAddr::V6(_) => rule.destination_to(&Ipv6Addr::LOCALHOST.octets()),
    }
}

/// All changes that make the table, whatever is there of it.
fn whole(link: &LinkPlan) -> Transaction {
    let flags = TableFlags::empty();
    let mut all = vec![
        wire::new_table(TABLE, flags, &link.mark),
        wire::new_chain(TABLE, TRANSLATE),
    ];
    all.extend(
        BASES
            .iter()
            .map(|base| wire::new_base_chain(TABLE, base.name, base, &[])),
    );
    for (chain, rules) in rules(link) {
        all.push(wire::flush_chain(TABLE, chain));
        let rules = rules.into_iter();
        all.extend(rules.map(|rule| wire::new_rule(TABLE, chain, rule)));
    }
    all.into_iter()
        .map(|change| (Family::Inet, change))
        .collect()
}

/// Makes the table of a tenant as planned, in the network namespace of the calling thread, which is the tenant's.
///
/// # Errors
/// [`Stage::Firewall`](tenantd_core::stage::Stage::Firewall), with what the kernel lacks.
pub(in crate::network) fn translate_all(link: &LinkPlan) -> Result<(), Failure> {
    let object = format!("{TABLE} (in the tenant)");
    let none = link.traffic.exposed.is_empty();
    let socket = match NftSocket::open() {
        Ok(socket) => socket,
        // A kernel without nf_tables has no table to take ports from.
        Err(_) if none => return Ok(()),
        Err(error) => {
            return Err(unavailable(
                &object,
                error.raw_os_error().unwrap_or(libc::EIO),
            ));
        }
    };
    let exists = || is_there(&socket).map_err(|refused| unavailable(&object, refused.errno));
    if none && !exists()? {
        return Ok(());
    }
    let whole = whole(link);
    socket.commit(&whole).map_err(|refused| {
        let failure = unavailable(&object, refused.errno);
        let at = refused.at.and_then(|at| whole.get(at));
        match at.filter(|_| refused.errno != libc::EPERM) {
            Some((_, change)) => failure.with(lacking(&change.message)),
            None => failure,
        }
    })
}

/// Whether the namespace of the calling thread has the table.
fn is_there(socket: &NftSocket) -> Result<bool, Refused> {
    let question = NfTablesMessage::GetTable(TableMessage { attributes: vec![] });
    let mut found = false;
    let read = socket.dump(Family::Inet, question, |answer| {
        if let NfTablesMessage::NewTable(answer) = answer {
            let name = TableAttribute::Name(TABLE.to_owned());
            found |= answer.attributes.contains(&name);
        }
    });
    match read {
        // No nf_tables: no table.
        Err(refused) if refused.errno == libc::EOPNOTSUPP => Ok(false),
        read => read.map(|()| found),
    }
}

/// How the table differs from the plan, in the network namespace of the calling thread: what is planned, and what is
/// there.
///
/// # Errors
/// Those of the socket and the kernel.
pub(crate) fn difference(link: &LinkPlan) -> io::Result<Option<(String, String)>> {
    let socket = NftSocket::open()?;
    let fail = |refused: Refused| io::Error::from_raw_os_error(refused.errno);
    let is_there = is_there(&socket).map_err(fail)?;
    let exposed = &link.traffic.exposed;
    if exposed.is_empty() && !is_there {
        return Ok(None);
    }
    let mut found: Vec<(String, Content)> = Vec::new();
    let attributes = vec![RuleAttribute::Table(TABLE.to_owned())];
    let question = NfTablesMessage::GetRule(RuleMessage { attributes });
    let read = socket.dump(Family::Inet, question, |answer| {
        if let NfTablesMessage::NewRule(RuleMessage { attributes }) = answer {
            found.extend(rule_in(attributes));
        }
    });
    match read {
        Err(refused) if refused.errno != libc::ENOENT => return Err(fail(refused)),
        Ok(()) | Err(_) => {}
    }
    let of = |chain: &str| {
        let rules = found.iter().filter(|(of, _)| of == chain);
        rules.map(|(_, rule)| rule.clone()).collect::<Vec<_>>()
    };
    let all = rules(link);
    let is_planned = |(chain, rules): &(&str, Vec<Rule>)| of(chain) == content::of_rules(rules);
    if is_there && all.iter().all(is_planned) {
        return Ok(None);
    }
    let ports: Vec<String> = exposed.iter().map(ToString::to_string).collect();
    let planned = match ports.as_slice() {
        [] => "no exposed ports".to_owned(),
        ports => format!("exposed ports {}", ports.join(", ")),
    };
    let found = match is_there {
        true => "other rules in the tenant's table tenantd",
        false => "no table tenantd in the tenant",
    };
    Ok(Some((planned, found.to_owned())))
}

fn rule_in(attributes: Vec<RuleAttribute>) -> Option<(String, Content)> {
    let (mut chain, mut rule) = (None, Content::new());
    for part in attributes {
        match part {
            RuleAttribute::Table(table) if table != TABLE => return None,
            RuleAttribute::Chain(found) => chain = Some(found),
            RuleAttribute::Expressions(found) => rule = content::of(&found),
            _ => {}
        }
    }
    Some((chain?, rule))
}
