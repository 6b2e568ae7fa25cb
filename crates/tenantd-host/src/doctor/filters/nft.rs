//! Reads the chains of the hook `forward` that other programs have in nf_tables, and their rules.
//!
//! The messages are read as bytes: the rules of others have expressions that no crate knows, and what is not known
//! is a condition like any other.

use std::collections::BTreeMap;
use std::io;

use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};

use super::judge::{Condition, Rule, Verdict};
use tenantd_core::plan::derive;

/// `NFNL_SUBSYS_NFTABLES`, in the upper half of a message's type.
const NFTABLES: u16 = 10 << 8;

/// `NFT_MSG_*`: each question, and the kind of its answers.
const GET_CHAIN: u16 = NFTABLES | 4;
const NEW_CHAIN: u16 = NFTABLES | 3;
const GET_RULE: u16 = NFTABLES | 7;
const NEW_RULE: u16 = NFTABLES | 6;

/// `NLMSG_ERROR`.
const ERROR: u16 = 2;
/// `NLM_F_REQUEST | NLM_F_DUMP`.
const DUMP: u16 = 0x301;
/// The bytes of `struct nlmsghdr`, and those of `struct nfgenmsg` after it.
const HEADER: usize = 16;
const FAMILY: usize = 4;

/// `NF_INET_FORWARD`.
const FORWARD: u32 = 2;

/// A chain that the kernel calls for packets that the host forwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chain {
    /// As nft(8) names it.
    pub(super) family: &'static str,
    pub(super) table: String,
    pub(super) name: String,
    pub(super) policy_refuses: bool,
}

/// The chains of other programs, and the rules of each table.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) chains: Vec<Chain>,
    pub(super) rules: BTreeMap<(&'static str, String), Vec<Rule>>,
}

/// Reads them in the network namespace of this thread.
pub(super) fn read() -> io::Result<Found> {
    let mut socket = Socket::new(NETLINK_NETFILTER)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    let mut found = Found::default();
    dump(&socket, GET_CHAIN, NEW_CHAIN, |family, bytes| {
        found.chains.extend(chain(family, bytes));
    })?;
    if !found.chains.is_empty() {
        dump(&socket, GET_RULE, NEW_RULE, |family, bytes| {
            if let Some((table, rule)) = rule(bytes) {
                found.rules.entry((family, table)).or_default().push(rule);
            }
        })?;
    }
    Ok(found)
}

/// Asks for all objects of a kind, and passes the family and the attributes of each to `see`.
fn dump(
    socket: &Socket,
    question: u16,
    answer: u16,
    mut see: impl FnMut(&'static str, &[u8]),
) -> io::Result<()> {
    let mut request = [0_u8; HEADER + FAMILY];
    request[..4].copy_from_slice(&20_u32.to_ne_bytes());
    request[4..6].copy_from_slice(&question.to_ne_bytes());
    request[6..8].copy_from_slice(&DUMP.to_ne_bytes());
    socket.send(&request, 0)?;
    loop {
        let (datagram, _) = socket.recv_from_full()?;
        let mut rest = datagram.as_slice();
        while let Some((length, kind)) = header(rest) {
            let message = rest.get(HEADER..length).unwrap_or_default();
            if kind == answer {
                let family = message.first().copied().and_then(family);
                let attributes = message.get(FAMILY..);
                if let (Some(family), Some(attributes)) = (family, attributes) {
                    see(family, attributes);
                }
            } else {
                // The end, or an error, whose number comes first.
                let errno = message
                    .first_chunk()
                    .map_or(0, |at| i32::from_ne_bytes(*at));
                return match kind == ERROR && errno != 0 {
                    true => Err(io::Error::from_raw_os_error(errno.saturating_abs())),
                    false => Ok(()),
                };
            }
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
    }
}

/// The length and the type of the first message.
fn header(bytes: &[u8]) -> Option<(usize, u16)> {
    let length = u32::from_ne_bytes(*bytes.first_chunk()?) as usize;
    let kind = u16::from_ne_bytes(*bytes.get(4..)?.first_chunk()?);
    (length >= HEADER).then_some((length, kind))
}

/// Those that forward packets of IP.
fn family(number: u8) -> Option<&'static str> {
    match number {
        1 => Some("inet"),
        2 => Some("ip"),
        10 => Some("ip6"),
        _ => None,
    }
}

/// The attributes of a message, or of an attribute: the type of each, and its value.
fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = u16::from_ne_bytes(*bytes.first_chunk()?) as usize;
        let kind = u16::from_ne_bytes(*bytes.get(2..)?.first_chunk()?);
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        // Without the bits for nested values and the order of bytes.
        Some((kind & 0x3fff, value))
    })
}

fn attribute(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes).find_map(|(it, value)| (it == kind).then_some(value))
}

fn text(bytes: &[u8], kind: u16) -> Option<String> {
    let value = attribute(bytes, kind)?;
    let value = value.split(|byte| *byte == 0).next()?;
    String::from_utf8(value.to_vec()).ok()
}

/// A number in the order of the network.
fn number(bytes: &[u8], kind: u16) -> Option<u32> {
    Some(u32::from_be_bytes(*attribute(bytes, kind)?.first_chunk()?))
}

