//! Attributes and messages of nftables, see linux/netfilter/nf_tables.h.
//!
//! The crate netlink-packet-netfilter has the messages and the attributes of tables, chains, sets and rules. It
//! lacks the expressions `nat`, `masq`, `ct`, `fib`, `reject` and `objref`: all expressions are written here in
//! one way, as a name and attributes.

use netlink_packet_netfilter::nftables::{
    ChainAttribute, ChainMessage, DataAttribute, ExpressionAttribute, Hook, HookNumber,
    ListAttribute, NfTablesMessage, RuleAttribute, RuleMessage, SetAttribute, SetElementAttribute,
    SetElementList, SetElementMessage, SetFlags, SetMessage, TableAttribute, TableFlags,
    TableMessage, Verdict, VerdictAttribute,
};
use rtnetlink::packet_core::{DefaultNla, Emitable, NLA_F_NESTED, NLM_F_APPEND, NLM_F_CREATE, Nla};

use super::devices;
use super::elements::{Data, Element};
use super::rules::{Base, Rule};
use super::sets::{Holds, Set};

/// The data type of a verdict: `NFT_DATA_VERDICT`.
const VERDICT: u32 = 0xffff_ff00;

/// `NFT_OBJECT_COUNTER`.
const COUNTER: u32 = 1;

/// A number, which nftables has in network byte order.
pub(super) fn number(kind: u16, value: u32) -> DefaultNla {
    DefaultNla::new(kind, value.to_be_bytes().to_vec())
}

/// A string, with its NUL.
pub(super) fn text(kind: u16, value: &str) -> DefaultNla {
    DefaultNla::new(kind, [value.as_bytes(), b"\0"].concat())
}

/// An attribute that holds attributes.
pub(super) fn nested<T: Nla>(kind: u16, inner: &[T]) -> DefaultNla {
    let mut value = vec![0; inner.buffer_len()];
    inner.emit(&mut value);
    DefaultNla::new(kind | NLA_F_NESTED, value)
}

/// Data to compare with, or to load.
pub(super) fn data(kind: u16, value: &[u8]) -> DefaultNla {
    nested(kind, &[DataAttribute::Value(value.to_vec())])
}

/// A verdict as data.
pub(super) fn verdict(verdict: Verdict, chain: Option<&str>) -> DataAttribute {
    let mut parts = vec![VerdictAttribute::Code(verdict)];
    parts.extend(chain.map(|chain| VerdictAttribute::Chain(chain.to_owned())));
    DataAttribute::Verdict(parts)
}

/// A comment in the form in which nft(8) stores and shows it.
pub(super) fn comment(text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len() + 1).unwrap_or(u8::MAX);
    [&[0, length], text.as_bytes(), b"\0"].concat()
}

/// The comment of an element or a table.
pub(super) fn commented(userdata: &[u8]) -> Option<String> {
    let [0, length, rest @ ..] = userdata else {
        return None;
    };
    let text = rest.get(..usize::from(*length).checked_sub(1)?)?;
    String::from_utf8(text.to_vec()).ok()
}

/// One message of a transaction.
#[derive(Debug, Clone)]
pub(super) struct Change {
    pub(super) flags: u16,
    pub(super) message: NfTablesMessage,
}

impl Change {
    fn new(flags: u16, message: NfTablesMessage) -> Self {
        Self { flags, message }
    }
}

/// Makes a table, or takes over one without an owner.
pub(super) fn new_table(table: &str, flags: TableFlags, mark: &str) -> Change {
    let attributes = vec![
        TableAttribute::Name(table.to_owned()),
        TableAttribute::Flags(flags),
        TableAttribute::UserData(comment(mark)),
    ];
    let message = NfTablesMessage::NewTable(TableMessage { attributes });
    Change::new(NLM_F_CREATE, message)
}

/// Deletes a table with all that is in it.
pub(super) fn delete_table(table: &str) -> Change {
    let attributes = vec![TableAttribute::Name(table.to_owned())];
    Change::new(0, NfTablesMessage::DeleteTable(TableMessage { attributes }))
}

/// Makes a counter.
pub(super) fn new_counter(table: &str, name: &str) -> Change {
    let attributes = vec![
        text(1, table),
        text(2, name),
        number(3, COUNTER),
        nested::<DefaultNla>(4, &[]),
    ];
    Change::new(NLM_F_CREATE, NfTablesMessage::NewObject(attributes))
}

/// Makes a set or a map.
pub(super) fn new_set(table: &str, set: &Set, id: u32) -> Change {
    let mut flags = SetFlags::empty();
    let (kind, length) = set.key();
    let mut attributes = vec![
        SetAttribute::Table(table.to_owned()),
        SetAttribute::Name(set.name.to_owned()),
        SetAttribute::KeyType(kind),
        SetAttribute::KeyLen(length),
        SetAttribute::Id(id),
    ];
    match set.holds {
        Holds::Keys => {}
        Holds::Verdicts => {
            flags |= SetFlags::Map;
            attributes.extend([SetAttribute::DataType(VERDICT), SetAttribute::DataLen(16)]);
        }
        Holds::Values(types) => {
            let (kind, length) = Set::concatenated(types);
            flags |= SetFlags::Map;
            attributes.extend([SetAttribute::DataType(kind), SetAttribute::DataLen(length)]);
        }
    }
    attributes.push(SetAttribute::Flags(flags));
    let message = NfTablesMessage::NewSet(SetMessage { attributes });
    Change::new(NLM_F_CREATE, message)
}

