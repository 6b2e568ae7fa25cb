//! Parses TOML text into the manifest as written, and reports every problem with its position.
//!
//! It decodes key by key, because a decoder of whole tables stops at the first error.

mod files;
mod folders;
pub(super) mod limits;
mod operators;
mod tables;

use std::borrow::Cow;
use std::net::IpAddr;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::free::Free;
use super::problem::{Problems, Span};
use super::raw::{Known, Manifest, Network, Overrides, Read, Tenant};
use super::reference::{Fallback, Key, Kind, Table};
use super::suggest::nearest;
use super::syntax::{self, Mended};
use super::value::{At, Decode, Ips, type_words};
use crate::name::TenantName;

/// Reads a manifest and adds what is wrong with it to `problems`.
pub(super) fn manifest(text: &str, problems: &mut Problems) -> Manifest {
    let (whole, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        return tables(whole.get_ref(), None, problems);
    }
    let mended = syntax::mend(text, problems);
    problems.end_syntax();
    let (whole, _) = DeTable::parse_recoverable(&mended.text);
    tables(whole.get_ref(), Some(&mended), problems)
}

fn tables<'v, 's>(
    whole: &'v DeTable<'s>,
    mended: Option<&'v Mended>,
    problems: &mut Problems,
) -> Manifest {
    let mut top = Reader {
        table: Table::Top,
        owner: Owner::None,
        at: 0..0,
        entries: Some(whole),
        broken: mended.is_some(),
        mended,
        problems,
        asked: Vec::new(),
    };
    let mut network: Network = Read::read(&mut top, "network");
    if top.is_broken_at("network") && network.gateway.is_none() {
        // No address can be checked: the gateway may be in the part that could not be parsed.
        network.subnet = None;
    }
    let mut free = Free::new(&network, addresses(whole));
    let manifest = Manifest {
        app: Read::read(&mut top, "app"),
        network,
        control: Read::read(&mut top, "control"),
        defaults: Read::read(&mut top, "defaults"),
        tenants: tenants(&mut top, &mut free),
        free,
    };
    top.finish();
    manifest
}

/// The addresses that tenants have.
fn addresses(whole: &DeTable<'_>) -> impl Iterator<Item = IpAddr> {
    let tenants = whole
        .get("tenants")
        .and_then(|value| value.get_ref().as_table());
    let ips = tenants.into_iter().flatten();
    let ips = ips.filter_map(|(_, tenant)| tenant.get_ref().as_table()?.get("ip"));
    let ips = ips.flat_map(|ip| match ip.get_ref().as_array() {
        Some(items) => items.as_ref(),
        None => std::slice::from_ref(ip),
    });
    ips.filter_map(|ip| ip.get_ref().as_str()?.parse().ok())
}

fn tenants(top: &mut Reader<'_, '_, '_>, free: &mut Free) -> Vec<Tenant> {
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
        .filter_map(|(name, value)| tenant(top, name, value, free));
    tenants.collect()
}

fn tenant<'v, 's>(
    top: &mut Reader<'_, 'v, 's>,
    name: &'v Spanned<Cow<'s, str>>,
    value: &'v Spanned<DeValue<'s>>,
    free: &mut Free,
) -> Option<Tenant> {
    let at = name.span();
    let checked = tenant_name(name, top.problems);
    let Some(table) = value.get_ref().as_table() else {
        let found = type_words(value.get_ref());
        let name = name.get_ref();
        let text = value.get_ref().as_str().map(str::to_owned);
        let free = || free.suggest().map(|address| address.to_string());
        let ip = text.or_else(free).unwrap_or("10.77.0.11".to_owned());
        top.problems
            .report(
                &value.span(),
                format!("tenant {name} must be a table, not {found}"),
            )
            .help(format!("write `{name} = {{ ip = {ip:?} }}`"));
        return None;
    };
    let broken = top.is_broken(&at, value);
    let mut reader = Reader {
        table: Table::Tenant,
        owner: Owner::Tenant(name.get_ref()),
        at: at.clone(),
        entries: Some(table),
        broken,
        mended: top.mended,
        problems: &mut *top.problems,
        asked: Vec::new(),
    };
    let tenant = Tenant {
        at,
        name: checked,
        ip: ip(&mut reader, free),
        mac: reader.value("mac"),
        datastore_said: table.contains_key("datastore"),
        datastore: reader.value("datastore"),
        publish: reader.value("publish"),
        overrides: Overrides::keys(&mut reader),
    };
    reader.finish();
    Some(tenant)
}

/// Reads the addresses of a tenant. The help text of a problem names a free one.
fn ip(reader: &mut Reader<'_, '_, '_>, free: &mut Free) -> Known<Ips> {
    let before = reader.problems.len();
    let ip = reader.value("ip");
    if reader.problems.len() > before
        && let Some(problem) = reader.problems.last()
    {
        problem.help(match free.suggest() {
            Some(address) => format!("write `ip = \"{address}\"`, which is free"),
            None => "write an address such as `ip = \"10.77.0.11\"`".to_owned(),
        });
    }
    ip
}

