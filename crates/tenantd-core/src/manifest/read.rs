//! Parses TOML text into the manifest as written, and reports every problem with its position.
//!
//! It decodes key by key, because a decoder of whole tables stops at the first error.

use std::borrow::Cow;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{Problems, Span};
use super::raw::{Known, Manifest, Overrides, Read, Tenant};
use super::reference::{Fallback, KEYS, Key, Table};
use super::value::{At, Decode, type_words};
use crate::name::TenantName;

/// An unknown name within this edit distance of a key is taken for a misspelling of it.
const SLIP: usize = 2;

/// Reads a manifest and adds what is wrong with it to `problems`.
pub(super) fn manifest(text: &str, problems: &mut Problems) -> Manifest {
    let (whole, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let span = error.span().unwrap_or(0..0);
        problems.report(&span, format!("invalid TOML: {}", error.message()));
    }
    problems.end_syntax();
    let broken = !errors.is_empty();
    let mut top = Reader::new(Table::Top, 0..0, Some(whole.get_ref()), broken, problems);
    let manifest = Manifest {
        app: Read::read(&mut top, "app"),
        network: Read::read(&mut top, "network"),
        defaults: Read::read(&mut top, "defaults"),
        tenants: tenants(&mut top),
    };
    top.finish();
    manifest
}

fn tenants(top: &mut Reader<'_, '_, '_>) -> Vec<Tenant> {
    let Some(value) = top.find("tenants").1 else {
        return Vec::new();
    };
    let Some(table) = value.get_ref().as_table() else {
        let found = type_words(value.get_ref());
        top.problems
            .report(
                &value.span(),
                format!("`tenants` must be a table, not {found}"),
            )
            .help("write `[tenants]`, then a line such as `acme = { ip = \"10.77.0.11\" }`");
        return Vec::new();
    };
    let mut entries: Vec<_> = table.iter().collect();
    // The parser's table is sorted by name; a plan keeps the order of the text.
    entries.sort_by_key(|(name, _)| name.span().start);
    let tenants = entries
        .into_iter()
        .filter_map(|(name, value)| tenant(top, name, value));
    tenants.collect()
}

fn tenant<'s>(
    top: &mut Reader<'_, '_, 's>,
    name: &Spanned<Cow<'s, str>>,
    value: &Spanned<DeValue<'s>>,
) -> Option<Tenant> {
    let at = name.span();
    let checked = tenant_name(name, top.problems);
    let Some(table) = value.get_ref().as_table() else {
        let found = type_words(value.get_ref());
        let help = match value.get_ref().as_str() {
            Some(text) => format!("write `{} = {{ ip = {text:?} }}`", name.get_ref()),
            None => format!("write `{} = {{ ip = \"10.77.0.11\" }}`", name.get_ref()),
        };
        top.problems
            .report(
                &value.span(),
                format!("a tenant must be a table, not {found}"),
            )
            .help(help);
        return None;
    };
    let mut reader = Reader::new(
        Table::Tenant,
        at.clone(),
        Some(table),
        top.broken,
        top.problems,
    );
    let tenant = Tenant {
        at,
        name: checked,
        ip: reader.value("ip"),
        datastore_said: table.contains_key("datastore"),
        datastore: reader.value("datastore"),
        overrides: Overrides::keys(&mut reader),
    };
    reader.finish();
    Some(tenant)
}

fn tenant_name(name: &Spanned<Cow<'_, str>>, problems: &mut Problems) -> Option<TenantName> {
    let text = name.get_ref();
    let why = match text.parse() {
        Ok(name) => return Some(name),
        Err(why) => why,
    };
    let problem = problems.report(&name.span(), format!("{text:?} is not a valid name: {why}"));
    let lower = text.to_lowercase();
    let near = lower.replace(
        |c: char| !c.is_ascii_lowercase() && !c.is_ascii_digit(),
        "-",
    );
    let near = near.trim_matches('-');
    if near.parse::<TenantName>().is_ok() {
        problem.help(format!("for example `{near}`"));
    }
    None
}

/// Reads one table. At the end, it reports the keys that are unknown.
pub(super) struct Reader<'p, 'v, 's> {
    table: Table,
    /// The position of the header, or of the tenant's name.
    at: Span,
    /// `None` if the value is missing or is not a table.
    entries: Option<&'v DeTable<'s>>,
    /// Whether missing keys are not reported: the text could not be parsed as a whole, or the whole
    /// table is missing and has been reported.
    broken: bool,
    problems: &'p mut Problems,
    asked: Vec<&'static str>,
}

impl<'p, 'v, 's> Reader<'p, 'v, 's> {
    fn new(
        table: Table,
        at: Span,
        entries: Option<&'v DeTable<'s>>,
        broken: bool,
        problems: &'p mut Problems,
    ) -> Self {
        Self {
            table,
            at,
            entries,
            broken,
            problems,
            asked: Vec::new(),
        }
    }

