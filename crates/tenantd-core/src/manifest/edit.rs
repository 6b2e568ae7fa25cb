//! Adds a tenant to the text of a manifest, or removes one. The rest of the text is kept byte by byte:
//! comments, order, blank lines, line ends, a byte order mark, and a missing line end at the end.
//!
//! Values are not validated here: the edited manifest is read and checked like any other.

mod keys;
mod lines;
mod rates;
mod set;
#[cfg(test)]
mod tests;

use toml_edit::{DocumentMut, InlineTable, Item, Table, TableLike, Value};

pub use self::keys::keys;
pub use self::set::{set, split};

use super::suggest::closest;
use crate::name::TenantName;

/// Tables of a tenant in which all values are strings: `vars.port=80` is `"80"`.
const STRINGS: [&str; 3] = ["environment", "vars", "secrets"];

/// Why a manifest cannot be edited.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// The text is not valid TOML.
    #[error("the manifest is not valid TOML: `tenantd check` shows where")]
    Syntax(#[source] toml_edit::TomlError),
    /// `tenants` is not a table.
    #[error("`tenants` in the manifest is not a table: `tenantd check` shows where")]
    NoTable,
    /// The tenant exists already.
    #[error(
        "the manifest already has a tenant {0}: choose another name, or edit its line and type \
         `tenantd reload`"
    )]
    There(TenantName),
    /// The tenant does not exist.
    #[error("the manifest has no tenant {tenant}{}", did_you_mean(near.as_deref()))]
    Missing {
        /// The tenant.
        tenant: TenantName,
        /// A tenant with a similar name.
        near: Option<String>,
    },
    /// There is no such limit.
    #[error("there is no limit `{key}`{}", did_you_mean(near.as_deref()))]
    NoLimit {
        /// What was given.
        key: String,
        /// A limit with a similar name.
        near: Option<String>,
    },
    /// A device without a rate.
    #[error("`{0}` is no limit of a block device: type for example `io.max=/dev/sda:wbps=10MiB`")]
    NoRate(String),
}

fn did_you_mean(near: Option<&str>) -> String {
    near.map_or_else(String::new, |near| format!("; did you mean {near}?"))
}

/// A text with a tenant added to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Added {
    /// The whole text.
    pub text: String,
    /// What was added: one line, or a header and a line for each key.
    pub entry: String,
}

/// Returns the text with a tenant added after the existing ones. A value that parses as TOML is
/// written as it is, any other as a string.
///
/// # Errors
/// See [`EditError`].
pub fn add(text: &str, tenant: &TenantName, keys: &[(String, String)]) -> Result<Added, EditError> {
    let mut whole = parse(text)?;
    let is_new = !whole.contains_key("tenants");
    let tenants = whole
        .entry("tenants")
        .or_insert_with(|| Item::Table(Table::new()));
    // The manifest uses `[tenants.NAME]` headers only: the new tenant gets one too.
    let headers = tenants.as_table().is_some_and(Table::is_implicit);
    if (tenants.as_table_like())
        .ok_or(EditError::NoTable)?
        .contains_key(tenant.as_str())
    {
        return Err(EditError::There(tenant.clone()));
    }
    let (item, entry) = if headers {
        let mut table = Table::new();
        fill(&mut table, keys);
        let entry = format!("[tenants.{tenant}]\n{table}");
        (Item::Table(table), entry)
    } else {
        let mut table = InlineTable::new();
        fill(&mut table, keys);
        let entry = format!("{tenant} = {}", table.to_string().trim());
        (Item::Value(Value::InlineTable(table)), entry)
    };
    let entry = entry.trim_end().to_owned();
    insert(tenants, tenant, item);
    let rest = whole.to_string();
    let lines = match is_new {
        true => format!("[tenants]\n{entry}"),
        false => entry.clone(),
    };
    let by_lines = lines::with(text, &lines, headers || is_new);
    let text = match by_lines.filter(|by_lines| means_the_same(by_lines, &rest)) {
        Some(by_lines) => by_lines,
        // The tenants are an inline table.
        None => lines::carry(text, &rest),
    };
    Ok(Added { text, entry })
}

