//! Adds a tenant to the text of a manifest, or removes one. Comments, order and blank lines in the
//! rest of the text are kept.
//!
//! Values are not validated here: the edited manifest is read and checked like any other.

use toml_edit::{DocumentMut, InlineTable, Item, Table, TableLike, Value};

use crate::name::TenantName;

/// Why a manifest cannot be edited.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// The text is not valid TOML.
    #[error("it is not valid TOML (see `tenantd check`)")]
    Syntax(#[source] toml_edit::TomlError),
    /// `tenants` is not a table.
    #[error("its `tenants` is not a table (see `tenantd check`)")]
    NoTable,
    /// The tenant exists already.
    #[error("it already has a tenant {0}")]
    There(TenantName),
    /// The tenant does not exist.
    #[error("it has no tenant {0}")]
    Missing(TenantName),
}

/// Returns the text with a tenant added after the existing ones. A value that parses as TOML is
/// written as it is, any other as a string.
///
/// # Errors
/// See [`EditError`].
pub fn add(
    text: &str,
    tenant: &TenantName,
    keys: &[(String, String)],
) -> Result<String, EditError> {
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
    let item = if headers {
        let mut table = Table::new();
        fill(&mut table, keys);
        table.decor_mut().set_prefix("\n");
        Item::Table(table)
    } else {
        let mut table = InlineTable::new();
        fill(&mut table, keys);
        Item::Value(Value::InlineTable(table))
    };
    tenants.insert(tenant.as_str(), item);
    Ok(whole.to_string())
}

/// Returns the text without a tenant and the comment directly above it.
///
/// # Errors
/// See [`EditError`].
pub fn remove(text: &str, tenant: &TenantName) -> Result<String, EditError> {
    let mut whole: DocumentMut = text.parse().map_err(EditError::Syntax)?;
    let missing = || EditError::Missing(tenant.clone());
    let tenants = whole.get_mut("tenants").ok_or_else(missing)?;
    let tenants = tenants.as_table_like_mut().ok_or(EditError::NoTable)?;
    tenants.remove(tenant.as_str()).ok_or_else(missing)?;
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
        let added = add(TEXT, &name("crm"), &typed).unwrap();
        let line = "crm = { ip = \"10.0.0.13\", autostart = false, user = 33, arguments = [\"-v\", \"{ip}\"] }\n";
        assert_eq!(added, format!("{TEXT}{line}"));
        assert_eq!(remove(&added, &name("crm")).unwrap(), TEXT);
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
        assert_eq!(
            added,
            format!("{headers}\n[tenants.beta]\nip = \"10.0.0.12\"\n")
        );
        let inline = "tenants = { acme = { ip = \"10.0.0.11\" } }\n";
        let added = add(inline, &name("beta"), &keys(&[("ip", "10.0.0.12")])).unwrap();
        assert!(added.contains("beta = { ip = \"10.0.0.12\" }"), "{added}");
        let none = add("", &name("beta"), &keys(&[("ip", "10.0.0.12")])).unwrap();
        assert_eq!(none, "[tenants]\nbeta = { ip = \"10.0.0.12\" }\n");
    }

    #[test]
    fn invalid_edits_are_errors() {
        let add = |text, tenant| add(text, &name(tenant), &[]).unwrap_err();
        assert!(matches!(add(TEXT, "acme"), EditError::There(_)));
        assert!(matches!(add("tenants = 3", "acme"), EditError::NoTable));
        assert!(matches!(add("[", "acme"), EditError::Syntax(_)));
        let missing = remove(TEXT, &name("crm")).unwrap_err();
        assert!(matches!(missing, EditError::Missing(_)));
    }
}
