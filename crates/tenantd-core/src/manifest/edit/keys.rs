//! The keys of a tenant, for another manifest.

use toml_edit::{Item, Value};

use super::{EditError, parse};
use crate::manifest::suggest::closest;
use crate::name::TenantName;

/// The keys of a tenant's entry with their values in TOML, as [`add`](super::add) takes them.
///
/// # Errors
/// See [`EditError`].
pub fn keys(text: &str, tenant: &TenantName) -> Result<Vec<(String, String)>, EditError> {
    let whole = parse(text)?;
    let tenants = whole.get("tenants").and_then(Item::as_table_like);
    let tenants = tenants.ok_or(EditError::NoTable)?;
    let entry = tenants.get(tenant.as_str()).and_then(Item::as_table_like);
    let entry = entry.ok_or_else(|| EditError::Missing {
        tenant: tenant.clone(),
        near: closest(tenant.as_str(), tenants.iter().map(|(name, _)| name)).map(str::to_owned),
    })?;
    let keys = entry.iter().filter_map(|(key, item)| {
        let value = item.clone().into_value().ok()?;
        Some((key.to_owned(), plain(value)))
    });
    Ok(keys.collect())
}

/// A value on one line, without comments.
fn plain(mut value: Value) -> String {
    undecorate(&mut value);
    value.to_string().trim().to_owned()
}

fn undecorate(value: &mut Value) {
    value.decor_mut().clear();
    match value {
        Value::Array(array) => {
            array.iter_mut().for_each(undecorate);
            array.set_trailing("");
            array.set_trailing_comma(false);
            array.fmt();
        }
        Value::InlineTable(table) => {
            for (_, value) in table.iter_mut() {
                undecorate(value);
            }
            table.fmt();
        }
        Value::String(_)
        | Value::Integer(_)
        | Value::Float(_)
        | Value::Boolean(_)
        | Value::Datetime(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::edit::add;

    #[test]
    fn the_keys_of_each_notation_are_those_of_another_manifest() {
        let text = r#"
[tenants]
one = { ip = ["10.77.0.11", "fd00::1"], limits.memory.max = "1GiB", vars = { port = "80" } }
[tenants.two]
ip = [
  "10.77.0.11", # of the office
  "fd00::1",
]
[tenants.two.limits.memory]
max = "1GiB" # enough
[tenants.two.vars]
port = "80"
"#;
        let name = |name: &str| name.parse::<TenantName>().unwrap();
        let one = keys(text, &name("one")).unwrap();
        let expected = [
            ("ip", r#"["10.77.0.11", "fd00::1"]"#),
            ("limits", r#"{ memory = { max = "1GiB" } }"#),
            ("vars", r#"{ port = "80" }"#),
        ];
        // `memory.max = 1` is the same as `memory = { max = 1 }`.
        let means = |keys: &[(String, String)]| {
            let lines = keys.iter().map(|(key, value)| format!("{key} = {value}\n"));
            toml::from_str::<toml::Table>(&lines.collect::<String>()).unwrap()
        };
        let expected = means(&expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
        assert_eq!(means(&one), expected);
        assert_eq!(means(&keys(text, &name("two")).unwrap()), expected);
        let added = add("[tenants]\n", &name("three"), &one).unwrap();
        assert_eq!(means(&keys(&added.text, &name("three")).unwrap()), expected);
        let missing = keys(text, &name("ones")).unwrap_err().to_string();
        assert!(missing.contains("did you mean one?"), "{missing}");
    }
}
