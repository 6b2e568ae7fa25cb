//! One field of a plan.

use std::fmt::{self, Display};

use serde::{Deserialize, Serialize};

use super::super::effect::Effect;

/// One field of a plan.
#[derive(Clone, Copy)]
pub struct Field<'a> {
    /// Its name in fingerprints.
    pub key: Key,
    /// For fields of arrays and tables, the index, name or path of the item.
    pub item: Option<&'a dyn Display>,
    /// Its name in `tenantd plan` and `tenantd diff`.
    pub label: &'static str,
    /// Whether it is indented below the previous field.
    pub nested: bool,
    /// Its value, formatted for people and for fingerprints.
    pub value: &'a dyn Display,
    /// What it requires when the value changes or the field appears.
    pub takes: Takes,
    /// What it requires when the field disappears.
    pub leaving: Takes,
    /// Whether the value is the default of the reference. Always false for fields without a
    /// default, such as an address.
    pub at_default: bool,
}

/// The name of a field in fingerprints, see the head of [`fields`](super).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Key {
    /// A field that existed in commit 2157092.
    First(&'static str),
    /// A field that was added later.
    Later(&'static str),
}

/// What a change of a field requires, the least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Takes {
    /// See [`Effect::Live`].
    Live(Touches),
    /// See [`Effect::Relaunch`].
    Relaunch,
    /// See [`Effect::Reprovision`].
    Reprovision,
}

/// What a live change touches, the least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Touches {
    /// Nothing now: only the next provision uses it.
    Nothing,
    /// The policy, which only the supervisor uses.
    Policy,
    /// The elements of the firewall.
    Firewall,
    /// The files by which a tenant looks names up.
    Names,
    /// The rates of a tenant's link.
    Rate,
    /// The addresses of the link, except the first.
    Addresses,
    /// Running processes. The host may refuse the change, so it is greater than all others: a change that touches
    /// several of these is known by the greatest.
    Processes,
}

impl Touches {
    /// Whether it must be applied to a running launch.
    #[must_use]
    pub fn is_applied(self) -> bool {
        match self {
            Touches::Nothing
            | Touches::Policy
            | Touches::Firewall
            | Touches::Names
            | Touches::Rate
            | Touches::Addresses => false,
            Touches::Processes => true,
        }
    }
}

impl Takes {
    /// The effect, without what a live change touches.
    #[must_use]
    pub fn effect(self) -> Effect {
        match self {
            Takes::Live(_) => Effect::Live,
            Takes::Relaunch => Effect::Relaunch,
            Takes::Reprovision => Effect::Reprovision,
        }
    }
}

impl Key {
    /// The name as text.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Key::First(text) | Key::Later(text) => text,
        }
    }
}

/// A name, followed by the item.
struct Named<'a>(&'static str, Option<&'a dyn Display>);

impl Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)?;
        match self.1 {
            Some(item) => write!(f, " {item}"),
            None => Ok(()),
        }
    }
}

impl<'a> Field<'a> {
    /// Creates a field without an item and without a default.
    #[must_use]
    pub fn new(key: Key, label: &'static str, value: &'a dyn Display, takes: Takes) -> Self {
        Self {
            key,
            item: None,
            label,
            nested: false,
            value,
            takes,
            leaving: takes,
            at_default: false,
        }
    }

    /// Its name in fingerprints, with the item.
    pub fn id(&self) -> impl Display + '_ {
        Named(self.key.text(), self.item)
    }

    /// Its label, with the item.
    pub fn name(&self) -> impl Display + '_ {
        Named(self.label, self.item)
    }

    pub(in crate::plan) fn item(self, item: &'a dyn Display) -> Self {
        let item = Some(item);
        Self { item, ..self }
    }

    pub(in crate::plan) fn nested(self) -> Self {
        let nested = true;
        Self { nested, ..self }
    }

    pub(super) fn leaving(self, leaving: Takes) -> Self {
        Self { leaving, ..self }
    }

    pub(in crate::plan) fn default_is(self, at_default: bool) -> Self {
        Self { at_default, ..self }
    }
}

/// A visitor that is called with each field.
pub type See<'s> = &'s mut dyn FnMut(Field<'_>);

type Value<'a> = &'a dyn Display;

pub(super) fn renews<'a>(key: Key, label: &'static str, value: Value<'a>) -> Field<'a> {
    Field::new(key, label, value, Takes::Reprovision)
}

pub(in crate::plan) fn relaunches<'a>(
    key: Key,
    label: &'static str,
    value: Value<'a>,
) -> Field<'a> {
    Field::new(key, label, value, Takes::Relaunch)
}

/// A field that only the next provision uses.
pub(in crate::plan) fn touches_nothing<'a>(
    key: Key,
    label: &'static str,
    value: Value<'a>,
) -> Field<'a> {
    Field::new(key, label, value, Takes::Live(Touches::Nothing))
}

/// A resource limit of each process.
pub(in crate::plan) fn limits_processes<'a>(
    key: Key,
    label: &'static str,
    value: Value<'a>,
) -> Field<'a> {
    Field::new(key, label, value, Takes::Live(Touches::Processes))
}

/// A field of the control socket, which the supervisor changes itself.
pub(super) fn admits<'a>(key: Key, label: &'static str, value: Value<'a>) -> Field<'a> {
    Field::new(key, label, value, Takes::Live(Touches::Policy))
}

/// A field of the policy.
pub(in crate::plan) fn decides<'a>(
    key: Key,
    label: &'static str,
    value: Value<'a>,
    at_default: bool,
) -> Field<'a> {
    Field::new(key, label, value, Takes::Live(Touches::Policy)).default_is(at_default)
}

/// A field of the firewall.
pub(in crate::plan) fn filters<'a>(key: Key, label: &'static str, value: Value<'a>) -> Field<'a> {
    Field::new(key, label, value, Takes::Live(Touches::Firewall))
}

/// A field of the files by which a tenant looks names up.
pub(in crate::plan) fn looks_up<'a>(key: Key, label: &'static str, value: Value<'a>) -> Field<'a> {
    Field::new(key, label, value, Takes::Live(Touches::Names))
}

/// A field of the rates of a tenant's link.
pub(in crate::plan) fn shapes<'a>(key: Key, label: &'static str, value: Value<'a>) -> Field<'a> {
    Field::new(key, label, value, Takes::Live(Touches::Rate))
}

/// An address that is added and removed while the program runs.
pub(super) fn readdresses<'a>(key: Key, label: &'static str, value: Value<'a>) -> Field<'a> {
    Field::new(key, label, value, Takes::Live(Touches::Addresses))
}