fn chain(table: &str, name: &str) -> Vec<ChainAttribute> {
    vec![
        ChainAttribute::Table(table.to_owned()),
        ChainAttribute::Name(name.to_owned()),
    ]
}

/// Makes a chain.
pub(super) fn new_chain(table: &str, name: &str) -> Change {
    let attributes = chain(table, name);
    Change::new(
        NLM_F_CREATE,
        NfTablesMessage::NewChain(ChainMessage { attributes }),
    )
}

/// Makes a chain that the kernel calls for what arrives by devices whose names begin so, also those that are made later.
pub(super) fn new_prefix_chain(table: &str, base: &Base, prefix: &str) -> Change {
    base_chain(table, base.name, base, vec![text(devices::PREFIX, prefix)])
}

/// Makes a chain that the kernel calls for packets; with `devices`, for those that arrive there. Adds
/// the devices to one that exists.
pub(super) fn new_base_chain(table: &str, name: &str, base: &Base, devices: &[&str]) -> Change {
    base_chain(table, name, base, named(devices))
}

fn base_chain(table: &str, name: &str, base: &Base, devices: Vec<DefaultNla>) -> Change {
    let mut attributes = chain(table, name);
    attributes.push(ChainAttribute::Hook(hook(
        base.hook,
        base.priority,
        devices,
    )));
    attributes.push(ChainAttribute::Type(base.kind.to_owned()));
    attributes.push(ChainAttribute::Policy(u32::from(base.accepts)));
    Change::new(
        NLM_F_CREATE,
        NfTablesMessage::NewChain(ChainMessage { attributes }),
    )
}

/// Takes devices out of a chain.
pub(super) fn delete_devices(table: &str, name: &str, base: &Base, devices: &[&str]) -> Change {
    let mut attributes = chain(table, name);
    attributes.push(ChainAttribute::Hook(hook(
        base.hook,
        base.priority,
        named(devices),
    )));
    Change::new(0, NfTablesMessage::DeleteChain(ChainMessage { attributes }))
}

fn named(devices: &[&str]) -> Vec<DefaultNla> {
    let devices = devices.iter();
    devices.map(|device| text(devices::NAME, device)).collect()
}

fn hook(number: HookNumber, priority: i32, devices: Vec<DefaultNla>) -> Vec<Hook> {
    let mut hook = vec![
        Hook::Number(number),
        Hook::Priority(priority.cast_unsigned()),
    ];
    if !devices.is_empty() {
        hook.push(Hook::NetDevices(devices));
    }
    hook
}

/// Deletes a chain with its rules.
pub(super) fn delete_chain(table: &str, name: &str) -> Change {
    let attributes = chain(table, name);
    Change::new(0, NfTablesMessage::DeleteChain(ChainMessage { attributes }))
}

/// Deletes the rules of a chain.
pub(super) fn flush_chain(table: &str, name: &str) -> Change {
    let attributes = vec![
        RuleAttribute::Table(table.to_owned()),
        RuleAttribute::Chain(name.to_owned()),
    ];
    Change::new(0, NfTablesMessage::DeleteRule(RuleMessage { attributes }))
}

/// Adds a rule at the end of a chain.
pub(super) fn new_rule(table: &str, name: &str, rule: Rule) -> Change {
    let attributes = vec![
        RuleAttribute::Table(table.to_owned()),
        RuleAttribute::Chain(name.to_owned()),
        RuleAttribute::Expressions(rule.expressions),
    ];
    let message = NfTablesMessage::NewRule(RuleMessage { attributes });
    Change::new(NLM_F_CREATE | NLM_F_APPEND, message)
}

/// One expression of a rule.
pub(super) fn expression(
    name: &str,
    attributes: &[DefaultNla],
) -> ListAttribute<ExpressionAttribute> {
    ListAttribute::Element(vec![
        ExpressionAttribute::Name(name.to_owned()),
        ExpressionAttribute::Other(nested(2, attributes)),
    ])
}

/// Adds an element to its set, with its owner's mark.
pub(super) fn add_element(table: &str, element: &Element, mark: &str) -> Change {
    let message = NfTablesMessage::NewSetElement(elements(table, element, Some(mark)));
    Change::new(NLM_F_CREATE, message)
}

/// Removes an element from its set.
pub(super) fn remove_element(table: &str, element: &Element) -> Change {
    let message = NfTablesMessage::DeleteSetElement(elements(table, element, None));
    Change::new(0, message)
}

fn elements(table: &str, element: &Element, mark: Option<&str>) -> SetElementMessage {
    let key = DataAttribute::Value(element.key.clone());
    let mut parts = vec![SetElementAttribute::Key(key)];
    let data = match &element.data {
        Data::None => None,
        Data::Value(value) => Some(DataAttribute::Value(value.clone())),
        Data::Return => Some(verdict(Verdict::Return, None)),
        Data::Goto(chain) => Some(verdict(Verdict::Goto, Some(chain))),
    };
    parts.extend(data.map(SetElementAttribute::Data));
    parts.extend(mark.map(|mark| SetElementAttribute::UserData(comment(mark))));
    SetElementMessage {
        attributes: vec![
            SetElementList::Table(table.to_owned()),
            SetElementList::Set(element.set.to_owned()),
            SetElementList::Elements(vec![ListAttribute::Element(parts)]),
        ],
    }
}