    /// The position of the table's header, or of the tenant's name.
    pub(super) fn at(&self) -> &Span {
        &self.at
    }

    fn find(&mut self, name: &'static str) -> (&'static Key, Option<&'v Spanned<DeValue<'s>>>) {
        let key = Key::find(self.table, name).expect("every key that is read is in the reference");
        self.asked.push(name);
        (key, self.entries.and_then(|entries| entries.get(name)))
    }

    fn missing(&mut self, key: &Key) {
        if self.broken {
            return;
        }
        let header = self.table.header();
        let message = match self.table {
            Table::Top => format!("`{}` is missing", key.name),
            Table::Tenant => format!("the tenant has no `{}`", key.name),
            _ => format!("`{}` is missing in {header}", key.name),
        };
        let help = format!("add `{}`", key.usage());
        self.problems.report(&self.at, message).help(help);
    }

    /// Returns the value of a key, or its default.
    pub(super) fn value<T: Decode>(&mut self, name: &'static str) -> Known<T> {
        let (key, value) = self.find(name);
        if let Some(value) = value {
            let decoded = T::decode(At { key, value }, self.problems);
            return decoded.map(|decoded| Spanned::new(value.span(), decoded));
        }
        match key.fallback {
            Fallback::Required => {
                self.missing(key);
                None
            }
            Fallback::Value(text) => Some(Spanned::new(self.at.clone(), default(key, text))),
            Fallback::Derived(_) => None,
        }
    }

    /// Returns a reader of a nested table. If that table is missing, its keys have their defaults.
    pub(super) fn table(&mut self, name: &'static str, table: Table) -> Reader<'_, 'v, 's> {
        let (key, value) = self.find(name);
        let mut broken = self.broken;
        let (at, entries) = match value {
            Some(value) => {
                let at = self.entries.and_then(|entries| entries.get_key_value(name));
                let at = at.map_or(value.span(), |(name, _)| name.span());
                let entries = value.get_ref().as_table();
                if entries.is_none() {
                    let found = type_words(value.get_ref());
                    let message = format!("`{name}` must be a table, not {found}");
                    let help = format!("for example `{}`", key.usage());
                    self.problems.report(&value.span(), message).help(help);
                    broken = true;
                }
                (at, entries)
            }
            None => {
                if key.fallback == Fallback::Required {
                    self.missing(key);
                    broken = true;
                }
                (self.at.clone(), None)
            }
        };
        Reader::new(table, at, entries, broken, self.problems)
    }

    /// Reports unknown keys.
    pub(super) fn finish(self) {
        let unread = Key::of(self.table).find(|key| !self.asked.contains(&key.name));
        assert!(
            unread.is_none(),
            "every key of the reference is read: {unread:?}"
        );
        for (name, _) in self.entries.into_iter().flatten() {
            if Key::find(self.table, name.get_ref()).is_none() {
                let whose = match self.table {
                    Table::Tenant => "a tenant's table",
                    table => table.header(),
                };
                let message = format!("unknown key `{}` in {whose}", name.get_ref());
                let problem = self.problems.report(&name.span(), message);
                problem.help(nearest(self.table, name.get_ref()));
            }
        }
    }
}

fn default<T: Decode>(key: &'static Key, text: &'static str) -> T {
    let mut problems = Problems::new("the default", text);
    let value = DeValue::parse(text).expect("the defaults of the reference are TOML");
    T::decode(At { key, value: &value }, &mut problems)
        .expect("the defaults of the reference are right")
}

/// Suggests a key for an unknown name.
fn nearest(table: Table, name: &str) -> String {
    let distance = |key: &Key| strsim::damerau_levenshtein(key.name, name);
    let near = Key::of(table).min_by_key(|key| distance(key));
    if let Some(near) = near.filter(|key| distance(key) <= SLIP.min(name.chars().count() / 2)) {
        return format!("did you mean `{}`?", near.name);
    }
    let elsewhere = KEYS.iter().find(|key| key.name == name);
    match (super::alias::key(name), elsewhere) {
        (Some(meant), _) if meant.table == table => {
            return format!("did you mean `{}`?", meant.name);
        }
        (Some(meant), _) | (None, Some(meant)) if meant.table == Table::Limits => {
            return format!("did you mean `limits = {{ {} }}`?", meant.usage());
        }
        (Some(meant), _) | (None, Some(meant)) => {
            return format!("`{}` belongs to {}", meant.name, meant.table.header());
        }
        (None, None) => {}
    }
    let names: Vec<String> = Key::of(table)
        .map(|key| format!("`{}`", key.name))
        .collect();
    format!("valid keys are {}", names.join(", "))
}
