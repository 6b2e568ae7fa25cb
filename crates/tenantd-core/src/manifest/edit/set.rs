//! Sets limits of a tenant in the text of a manifest. The lines of other keys stay as they are.

use toml_edit::{InlineTable, Item, TableLike, Value};

use super::rates::rates;
use super::{EditError, lines, missing, parse};
use crate::cgroup::KEYS;
use crate::manifest::suggest::closest;
use crate::name::TenantName;

/// The limits of processes, which have no second part.
const OF_PROCESSES: [&str; 3] = ["open_files", "core", "locked_memory"];

/// Returns the text with these limits of a tenant: `memory.max` is the key `max` of the table `memory` of its
/// `limits`. A value that parses as TOML is written as it is, any other as a string.
///
/// # Errors
/// See [`EditError`].
pub fn set(
    text: &str,
    tenant: &TenantName,
    limits: &[(String, String)],
) -> Result<String, EditError> {
    let mut whole = parse(text)?;
    let tenants = whole.get_mut("tenants");
    let tenants = tenants.and_then(Item::as_table_like_mut);
    let tenants = tenants.ok_or(EditError::NoTable)?;
    if !tenants.contains_key(tenant.as_str()) {
        return Err(missing(tenant, tenants));
    }
    let Some(own) = tenants
        .get_mut(tenant.as_str())
        .and_then(Item::as_table_like_mut)
    else {
        return Err(EditError::NoTable);
    };
    for (key, text) in limits {
        let value = text.parse().unwrap_or_else(|_| Value::from(text.as_str()));
        let of = table(own, "limits", false);
        let of = of.ok_or(EditError::NoTable)?;
        match split(key)? {
            ("io", Some("max")) if !value.is_inline_table() => {
                let (device, rates) = rates(text).ok_or(EditError::NoRate(text.clone()))?;
                let io = table(of, "io", true).ok_or(EditError::NoTable)?;
                let all = table(io, "max", false).ok_or(EditError::NoTable)?;
                put(all, &device, Value::InlineTable(rates));
            }
            (outer, Some(inner)) => {
                let nested = table(of, outer, true).ok_or(EditError::NoTable)?;
                put(nested, inner, value);
            }
            (outer, None) => put(of, outer, value),
        }
    }
    Ok(lines::carry(text, &whole.to_string()))
}

/// The parts of a key of `limits`: `hugetlb` and `2MB`, `memory` and `max`, or `open_files`.
///
/// # Errors
/// [`EditError::NoLimit`] if there is no such limit.
pub fn split(key: &str) -> Result<(&str, Option<&str>), EditError> {
    let is_known = KEYS.iter().any(|it| it.name == key && key != "hugetlb");
    match key.split_once('.') {
        None if OF_PROCESSES.contains(&key) => Ok((key, None)),
        Some(("hugetlb", size)) if !size.is_empty() => Ok(("hugetlb", Some(size))),
        Some((outer, inner)) if is_known => Ok((outer, Some(inner))),
        Some(_) | None => {
            let names = KEYS.iter().map(|it| it.name).chain(OF_PROCESSES);
            let near = match key {
                "memory" | "ram" => Some("memory.max"),
                "cpu" => Some("cpu.quota"),
                "pids" | "processes" => Some("pids.max"),
                "hugetlb" => Some("hugetlb.2MB"),
                "disk" | "quota" => Some("disk.max"),
                other => closest(other, names),
            };
            Err(EditError::NoLimit {
                key: key.to_owned(),
                near: near.map(str::to_owned),
            })
        }
    }
}

/// The table of this name, which is made if it is not there.
fn table<'t>(
    of: &'t mut dyn TableLike,
    name: &str,
    is_dotted: bool,
) -> Option<&'t mut dyn TableLike> {
    if !of.contains_key(name) {
        let mut table = InlineTable::new();
        table.set_dotted(is_dotted);
        insert(of, name, Value::InlineTable(table));
    }
    of.get_mut(name)?.as_table_like_mut()
}

/// Inserts a value after the others. In an inline table the last one has the space before the brace.
fn insert(table: &mut dyn TableLike, name: &str, mut value: Value) {
    let last = table.iter().last().map(|(name, _)| name.to_owned());
    let last = last.and_then(|last| table.get_mut(&last)?.as_value_mut());
    if let Some(last) = last {
        let space = last.decor().suffix().and_then(|it| it.as_str());
        let space = space.filter(|it| it.chars().all(|char| char == ' '));
        if let Some(space) = space.map(str::to_owned) {
            last.decor_mut().set_suffix("");
            value.decor_mut().set_suffix(space);
        }
    }
    table.insert(name, Item::Value(value));
}