fn tenant_name(name: &Spanned<Cow<'_, str>>, problems: &mut Problems) -> Option<TenantName> {
    let text = name.get_ref();
    let why = match text.parse() {
        Ok(name) => return Some(name),
        Err(why) => why,
    };
    let problem = problems.report(&name.span(), format!("{text:?} is not a valid name"));
    problem.note(why.to_string());
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

/// Whose a table is, where its own header does not say it.
#[derive(Clone, Copy)]
enum Owner<'v> {
    /// The header says it.
    None,
    /// `[defaults]`.
    Defaults,
    /// The tenant of this name.
    Tenant(&'v str),
}

/// Reads one table. At the end, it reports the keys that are unknown.
pub(super) struct Reader<'p, 'v, 's> {
    table: Table,
    owner: Owner<'v>,
    /// The position of the header, or of the tenant's name.
    at: Span,
    /// `None` if the value is missing or is not a table.
    entries: Option<&'v DeTable<'s>>,
    /// Whether missing keys are not reported: a part of the table could not be parsed, or the whole
    /// table is missing and has been reported.
    broken: bool,
    /// The places that could not be parsed, if there are any.
    mended: Option<&'v Mended>,
    problems: &'p mut Problems,
    asked: Vec<&'static str>,
}

impl<'v, 's> Reader<'_, 'v, 's> {
    /// The position of the table's header, or of the tenant's name.
    pub(super) fn at(&self) -> &Span {
        &self.at
    }

    fn find(&mut self, name: &'static str) -> (&'static Key, Option<&'v Spanned<DeValue<'s>>>) {
        let key = Key::find(self.table, name).expect("every key that is read is in the reference");
        self.asked.push(name);
        (key, self.entries.and_then(|entries| entries.get(name)))
    }

    /// Whether a key is set, or may be set in a part that could not be parsed.
    pub(super) fn may_have(&self, name: &str) -> bool {
        self.broken
            || self
                .entries
                .is_some_and(|entries| entries.contains_key(name))
    }

    /// Whether a part of the table with this name may not have been parsed.
    fn is_broken_at(&self, name: &str) -> bool {
        let entry = self.entries.and_then(|entries| entries.get_key_value(name));
        entry.map_or(self.broken, |(key, value)| {
            self.is_broken(&key.span(), value)
        })
    }

    /// Whether a part of this table of ours may not have been parsed.
    fn is_broken(&self, key: &Span, value: &Spanned<DeValue<'_>>) -> bool {
        let Some(mended) = self.mended else {
            return false;
        };
        let place = value.span();
        match mended.text.as_bytes().get(place.start) {
            Some(b'{') => mended.has_hole(&place),
            Some(b'[') => mended.has_hole_below(place.start),
            // A dotted key: its table may have other parts, anywhere.
            _ => place == *key || mended.has_hole(&place),
        }
    }

    /// The table, for a message.
    fn whose(&self) -> String {
        match (self.table, self.owner) {
            (Table::Tenant, Owner::Tenant(name)) => format!("tenant {name}"),
            (Table::Process, Owner::Tenant(name)) => {
                format!("the process attributes of tenant {name}")
            }
            (_, Owner::Tenant(name)) => format!("the limits of tenant {name}"),
            (
                Table::Limits | Table::Memory | Table::Cpu | Table::Io | Table::Pids | Table::Disk,
                Owner::Defaults,
            ) => "[defaults.limits]".to_owned(),
            (Table::Process, Owner::Defaults) => "[defaults.process]".to_owned(),
            (Table::Folder, _) => "the folder".to_owned(),
            (Table::Private, _) => "the private folder".to_owned(),
            (Table::File, _) => "the file".to_owned(),
            (Table::Operator, _) => "the entry of `operators`".to_owned(),
            (table, _) => table.header().to_owned(),
        }
    }

    fn missing(&mut self, key: &Key) {
        // A table may have been in the part that could not be parsed.
        if self.broken || (self.mended.is_some() && matches!(key.kind, Kind::Table(_))) {
            return;
        }
        let whose = self.whose();
        let message = match self.table {
            Table::Top => format!("`{}` is missing", key.name),
            Table::Tenant => format!("{whose} has no `{}`", key.name),
            _ => format!("`{}` is missing in {whose}", key.name),
        };
        let help = match key.kind {
            Kind::Table(Table::App) => "add `[app]`, with at least `name` and `command`, and `datastore` if the program has data".to_owned(),
            _ => format!("add `{}`", key.usage()),
        };
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
            // The key may be in the part that could not be parsed.
            Fallback::Value(_) if self.broken && self.mended.is_some() => None,
            Fallback::Value(text) => Some(Spanned::new(self.at.clone(), default(key, text))),
            Fallback::Derived(_) => None,
        }
    }

    /// Returns a reader of a nested table. If that table is missing, its keys have their defaults.
    pub(super) fn table(&mut self, name: &'static str, table: Table) -> Reader<'_, 'v, 's> {
        let (key, value) = self.find(name);
        let owner = match self.table {
            Table::Defaults => Owner::Defaults,
            _ => self.owner,
        };
        let mut broken = self.broken;
        let (at, entries) = match value {
            Some(value) => {
                let at = self.entries.and_then(|entries| entries.get_key_value(name));
                let at = at.map_or(value.span(), |(name, _)| name.span());
                let entries = value.get_ref().as_table();
                broken = self.is_broken(&at, value);
                if entries.is_none() {
                    At { key, value }.wrong_type(self.problems, "a table");
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
        Reader {
            table,
            owner,
            at,
            entries,
            broken,
            mended: self.mended,
            problems: self.problems,
            asked: Vec::new(),
        }
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
                let message = format!("unknown key `{}` in {}", name.get_ref(), self.whose());
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
