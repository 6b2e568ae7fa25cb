//! The content of rules, in a form in which what was sent and what the kernel tells of it are equal.
//!
//! The kernel tells some attributes that were not sent, with the values that they have without being sent. It marks
//! nested attributes in another way.

use std::collections::BTreeMap;

use netlink_packet_netfilter::nftables::{ExpressionAttribute, ListAttribute};
use rtnetlink::packet_core::{Nla, NlasIterator};

use super::expressions::Rule;

/// One rule.
pub(super) type Content = Vec<Expression>;

/// One expression: its name, and its attributes by their numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Expression {
    name: String,
    attributes: BTreeMap<u16, Value>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Value {
    Bytes(Vec<u8>),
    Parts(BTreeMap<u16, Value>),
}

/// `NFTA_DATA_VERDICT`.
const VERDICT: u16 = 2;

/// `NF_NAT_RANGE_MAP_IPS` and `NF_NAT_RANGE_PROTO_SPECIFIED`, which the kernel derives.
const MAP_ADDRESSES: u32 = 1;
const MAP_PORTS: u32 = 2;

/// `NFT_REJECT_TCP_RST`.
const RESET: u32 = 1;

/// The content of expressions.
pub(super) fn of(expressions: &[ListAttribute<ExpressionAttribute>]) -> Content {
    let parts = expressions.iter().filter_map(|part| match part {
        ListAttribute::Element(parts) => Some(parts),
        _ => None,
    });
    parts.map(|parts| expression(parts)).collect()
}

/// The contents of rules that are sent.
pub(super) fn of_rules<'a>(rules: impl IntoIterator<Item = &'a Rule>) -> Vec<Content> {
    let rules = rules.into_iter();
    rules.map(|rule| of(&rule.expressions)).collect()
}

fn expression(parts: &[ExpressionAttribute]) -> Expression {
    let (mut name, mut bytes) = (String::new(), Vec::new());
    for part in parts {
        match part {
            ExpressionAttribute::Name(found) => name.clone_from(found),
            data => {
                bytes = vec![0; data.value_len()];
                data.emit_value(&mut bytes);
            }
        }
    }
    let mut attributes = attributes(&bytes, |kind| is_data(&name, kind));
    without_defaults(&name, &mut attributes);
    Expression { name, attributes }
}

/// Whether an attribute of an expression holds data: a value or a verdict.
fn is_data(name: &str, kind: u16) -> bool {
    match name {
        "cmp" => kind == 3,
        "bitwise" => [4, 5, 7].contains(&kind),
        "immediate" => kind == 2,
        _ => false,
    }
}

fn attributes(bytes: &[u8], is_data: impl Fn(u16) -> bool) -> BTreeMap<u16, Value> {
    let all = NlasIterator::new(bytes).flatten();
    let all = all.map(|part| {
        let kind = part.kind();
        let value = match is_data(kind) {
            true => Value::Parts(data(part.value())),
            false => Value::Bytes(part.value().to_vec()),
        };
        (kind, value)
    });
    all.collect()
}

fn data(bytes: &[u8]) -> BTreeMap<u16, Value> {
    let all = NlasIterator::new(bytes).flatten();
    let all = all.map(|part| {
        let kind = part.kind();
        let value = match kind {
            VERDICT => Value::Parts(attributes(part.value(), |_| false)),
            _ => Value::Bytes(part.value().to_vec()),
        };
        (kind, value)
    });
    all.collect()
}

/// Removes attributes with the values that they have without being sent.
fn without_defaults(name: &str, attributes: &mut BTreeMap<u16, Value>) {
    let number = |value: u32| Value::Bytes(value.to_be_bytes().to_vec());
    let of = |kind: u16| attributes.get(&kind).cloned();
    let flag = |kind: u16, flag| of(kind).map_or(0, |_| flag);
    let defaults = match name {
        // The flags of the lookup, and the kind of the operation.
        "lookup" => vec![(5, Some(number(0)))],
        "bitwise" => vec![(6, Some(number(0)))],
        // The last address and port are the first ones.
        "nat" => {
            let flags = flag(3, MAP_ADDRESSES) | flag(5, MAP_PORTS);
            vec![(4, of(3)), (6, of(5)), (7, Some(number(flags)))]
        }
        // A reset has no code.
        "reject" if of(1) == Some(number(RESET)) => vec![(2, of(2))],
        _ => Vec::new(),
    };
    for (kind, default) in defaults {
        if attributes.get(&kind) == default.as_ref() {
            attributes.remove(&kind);
        }
    }
}