fn chain(family: &'static str, bytes: &[u8]) -> Option<Chain> {
    // NFTA_CHAIN_TABLE, _NAME, _HOOK with NFTA_HOOK_HOOKNUM, _POLICY, _TYPE.
    let table = text(bytes, 1)?;
    let hook = number(attribute(bytes, 4)?, 1)?;
    let is_filter = text(bytes, 7).as_deref() == Some("filter");
    let is_other = derive::app_of_table(&table).is_none();
    (hook == FORWARD && is_filter && is_other).then(|| Chain {
        family,
        name: text(bytes, 3).unwrap_or_default(),
        policy_refuses: number(bytes, 5) == Some(0),
        table,
    })
}

fn rule(bytes: &[u8]) -> Option<(String, Rule)> {
    // NFTA_RULE_TABLE, _CHAIN, _EXPRESSIONS.
    let (table, chain) = (text(bytes, 1)?, text(bytes, 2)?);
    let mut rule = Rule {
        chain,
        conditions: Vec::new(),
        verdict: Verdict::Nothing,
    };
    let mut said = Said::default();
    let expressions = attribute(bytes, 4).unwrap_or_default();
    for (_, expression) in attributes(expressions) {
        let name = text(expression, 1).unwrap_or_default();
        said.expression(
            &name,
            attribute(expression, 2).unwrap_or_default(),
            &mut rule,
        );
    }
    Some((table, rule))
}

/// What the expressions before have loaded: the key of `meta`, and the mask of `bitwise`.
#[derive(Default)]
struct Said {
    key: Option<u32>,
    mask: Option<u32>,
}

impl Said {
    fn expression(&mut self, name: &str, data: &[u8], rule: &mut Rule) {
        match name {
            "counter" | "log" => {}
            // NFTA_META_KEY.
            "meta" => (self.key, self.mask) = (number(data, 2), None),
            // NFTA_BITWISE_MASK with NFTA_DATA_VALUE.
            "bitwise" => self.mask = attribute(data, 4).and_then(host_number),
            "cmp" => rule.conditions.push(self.comparison(data)),
            "match" => rule.conditions.extend(of_iptables(data)),
            "immediate" => rule.verdict = verdict(data).unwrap_or(Verdict::Nothing),
            "reject" => rule.verdict = Verdict::Refuse,
            // NFTA_TARGET_NAME.
            "target" if text(data, 1).as_deref() == Some("REJECT") => {
                rule.verdict = Verdict::Refuse;
            }
            _ => rule.conditions.push(Condition::Other),
        }
    }

    fn comparison(&self, data: &[u8]) -> Condition {
        // NFTA_CMP_OP: equal. NFTA_CMP_DATA.
        let (Some(0), Some(value)) = (number(data, 2), attribute(data, 3)) else {
            return Condition::Other;
        };
        let mask = self.mask.unwrap_or(u32::MAX);
        let group = host_number(value);
        // A name with a zero after it is a whole one.
        let begin = attribute(value, 1).filter(|name| !name.contains(&0));
        let begin = begin.and_then(|name| String::from_utf8(name.to_vec()).ok());
        // NFT_META_IIFNAME, _OIFNAME, _IIFGROUP, _OIFGROUP.
        match (self.key, begin, group) {
            (Some(6), Some(name), _) => Condition::FromName(name),
            (Some(7), Some(name), _) => Condition::ToName(name),
            (Some(21), _, Some(group)) => Condition::FromGroup(group, mask),
            (Some(22), _, Some(group)) => Condition::ToGroup(group, mask),
            _ => Condition::Other,
        }
    }
}

/// `NFTA_DATA_VALUE` with a number in the order of the host.
fn host_number(data: &[u8]) -> Option<u32> {
    Some(u32::from_ne_bytes(*attribute(data, 1)?.first_chunk()?))
}

/// The conditions of a match of iptables: `NFTA_MATCH_NAME`, `NFTA_MATCH_INFO`.
fn of_iptables(data: &[u8]) -> Vec<Condition> {
    match text(data, 1).as_deref() {
        Some("comment") => Vec::new(),
        Some("devgroup") => devgroup(attribute(data, 3).unwrap_or_default()),
        _ => vec![Condition::Other],
    }
}

/// `struct xt_devgroup_info`: flags, and the group and the mask of both links.
pub(super) fn devgroup(info: &[u8]) -> Vec<Condition> {
    let mut words = info.chunks_exact(4).map(|word| {
        let word = word.first_chunk().copied().unwrap_or_default();
        u32::from_ne_bytes(word)
    });
    let mut next = || words.next().unwrap_or_default();
    let flags = next();
    let from = Condition::FromGroup(next(), next());
    let to = Condition::ToGroup(next(), next());
    // XT_DEVGROUP_MATCH_SRC, _INVERT_SRC, _MATCH_DST, _INVERT_DST.
    let known = [
        (1, from),
        (4, to),
        (2, Condition::Other),
        (8, Condition::Other),
    ];
    let set = known.into_iter().filter(|(flag, _)| flags & flag != 0);
    set.map(|(_, condition)| condition).collect()
}

/// `NFTA_IMMEDIATE_DATA` with `NFTA_DATA_VERDICT`: `NFTA_VERDICT_CODE`, `NFTA_VERDICT_CHAIN`.
fn verdict(data: &[u8]) -> Option<Verdict> {
    let verdict = attribute(attribute(data, 2)?, 2)?;
    let chain = || text(verdict, 2);
    match number(verdict, 1)?.cast_signed() {
        0 => Some(Verdict::Refuse),
        1 => Some(Verdict::Accept),
        -3 => chain().map(Verdict::Jump),
        -4 => chain().map(Verdict::Goto),
        -5 => Some(Verdict::Return),
        _ => None,
    }
}
