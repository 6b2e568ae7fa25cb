//! The manifest of the scratch run: the program as it would run, with the host writable. In the tree of the
//! scratch run, everything is a union, so a write reaches nothing and is never refused.

use toml_edit::{DocumentMut, InlineTable, Item, Table, value};

use super::text::{Program, escaped};
use crate::unit::page::Page;

/// Why no scratch run can be made from a manifest.
#[derive(Debug, thiserror::Error)]
pub enum ScratchManifestError {
    /// It is not TOML.
    #[error("it is not valid TOML")]
    Syntax(#[from] toml_edit::TomlError),
    /// It has no table `[app]`, or it is not a table.
    #[error("[{0}] is not a table")]
    NoTable(&'static str),
}

/// The scratch run of a command, with its only tenant.
#[must_use]
pub fn of_program(program: &Program, tenant: &str) -> String {
    let mut page = Page::default();
    page.table("app");
    page.string("name", &program.name);
    let words: Vec<String> = program.command.iter().map(|it| escaped(it)).collect();
    page.list("command", &words);
    page.string("user", program.user.as_deref().unwrap_or("root"));
    page.string("host", "writable");
    // Whether it daemonizes is not known yet: then an end of the first process is no end of the program.
    page.key("daemonizes", "true");
    // Nor whether it notifies: it is not waited for.
    page.table("app.ready");
    page.key("notify", "true");
    page.string("within", "1h");
    page.table("app.restart");
    page.string("when", "never");
    // A refused call would not be seen.
    page.table("app.wall");
    page.string("system_calls", "none");
    page.table("network");
    page.string("subnet", &program.subnet.to_string());
    page.table("tenants");
    page.key(tenant, &format!("{{ ip = \"{}\" }}", program.address()));
    page.text
}

/// The scratch run of a manifest, with one of its tenants.
///
/// # Errors
/// See [`ScratchManifestError`].
pub fn of_manifest(text: &str, tenant: &str) -> Result<String, ScratchManifestError> {
    let mut document: DocumentMut = text.parse()?;
    let app = table(&mut document, "app")?;
    app.insert("host", value("writable"));
    for key in ["shared", "visible"] {
        app.remove(key);
    }
    let mut restart = InlineTable::new();
    restart.insert("when", "never".into());
    app.insert("restart", value(restart));
    let wall = app.entry("wall").or_insert(Item::Table(Table::new()));
    if let Some(wall) = wall.as_table_like_mut() {
        // A refused call would not be seen.
        wall.insert("system_calls", value("none"));
    }
    if let Some(datastore) = app.get_mut("datastore").and_then(Item::as_table_like_mut) {
        for key in ["root", "owner", "seen_as", "must_exist", "mounted"] {
            datastore.remove(key);
        }
    }
    for defaults in ["defaults", "tenants"] {
        let Some(item) = document.get_mut(defaults) else {
            continue;
        };
        let item = item.as_table_like_mut();
        let table = item.ok_or(ScratchManifestError::NoTable(defaults))?;
        if defaults == "tenants" {
            let others: Vec<String> = table.iter().map(|(key, _)| key.to_owned()).collect();
            for other in others.iter().filter(|other| *other != tenant) {
                table.remove(other);
            }
            let kept = table.get_mut(tenant).and_then(Item::as_table_like_mut);
            if let Some(kept) = kept {
                kept.remove("datastore");
                kept.insert("autostart", value(true));
                kept.remove("restart");
            }
        } else {
            table.remove("restart");
        }
    }
    Ok(document.to_string())
}

fn table<'a>(
    document: &'a mut DocumentMut,
    name: &'static str,
) -> Result<&'a mut dyn toml_edit::TableLike, ScratchManifestError> {
    let item = document.entry(name).or_insert(Item::Table(Table::new()));
    item.as_table_like_mut()
        .ok_or(ScratchManifestError::NoTable(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scratch_run_has_one_tenant_and_a_writable_host() {
        let text = of_manifest(
            "[app]\nname = \"x\"\nuser = \"root\"\nshared = [\"/a\"]\n[app.datastore]\npath = \"/x\"\nroot = \"/y\"\n\
             [tenants]\nacme = { ip = \"10.77.0.11\", datastore = \"/z\" }\n\
             bolt = { ip = \"10.77.0.12\" }\n",
            "acme",
        );
        let text = text.unwrap();
        let parsed: toml::Table = text.parse().unwrap();
        let app = &parsed["app"];
        assert_eq!(app["host"].as_str(), Some("writable"));
        assert_eq!(app["wall"]["system_calls"].as_str(), Some("none"));
        assert_eq!(app["restart"]["when"].as_str(), Some("never"));
        assert!(app.get("shared").is_none() && app["datastore"].get("root").is_none());
        let tenants = parsed["tenants"].as_table().unwrap();
        assert_eq!(tenants.keys().collect::<Vec<_>>(), ["acme"]);
        assert!(tenants["acme"].get("datastore").is_none());
    }
}