/// Inserts a tenant. In an inline table it is written as the last one is: on a line of its own, if
/// that is.
fn insert(tenants: &mut Item, tenant: &TenantName, item: Item) {
    let Some(table) = tenants.as_inline_table_mut() else {
        if let Some(table) = tenants.as_table_like_mut() {
            table.insert(tenant.as_str(), item);
        }
        return;
    };
    let last = table.iter().last().map(|(name, _)| name.to_owned());
    let mut space = String::from(" ");
    let mut end = None;
    if let Some((key, value)) = last
        .as_deref()
        .and_then(|last| table.get_key_value_mut(last))
    {
        let before = key.leaf_decor().prefix().and_then(|it| it.as_str());
        let line = before.and_then(|before| before.rfind('\n').map(|at| &before[at..]));
        space = line.unwrap_or(" ").to_owned();
        let decor = value.as_value_mut().map(Value::decor_mut);
        end = decor.and_then(|decor| {
            let end = decor.suffix().cloned();
            decor.set_suffix("");
            end
        });
    }
    let Item::Value(value) = item else {
        return;
    };
    table.insert(tenant.as_str(), value);
    if let Some((mut key, value)) = table.get_key_value_mut(tenant.as_str()) {
        key.leaf_decor_mut().set_prefix(space);
        if let (Some(value), Some(end)) = (value.as_value_mut(), end) {
            value.decor_mut().set_suffix(end);
        }
    }
}

/// Returns the text without a tenant and the comment directly above it.
///
/// # Errors
/// See [`EditError`].
pub fn remove(text: &str, tenant: &TenantName) -> Result<String, EditError> {
    let mut whole = parse(text)?;
    let tenants = whole.entry("tenants").or_insert(Item::Table(Table::new()));
    let tenants = tenants.as_table_like_mut().ok_or(EditError::NoTable)?;
    if tenants.remove(tenant.as_str()).is_none() {
        return Err(missing(tenant, tenants));
    }
    let rest = whole.to_string();
    let by_lines = lines::without(text, tenant.as_str());
    match by_lines.filter(|by_lines| means_the_same(by_lines, &rest)) {
        Some(by_lines) => Ok(by_lines),
        // Something else is on the same lines.
        None => Ok(lines::carry(text, &rest)),
    }
}

fn missing(tenant: &TenantName, tenants: &dyn TableLike) -> EditError {
    let names = tenants.iter().map(|(name, _)| name);
    EditError::Missing {
        tenant: tenant.clone(),
        near: closest(tenant.as_str(), names).map(str::to_owned),
    }
}

fn parse(text: &str) -> Result<DocumentMut, EditError> {
    lines::plain(text).parse().map_err(EditError::Syntax)
}

/// Whether two manifests have the same values. Without tenants, they may have a table for them or not.
fn means_the_same(one: &str, other: &str) -> bool {
    let values = |text: &str| {
        let mut whole: toml::Table = toml::from_str(&lines::plain(text)).ok()?;
        let tenants = whole.get("tenants").and_then(toml::Value::as_table);
        if tenants.is_some_and(toml::Table::is_empty) {
            whole.remove("tenants");
        }
        Some(whole)
    };
    values(one).is_some_and(|one| Some(one) == values(other))
}

/// Sets the keys. `vars.colour` is the key `colour` of the table `vars`.
fn fill(table: &mut dyn TableLike, keys: &[(String, String)]) {
    for (key, text) in keys {
        let parsed = text.parse().unwrap_or_else(|_| Value::from(text.as_str()));
        let Some((outer, inner)) = key.split_once('.') else {
            table.insert(key, Item::Value(parsed));
            continue;
        };
        let value = match STRINGS.contains(&outer) {
            true => Value::from(text.as_str()),
            false => parsed,
        };
        let new = || Item::Value(Value::InlineTable(InlineTable::new()));
        let nested = table.entry(outer).or_insert_with(new);
        match nested.as_table_like_mut() {
            Some(nested) => drop(nested.insert(inner, Item::Value(value))),
            // It was given as a whole before, and is no table.
            None => *nested = Item::Value(value),
        }
    }
}
