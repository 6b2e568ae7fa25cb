//! Adds a tenant to the text of a manifest, or removes one. Comments, order and blank lines in the
//! rest of the text are kept.
//!
//! Values are not validated here: the edited manifest is read and checked like any other.

use toml_edit::{DocumentMut, InlineTable, Item, Table, TableLike, Value};

use super::suggest::closest;
use crate::name::TenantName;

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
    let mut whole: DocumentMut = text.parse().map_err(EditError::Syntax)?;
    let tenants = whole
        .entry("tenants")
        .or_insert_with(|| Item::Table(Table::new()));
    // The manifest uses `[tenants.NAME]` headers only: the new tenant gets one too.
    let headers = tenants.as_table().is_some_and(Table::is_implicit);
    let tenants = tenants.as_table_like_mut().ok_or(EditError::NoTable)?;
    if tenants.contains_key(tenant.as_str()) {
        return Err(EditError::There(tenant.clone()));
    }
    let (item, entry) = if headers {
        let mut table = Table::new();
        fill(&mut table, keys);
        let entry = format!("[tenants.{tenant}]\n{table}");
        table.decor_mut().set_prefix("\n");
        (Item::Table(table), entry)
    } else {
        let mut table = InlineTable::new();
        fill(&mut table, keys);
        let entry = format!("{tenant} = {}", table.to_string().trim());
        (Item::Value(Value::InlineTable(table)), entry)
    };
    tenants.insert(tenant.as_str(), item);
    Ok(Added {
        text: whole.to_string(),
        entry: entry.trim_end().to_owned(),
    })
}

/// Returns the text without a tenant and the comment directly above it.
///
/// # Errors
/// See [`EditError`].
pub fn remove(text: &str, tenant: &TenantName) -> Result<String, EditError> {
    let mut whole: DocumentMut = text.parse().map_err(EditError::Syntax)?;
    let tenants = whole.entry("tenants").or_insert(Item::Table(Table::new()));
    let tenants = tenants.as_table_like_mut().ok_or(EditError::NoTable)?;
    if tenants.remove(tenant.as_str()).is_none() {
        let names = tenants.iter().map(|(name, _)| name);
        return Err(EditError::Missing {
            tenant: tenant.clone(),
            near: closest(tenant.as_str(), names).map(str::to_owned),
        });
    }
    Ok(whole.to_string())
}

fn fill(table: &mut dyn TableLike, keys: &[(String, String)]) {
    for (key, text) in keys {
        let value = text.parse().unwrap_or_else(|_| Value::from(text.as_str()));
        table.insert(key, Item::Value(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# Ours.
[app]   # the program
name = \"wiki\"

[tenants] # who pays
# The first.
acme = { ip = \"10.0.0.11\" }   # since 2019

# Difficult.
beta   = { ip = \"10.0.0.12\", autostart = false }
";

    fn name(name: &str) -> TenantName {
        name.parse().unwrap()
    }

    fn keys(keys: &[(&str, &str)]) -> Vec<(String, String)> {
        let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        keys.iter().map(own).collect()
    }

    #[test]
    fn adding_appends_a_tenant_and_removing_restores_the_text() {
        let typed = keys(&[
            ("ip", "10.0.0.13"),
            ("autostart", "false"),
            ("user", "33"),
            ("arguments", "[\"-v\", \"{ip}\"]"),
        ]);
        let Added { text, entry } = add(TEXT, &name("crm"), &typed).unwrap();
        let line = "crm = { ip = \"10.0.0.13\", autostart = false, user = 33, arguments = [\"-v\", \"{ip}\"] }\n";
        assert_eq!(text, format!("{TEXT}{line}"));
        assert_eq!(entry, line.trim_end());
        assert_eq!(remove(&text, &name("crm")).unwrap(), TEXT);
    }

    #[test]
    fn removing_a_tenant_removes_only_its_own_comment() {
        let without = remove(TEXT, &name("acme")).unwrap();
        assert!(!without.contains("The first."), "{without}");
        for kept in [
            "# Ours.",
            "# the program",
            "# who pays",
            "# Difficult.",
            "beta   =",
        ] {
            assert!(without.contains(kept), "{kept}: {without}");
        }
    }

    #[test]
    fn edits_keep_the_form_of_the_table() {
        let headers = "[tenants.acme]\nip = \"10.0.0.11\"\n";
        let added = add(headers, &name("beta"), &keys(&[("ip", "10.0.0.12")])).unwrap();
        assert_eq!(added.text, format!("{headers}\n{}\n", added.entry));
        assert_eq!(added.entry, "[tenants.beta]\nip = \"10.0.0.12\"");
        let inline = "tenants = { acme = { ip = \"10.0.0.11\" } }\n";
        let added = add(inline, &name("beta"), &keys(&[("ip", "10.0.0.12")])).unwrap();
        let line = "beta = { ip = \"10.0.0.12\" }";
        assert!(added.text.contains(line), "{added:?}");
        assert_eq!(added.entry, line);
        let none = add("", &name("beta"), &keys(&[("ip", "10.0.0.12")])).unwrap();
        assert_eq!(none.text, "[tenants]\nbeta = { ip = \"10.0.0.12\" }\n");
    }

    #[test]
    fn invalid_edits_are_errors() {
        let add = |text, tenant| add(text, &name(tenant), &[]).unwrap_err();
        assert!(matches!(add(TEXT, "acme"), EditError::There(_)));
        assert!(matches!(add("tenants = 3", "acme"), EditError::NoTable));
        assert!(matches!(add("[", "acme"), EditError::Syntax(_)));
        let missing = remove(TEXT, &name("crm")).unwrap_err();
        assert_eq!(missing.to_string(), "the manifest has no tenant crm");
        let near = remove(TEXT, &name("amce")).unwrap_err();
        assert!(near.to_string().ends_with("did you mean acme?"), "{near}");
        let none = remove("", &name("acme")).unwrap_err();
        assert!(matches!(none, EditError::Missing { .. }));
    }
}
