//! Strings with placeholders such as `{tenant}` and `{vars.colour}`.
//!
//! A template is checked when it is read, so that expanding it later cannot fail. Which braces are
//! text depends on the [`Style`]: what is written into a program's configuration has braces of its
//! own.

mod parse;

use std::ops::Range;

pub use parse::TemplateError;
pub(super) use parse::is_var;

/// A placeholder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slot {
    /// The application's name.
    App,
    /// The folder of the manifest.
    ManifestDir,
    /// The path at which the program finds its data.
    Datastore,
    /// The tenant's name.
    Tenant,
    /// The tenant's first address.
    Ip,
    /// The host's address of that family, as the tenant sees it.
    Gateway,
    /// The tenant's first IPv6 address.
    Ip6,
    /// The host's IPv6 address, as the tenant sees it.
    Gateway6,
    /// The name of the tenant's user.
    User,
    /// The number of the tenant's user.
    Uid,
    /// The number of the tenant's group.
    Gid,
}

impl Slot {
    /// The word between the braces.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Slot::App => "app",
            Slot::ManifestDir => "manifest_dir",
            Slot::Datastore => "datastore",
            Slot::Tenant => "tenant",
            Slot::Ip => "ip",
            Slot::Gateway => "gateway",
            Slot::Ip6 => "ip6",
            Slot::Gateway6 => "gateway6",
            Slot::User => "user",
            Slot::Uid => "uid",
            Slot::Gid => "gid",
        }
    }

    /// Formats placeholders as a list such as `{app}, {tenant}`.
    #[must_use]
    pub fn list(slots: &[Slot]) -> String {
        let braced: Vec<String> = slots.iter().map(|s| format!("{{{}}}", s.word())).collect();
        braced.join(", ")
    }
}

/// Placeholders of values that are the same for all tenants.
pub const OF_APP: &[Slot] = &[Slot::App, Slot::ManifestDir];

/// Placeholders of values that are the same for all tenants and may name the datastore's path.
pub const OF_PROGRAM: &[Slot] = &[Slot::App, Slot::ManifestDir, Slot::Datastore];

/// Placeholders of a tenant's `datastore`.
pub const OF_TENANT: &[Slot] = &[Slot::App, Slot::ManifestDir, Slot::Tenant];

/// Placeholders of all other values of a tenant.
pub const ALL: &[Slot] = &[
    Slot::App,
    Slot::ManifestDir,
    Slot::Datastore,
    Slot::Tenant,
    Slot::Ip,
    Slot::Gateway,
    Slot::Ip6,
    Slot::Gateway6,
    Slot::User,
    Slot::Uid,
    Slot::Gid,
];

/// The prefix of the placeholder of a variable.
pub const VARS: &str = "vars.";

/// How a string treats braces that are no placeholder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// A path: every brace is part of a placeholder, or doubled.
    Path,
    /// An argument or a variable of the environment. Braces that are no placeholder are text, but a
    /// word in braces must be one: `{word}`. In a string in which all other braces are doubled, each
    /// pair stands for one.
    Text,
    /// A file: everything that is no placeholder, nor close to one, is text.
    File,
}

/// What a string may contain.
#[derive(Debug, Clone, Copy)]
pub struct Rules<'a> {
    /// The placeholders.
    pub slots: &'a [Slot],
    /// Whether variables are available.
    pub vars: bool,
    /// How braces are treated.
    pub style: Style,
}

impl Rules<'_> {
    /// Formats the placeholders as a list such as `{app}, {tenant}, {vars.NAME}`.
    #[must_use]
    pub fn list(&self) -> String {
        let mut list = Slot::list(self.slots);
        if self.vars {
            list += ", {vars.NAME}";
        }
        list
    }
}

/// A placeholder that is to be replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Name<'a> {
    /// One that every manifest has.
    Slot(Slot),
    /// A variable.
    Var(&'a str),
}

/// A string whose placeholders have been parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Slot(Slot),
    /// A variable, and its position with the braces.
    Var(String, Range<usize>),
}

impl Template {
    /// Parses the placeholders.
    ///
    /// # Errors
    /// All placeholders that are not available, or braces that are not as the style demands.
    pub fn parse(text: &str, rules: Rules<'_>) -> Result<Self, Vec<TemplateError>> {
        parse::parts(text, rules).map(|parts| Self { parts })
    }

    /// A string without placeholders.
    #[must_use]
    pub fn literal(text: &str) -> Self {
        Self {
            parts: vec![Part::Text(text.to_owned())],
        }
    }

    /// Whether the string has this placeholder.
    #[must_use]
    pub fn has(&self, slot: Slot) -> bool {
        self.parts.contains(&Part::Slot(slot))
    }

    /// The variables, with their positions.
    pub fn vars(&self) -> impl Iterator<Item = (&str, &Range<usize>)> {
        self.parts.iter().filter_map(|part| match part {
            Part::Var(name, at) => Some((name.as_str(), at)),
            Part::Text(_) | Part::Slot(_) => None,
        })
    }

    /// Changes the positions of the variables.
    pub fn place(&mut self, place: impl Fn(&Range<usize>) -> Range<usize>) {
        for part in &mut self.parts {
            if let Part::Var(_, at) = part {
                *at = place(at);
            }
        }
    }

    /// Returns the string with each placeholder replaced by its value.
    #[must_use]
    pub fn fill(&self, value: impl Fn(Name<'_>) -> String) -> String {
        let filled = self.parts.iter().map(|part| match part {
            Part::Text(text) => text.clone(),
            Part::Slot(slot) => value(Name::Slot(*slot)),
            Part::Var(name, _) => value(Name::Var(name)),
        });
        filled.collect()
    }
}

#[cfg(test)]
mod tests;
