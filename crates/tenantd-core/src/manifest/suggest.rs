//! Suggestions: the key that an unknown name may mean, and how a value of a wrong type is written.

use toml::de::DeValue;

use super::alias;
use super::limit::near_size;
use super::reference::{Key, Kind, Table};

/// An unknown name within this edit distance of a key is taken for a misspelling of it.
const SLIP: usize = 2;

/// The shortest abbreviation of a key that is recognized.
const SHORT: usize = 3;

/// Suggests a key for an unknown name in a table.
pub(super) fn nearest(table: Table, name: &str) -> String {
    // What another program calls it is a better guess than a similar name.
    if let Some(meant) = alias::key(name, table).filter(|meant| meant.table == table) {
        return format!("did you mean `{}`?", meant.name);
    }
    let distance = |key: &Key| strsim::damerau_levenshtein(key.name, name);
    let near = Key::of(table).min_by_key(|key| distance(key));
    if let Some(near) = near.filter(|key| distance(key) <= SLIP.min(name.chars().count() / 2)) {
        return format!("did you mean `{}`?", near.name);
    }
    let short = |key: &Key| name.len() >= SHORT && key.name.starts_with(name);
    if let Some(long) = Key::of(table).find(|key| short(key)) {
        return format!("did you mean `{}`?", long.name);
    }
    let elsewhere = Key::named(name);
    match (alias::key(name, table), elsewhere) {
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

/// How a value of a wrong type is written correctly, if that is likely.
pub(super) fn retyped(key: &Key, value: &DeValue<'_>) -> Option<String> {
    let text = value.as_str().filter(|text| !text.contains(['"', '\\']));
    let number = match value {
        DeValue::Integer(integer) if integer.radix() == 10 => Some(integer.as_str()),
        _ => None,
    };
    let right = match (key.kind, text, number) {
        (Kind::Duration { .. }, None, Some(seconds)) => format!("\"{seconds}s\""),
        (Kind::Permissions | Kind::Umask, None, Some(digits)) if digits.len() <= 4 => {
            format!("\"{digits:0>4}\"")
        }
        (Kind::Count { .. }, Some(text), None) => text.parse::<u32>().ok()?.to_string(),
        (Kind::Integer { .. }, Some(text), None) => text.parse::<i32>().ok()?.to_string(),
        (Kind::Flag, Some(text), None) => match text.to_lowercase().as_str() {
            "true" | "yes" | "on" | "1" => "true".to_owned(),
            "false" | "no" | "off" | "0" => "false".to_owned(),
            _ => return None,
        },
        (Kind::Flag, None, Some("0")) => "false".to_owned(),
        (Kind::Flag, None, Some("1")) => "true".to_owned(),
        (
            Kind::Command | Kind::Texts(_) | Kind::Paths(_) | Kind::Folders | Kind::Private,
            Some(text),
            None,
        ) => array(text),
        (Kind::Table(table), text, number) => {
            let inner = inner(table, text.is_some())?;
            let written = match (text, number) {
                (Some(text), _) if table == Table::Memory => {
                    format!("\"{}\"", near_size(text).unwrap_or(text.to_owned()))
                }
                (Some(text), _) => format!("\"{text}\""),
                (None, Some(number)) => number.to_owned(),
                (None, None) => return None,
            };
            format!("{{ {inner} = {written} }}")
        }
        _ => return None,
    };
    Some(format!("{} = {right}", key.name))
}

/// A command line as an array of its words.
pub(super) fn array(text: &str) -> String {
    let words = text.split_whitespace().map(|word| format!("\"{word}\""));
    let words: Vec<String> = words.collect();
    format!("[{}]", words.join(", "))
}

/// The key of a table that is meant by a value in the place of the table.
fn inner(table: Table, is_text: bool) -> Option<&'static str> {
    match (table, is_text) {
        (Table::Datastore, true) => Some("path"),
        (Table::Stop, true) => Some("signal"),
        (Table::Restart, true) => Some("when"),
        (Table::Ready, false) => Some("tcp"),
        (Table::Limits, false) => Some("open_files"),
        (Table::Memory | Table::Disk, _) | (Table::Pids, false) => Some("max"),
        (Table::Cpu, _) => Some("quota"),
        _ => None,
    }
}

/// A name of the list that is close to an unknown one.
#[must_use]
pub fn closest<'a>(unknown: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let distance = |name: &&str| strsim::damerau_levenshtein(name, unknown);
    let near = names.min_by_key(distance)?;
    let limit = SLIP.min(unknown.chars().count() / 2);
    (distance(&near) <= limit || near.starts_with(unknown)).then_some(near)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_to_the_keys_that_are_meant() {
        assert_eq!(nearest(Table::App, "usr"), "did you mean `user`?");
        assert_eq!(nearest(Table::App, "env"), "did you mean `environment`?");
        assert_eq!(nearest(Table::Top, "name"), "`name` belongs to [app]");
        assert!(nearest(Table::Tenant, "colour").starts_with("valid keys are `ip`"));
    }

    #[test]
    fn the_closest_name_is_close() {
        let names = || ["acme", "globex"].into_iter();
        assert_eq!(closest("amce", names()), Some("acme"));
        assert_eq!(closest("glob", names()), Some("globex"));
        assert_eq!(closest("crm", names()), None);
    }
}