/// Sets a value. What is around the old one, such as a comment behind it, stays.
fn put(table: &mut dyn TableLike, name: &str, mut value: Value) {
    match table.get_mut(name).and_then(Item::as_value_mut) {
        Some(old) => {
            *value.decor_mut() = old.decor().clone();
            *old = value;
        }
        None => insert(table, name, value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(text: &str, limits: &[(&str, &str)]) -> String {
        let limits: Vec<_> = limits
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        set(text, &"acme".parse().unwrap(), &limits).unwrap()
    }

    #[test]
    fn a_limit_is_written_where_the_tenant_has_its_limits() {
        let max = [("memory.max", "1GiB")];
        for (before, after) in [
            (
                "# One.\r\n[tenants]\r\n# Two.\r\nacme = { ip = \"10.0.0.1\" } # three\r\nbolt = { ip = \"10.0.0.2\" }",
                "# One.\r\n[tenants]\r\n# Two.\r\nacme = { ip = \"10.0.0.1\", limits = { memory.max = \"1GiB\" } } # \
                 three\r\nbolt = { ip = \"10.0.0.2\" }",
            ),
            (
                "[tenants]\nacme = { limits = { memory.max = \"64 MiB\", cpu.quota = 1 } }\n",
                "[tenants]\nacme = { limits = { memory.max = \"1GiB\", cpu.quota = 1 } }\n",
            ),
            (
                "[tenants]\nacme = { ip = \"10.0.0.1\", limits.memory.low = 1 }\n",
                "[tenants]\nacme = { ip = \"10.0.0.1\", limits.memory.low = 1, limits.memory.max = \"1GiB\" }\n",
            ),
            (
                "[tenants.acme]\nip = \"10.0.0.1\"\n\n[tenants.acme.limits]\nmemory.max = 5 # enough\npids.max = 4\n",
                "[tenants.acme]\nip = \"10.0.0.1\"\n\n[tenants.acme.limits]\nmemory.max = \"1GiB\" # enough\npids.max = 4\n",
            ),
            (
                "[tenants.acme.limits.memory]\nmax = 5\n\n# Below.\n[tenants.bolt]\n",
                "[tenants.acme.limits.memory]\nmax = \"1GiB\"\n\n# Below.\n[tenants.bolt]\n",
            ),
            (
                "[tenants.acme]\nip = \"10.0.0.1\"\n",
                "[tenants.acme]\nip = \"10.0.0.1\"\nlimits = { memory.max = \"1GiB\" }\n",
            ),
        ] {
            assert_eq!(changed(before, &max), after, "{before}");
        }
    }

    #[test]
    fn values_have_the_type_that_they_are_written_with() {
        let text = "[tenants]\nacme = {}\n";
        let limits = [
            ("pids.max", "40"),
            ("memory.group_kill", "true"),
            ("cpu.quota", "150 %"),
            ("hugetlb.2MB", "64 MiB"),
            ("open_files", "1024"),
        ];
        let after = changed(text, &limits);
        let meant: toml::Table = toml::from_str(&after).unwrap();
        let limits = meant["tenants"]["acme"]["limits"].clone();
        assert_eq!(limits["pids"]["max"].as_integer(), Some(40), "{after}");
        assert_eq!(limits["memory"]["group_kill"].as_bool(), Some(true));
        assert_eq!(limits["cpu"]["quota"].as_str(), Some("150 %"));
        assert_eq!(limits["hugetlb"]["2MB"].as_str(), Some("64 MiB"));
        assert_eq!(limits["open_files"].as_integer(), Some(1024));
    }

    #[test]
    fn what_is_no_limit_is_refused() {
        let refused = |tenant: &str, key: &str| {
            let limits = [(key.to_owned(), "1".to_owned())];
            let text = "[tenants]\nacme = {}\n";
            set(text, &tenant.parse().unwrap(), &limits)
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            refused("acme", "memory"),
            "there is no limit `memory`; did you mean memory.max?"
        );
        assert_eq!(
            refused("acme", "memory.mx"),
            "there is no limit `memory.mx`; did you mean memory.max?"
        );
        assert!(refused("acme", "colour").starts_with("there is no limit `colour`"));
        assert_eq!(
            refused("acne", "memory.max"),
            "the manifest has no tenant acne; did you mean acme?"
        );
    }
}
