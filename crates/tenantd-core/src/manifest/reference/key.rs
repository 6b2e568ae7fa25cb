//! One key of the reference.

use std::sync::LazyLock;

use super::{Kind, Table, limits, program, tenants};

/// What applies if a key is not set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fallback {
    /// The key is required.
    Required,
    /// This default, as TOML.
    Value(&'static str),
    /// A default that is described here in words.
    Derived(&'static str),
}

/// One key.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// The table that it belongs to.
    pub table: Table,
    /// Its name.
    pub name: &'static str,
    /// The type of its value.
    pub kind: Kind,
    /// What applies without it.
    pub fallback: Fallback,
    /// Its description.
    pub doc: &'static str,
    /// An example value, as TOML.
    pub example: &'static str,
}

/// The keys of each table, by its number. A manifest with thousands of tenants looks up hundreds of thousands.
static BY_TABLE: LazyLock<Vec<Vec<&'static Key>>> = LazyLock::new(|| {
    let mut tables: Vec<Vec<&'static Key>> = Vec::new();
    for key in Key::all() {
        let number = key.table as usize;
        if tables.len() <= number {
            tables.resize_with(number + 1, Vec::new);
        }
        tables[number].push(key);
    }
    tables
});

impl Key {
    /// Returns the key with this name in a table.
    #[must_use]
    pub fn find(table: Table, name: &str) -> Option<&'static Key> {
        Key::of(table).find(|key| key.name == name)
    }

    /// Every key, by table, in the order of the reference.
    pub fn all() -> impl Iterator<Item = &'static Key> {
        program::KEYS
            .iter()
            .chain(tenants::KEYS)
            .chain(limits::KEYS)
    }

    /// Returns the first key with this name in any table.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Key> {
        Key::all().find(|key| key.name == name)
    }

    /// The keys of one table.
    pub fn of(table: Table) -> impl Iterator<Item = &'static Key> {
        let keys = BY_TABLE.get(table as usize);
        keys.into_iter().flatten().copied()
    }

    /// The key with its example value, as in a manifest.
    #[must_use]
    pub fn usage(&self) -> String {
        format!("{} = {}", self.name, self.example)
    }
}
