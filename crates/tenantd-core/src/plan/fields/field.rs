//! What is known of one field of a plan.

use std::fmt::{self, Display};

use serde::{Deserialize, Serialize};

use super::super::effect::Effect;

/// One field of a plan.
#[derive(Clone, Copy)]
pub struct Field<'a> {
    /// What it is called in fingerprints.
    pub key: Key,
    /// Which of several it is, for lists and tables: a number, a name or a path.
    pub item: Option<&'a dyn Display>,
    /// What people know it by, the same in `tenantd plan` and in `tenantd diff`.
    pub label: &'static str,
    /// Whether it belongs to the field before it and is shown below that one.
    pub nested: bool,
    /// Its value as text, the same for people and for fingerprints.
    pub value: &'a dyn Display,
    /// What it takes that its value becomes another, or that it is there where it was not.
    pub takes: Takes,
    /// What it takes that it is not there any more.
    pub leaving: Takes,
    /// Whether it is what the reference gives where the manifest says nothing. Never so for what
    /// has no default, such as an address.
    pub at_default: bool,
}

/// What a field is called in fingerprints, followed by its item: see the head of [`fields`](super).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Key {
    /// Of a field that commit 2157092 knew.
    First(&'static str),
    /// Of a field that came later.
    Later(&'static str),
}

/// What a change of a field takes, the least first.
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
    /// Nothing of a tenant that is provisioned: only the next provision reads it.
    Nothing,
    /// What the supervisor decides by, and nothing on the host.
    Policy,
    /// What runs: it is set on the host, which may refuse it.
    Processes,
}

impl Touches {
    /// Whether it is to be set on a launch that runs.
    #[must_use]
    pub fn is_applied(self) -> bool {
        match self {
            Touches::Nothing | Touches::Policy => false,
            Touches::Processes => true,
        }
    }
}

impl Takes {
    /// The same without what a live change touches.
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
    /// The text in fingerprints.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Key::First(text) | Key::Later(text) => text,
        }
    }
}

/// A name, followed by which of several it is.
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
    /// A field that is one alone and has no default.
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

    /// What it is called in fingerprints, with its item.
    pub fn id(&self) -> impl Display + '_ {
        Named(self.key.text(), self.item)
    }

    /// What people know it by, with its item.
    pub fn name(&self) -> impl Display + '_ {
        Named(self.label, self.item)
    }

    pub(super) fn item(self, item: &'a dyn Display) -> Self {
        let item = Some(item);
        Self { item, ..self }
    }

    pub(super) fn nested(self) -> Self {
        let nested = true;
        Self { nested, ..self }
    }

    pub(super) fn leaving(self, leaving: Takes) -> Self {
        Self { leaving, ..self }
    }

    pub(super) fn default_is(self, at_default: bool) -> Self {
        Self { at_default, ..self }
    }
}

/// Sees one field after another.
pub type See<'s> = &'s mut dyn FnMut(Field<'_>);

type Value<'a> = &'a dyn Display;

pub(super) fn renews<'a>(key: Key, label: &'static str, value: Value<'a>) -> Field<'a> {
    Field::new(key, label, value, Takes::Reprovision)
}

pub(super) fn relaunches<'a>(key: Key, label: &'static str, value: Value<'a>) -> Field<'a> {
    Field::new(key, label, value, Takes::Relaunch)
}

/// Nothing that is provisioned has to do with it.
pub(super) fn touches_nothing<'a>(key: Key, label: &'static str, value: Value<'a>) -> Field<'a> {
    Field::new(key, label, value, Takes::Live(Touches::Nothing))
}

/// It is a limit of each process.
pub(super) fn limits_processes<'a>(key: Key, label: &'static str, value: Value<'a>) -> Field<'a> {
    Field::new(key, label, value, Takes::Live(Touches::Processes))
}

/// The supervisor decides by it: from now on it goes by the new value.
pub(super) fn decides<'a>(
    key: Key,
    label: &'static str,
    value: Value<'a>,
    at_default: bool,
) -> Field<'a> {
    Field::new(key, label, value, Takes::Live(Touches::Policy)).default_is(at_default)
}
