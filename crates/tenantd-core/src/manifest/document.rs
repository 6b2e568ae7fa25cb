//! Renders the reference as a document for people and as a JSON schema for editors.

mod cgroup;

use std::fmt::Write;

use serde_json::{Map, Value, json};

use super::limit::{Bound, Measure};
use super::reference::{Fallback, Key, Kind, Table};
use super::template::{ALL, OF_PROGRAM, OF_TENANT, Slot};
use crate::sysctl::Sysctl;

/// `docs/manifest.md`.
#[must_use]
pub fn markdown() -> String {
    let mut text = format!("{HEAD}\n{INTRODUCTION}");
    for &table in Table::EACH {
        let _ = write!(text, "\n## {}\n\n{}\n", heading(table), table.doc());
        for key in Key::of(table) {
            let _ = write!(text, "\n### `{}`\n\n{}\n\n", key.name, key.doc);
            let _ = writeln!(text, "- type: {}", kind_words(key.kind));
            let _ = match key.fallback {
                Fallback::Required => writeln!(text, "- required"),
                Fallback::Value(value) => writeln!(text, "- default: `{value}`"),
                Fallback::Derived(words) => writeln!(text, "- default: {words}"),
            };
            let _ = writeln!(text, "- example: `{}`", key.usage());
        }
    }
    text
}

const HEAD: &str = "\
# The manifest

<!-- Generated from crates/tenantd-core/src/manifest/reference.rs: edit it there, then run
     UPDATE=1 cargo test --test pure golden. -->
";

/// What applies to all keys, in paragraphs.
pub const INTRODUCTION: &str = "\
A manifest is a TOML file. All values are in quotes except for numbers, `true` and `false`:
`ip = \"10.77.0.11\"`, `mode = \"0750\"`, `grace = \"10s\"`. Unknown keys are errors. `tenantd
check` reports every error in it, and `tenantd plan` shows everything that follows from it.

Strings that allow placeholders may contain `{app}` (the application's name), `{manifest_dir}`
(the folder of the manifest), `{datastore}` (the path where the program finds its data),
`{tenant}` (the tenant's name), `{ip}` (its first address), `{gateway}` (the host's address of that
family), `{ip6}` and `{gateway6}` (its first IPv6 address, and the host's), `{user}`,
`{uid}` and `{gid}` (the tenant's user, its number and that of its group) and
`{vars.NAME}` (a variable, see `vars`). In a path, write `{{` and `}}` for literal braces. In an
argument or a variable of the environment, braces are literal unless they enclose a word:
`{\"a\": 1}`, `${HOME}` and `{}` stay as they are. For the text `{word}` itself, write `{{word}}`. A
string in which all braces are doubled, apart from placeholders, has them singly: `{{\"a\": 1}}` is
`{\"a\": 1}`.

A duration is a string of numbers with the units `ms`, `s`, `m` and `h`, such as `\"1m 30s\"` or
`\"100ms\"`, or a number of days, such as `\"7d\"`. A size is a number of bytes, or a string of a
number with the unit `KiB`, `MiB`, `GiB` or `TiB`, such as `\"64 MiB\"`.
";

fn heading(table: Table) -> String {
    match table {
        Table::Top => "Top level".to_owned(),
        _ => format!("`{}`", table.header()),
    }
}

/// Describes the type of a value.
#[must_use]
pub fn kind_words(kind: Kind) -> String {
    match kind {
        Kind::Table(_) => "a table".to_owned(),
        Kind::Tenants => "a table with one entry per tenant".to_owned(),
        Kind::Name => "a name".to_owned(),
        Kind::Command => "an array of strings with all placeholders".to_owned(),
        Kind::Texts(slots) => format!("an array of strings with {}", placeholders(slots)),
        Kind::Environment(slots) => {
            format!("a table of strings with {}", placeholders(slots))
        }
        Kind::Vars => "a table of strings with all placeholders except variables".to_owned(),
        Kind::Secrets => format!("a table of paths with {}", placeholders(OF_TENANT)),
        Kind::Text(slots) => format!("a string with {}", placeholders(slots)),
        Kind::Files | Kind::Operators => "an array of tables".to_owned(),
        Kind::Tenancies => "an array of names of tenants".to_owned(),
        Kind::Egress => {
            "an array of `\"allow|deny any|ADDRESS[/PREFIX][:PORT[-PORT]][/PROTOCOL]\"`".to_owned()
        }
        Kind::Path(slots) => format!("a path with {}", placeholders(slots)),
        Kind::Paths(slots) => format!("an array of paths with {}", placeholders(slots)),
        Kind::Folders => {
            "an array of paths with `{app}`, `{manifest_dir}`, or of tables".to_owned()
        }
        Kind::Private => {
            let all = placeholders(OF_PROGRAM);
            format!("`true`, or an array of paths with {all}, or of tables")
        }
        Kind::Account => "a name or a number".to_owned(),
        Kind::Uids => "a range of numbers".to_owned(),
        Kind::Groups => "an array of names or numbers".to_owned(),
        Kind::Argv | Kind::Words => "an array of strings".to_owned(),
        Kind::HttpPath => "the path of a request".to_owned(),
        Kind::Capabilities => "an array of names of capabilities".to_owned(),
        Kind::Sysctls => "a table of numbers and strings".to_owned(),
        Kind::Exits => "an array of exit statuses and names of signals".to_owned(),
        Kind::Flag => "`true` or `false`".to_owned(),
        Kind::Duration { min, max } => format!("a duration from {min} to {max}"),
        Kind::Count { min, max } => format!("an integer from {min} to {max}"),
        Kind::Integer { min, max } => format!("an integer from {min} to {max}"),
        Kind::FileMode | Kind::Permissions | Kind::Umask => {
            "a string of three or four octal digits".to_owned()
        }
        Kind::Limit { measure, min } => limit_words(measure, min),
        Kind::Group(form) => cgroup::words(form).to_owned(),
        Kind::Size { min } => {
            let min = Bound::Number(min).shown(Measure::Bytes);
            format!("a size such as `\"64 MiB\"`, at least {min}")
        }
        Kind::Signal => "a signal name".to_owned(),
        Kind::Choice(words) => format!("one of {}", listed(words)),
        Kind::Choices(words) => format!("an array of {}", listed(words)),
        // The reference has every kind, and its test reads it.
        of_network => network_words(of_network).to_owned(),
    }
}

fn network_words(kind: Kind) -> &'static str {
    match kind {
        Kind::Address => "an IPv4 address",
        Kind::Address6 => "an IPv6 address",
        Kind::HostAddresses => "an IP address, or an array of them",
        Kind::Addresses => "an IP address or `\"auto\"`, or an array of them",
        Kind::Subnet => "an IPv4 network",
        Kind::Subnet6 => "an IPv6 network",
        Kind::NameServers => "an array of IP addresses",
        Kind::Mac => "a MAC address",
        Kind::Interface => "the name of an interface",
        Kind::Rates => "a rate, or a table with `in` and `out`",
        Kind::Peers => "an array of names of tenants, or `[\"*\"]`",
        Kind::Services => "an array of ports with a protocol, or `\"dns\"`",
        Kind::Exposed => "an array of ports: integers, or strings with a protocol",
        Kind::Published => "an array of `\"[ADDRESS:]PORT -> PORT[/PROTOCOL]\"`",
        other => unreachable!("{other:?} has no words"),
    }
}

fn limit_words(measure: Measure, min: u64) -> String {
    let what = match measure {
        Measure::Number => format!("an integer from {min}"),
        Measure::Bytes => "bytes or a size such as `\"64 MiB\"`".to_owned(),
    };
    format!("{what}, `\"unlimited\"`, or `\"SOFT:HARD\"`")
}

fn placeholders(slots: &[Slot]) -> String {
    if slots == ALL {
        return "all placeholders".to_owned();
    }
    let words: Vec<_> = slots
        .iter()
        .map(|slot| format!("`{{{}}}`", slot.word()))
        .collect();
    words.join(", ")
}

fn listed(words: &[&str]) -> String {
    let words: Vec<_> = words.iter().map(|word| format!("`{word:?}`")).collect();
    words.join(", ")
}

/// The JSON schema (draft 2020-12) of a manifest, for editors.
#[must_use]
pub fn schema() -> Value {
    let mut whole = table_schema(Table::Top);
    let head = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "tenantd manifest",
    });
    if let (Value::Object(whole), Value::Object(head)) = (&mut whole, head) {
        whole.extend(head);
    }
    whole
}

fn table_schema(table: Table) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for key in Key::of(table) {
        let mut property = kind_schema(key.kind);
        property["description"] = key.doc.into();
        match key.fallback {
            Fallback::Required => required.push(key.name),
            Fallback::Value(text) => property["default"] = json_of(text),
            Fallback::Derived(_) => {}
        }
        properties.insert(key.name.to_owned(), property);
    }
    let mut whole = json!({
        "type": "object",
        "description": table.doc(),
        "properties": properties,
        "additionalProperties": false,
    });
    if !required.is_empty() {
        whole["required"] = required.into();
    }
    whole
}

/// A TOML value of the reference as JSON.
fn json_of(text: &str) -> Value {
    let table: toml::Table =
        toml::from_str(&format!("value = {text}")).expect("the reference's values are TOML");
    serde_json::to_value(&table["value"]).expect("the reference's values are JSON too")
}

/// The pattern of application and tenant names, see [`crate::name`].
fn name_schema(max: usize) -> Value {
    json!({ "type": "string", "maxLength": max, "pattern": "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$" })
}

/// A table of strings, whose names have this pattern.
fn strings_schema(names: &str) -> Value {
    json!({
        "type": "object",
        "propertyNames": { "pattern": names },
        "additionalProperties": { "type": "string" },
    })
}

fn sysctls_schema() -> Value {
    json!({
        "type": "object",
        "propertyNames": { "enum": Sysctl::all().map(Sysctl::name).collect::<Vec<_>>() },
        "additionalProperties": { "type": ["integer", "string"] },
    })
}

fn limit_schema(measure: Measure, min: u64) -> Value {
    let one = match measure {
        Measure::Number => "([0-9]+|unlimited)",
        Measure::Bytes => "([0-9]+ ?([KMGT]iB|B)?|unlimited)",
    };
    json!({ "anyOf": [
        { "type": "integer", "minimum": min },
        { "type": "string", "pattern": format!("^{one}(:{one})?$") },
    ] })
}

/// The schema of an array of strings.
fn texts_schema() -> Value {
    json!({ "type": "array", "items": { "type": "string" } })
}

/// The schema of an array of strings of this form.
fn items_schema(pattern: &str) -> Value {
    json!({ "type": "array", "items": { "type": "string", "pattern": pattern } })
}

/// The schema of an array about traffic.
fn traffic_schema(kind: Kind) -> Value {
    match kind {
        Kind::Services => items_schema("^(dns|[0-9]+/(tcp|udp))$"),
        Kind::Published => items_schema("^([0-9.]+:)?[0-9]+ *-> *[0-9]+(/(tcp|udp))?$"),
        Kind::Egress => items_schema("^(allow|deny) +[^ ]+$"),
        _ => {
            let port = json!({ "type": "integer", "minimum": 1, "maximum": 65535 });
            let text = json!({ "type": "string", "pattern": "^[0-9]+(/(tcp|udp))?$" });
            json!({ "type": "array", "items": { "anyOf": [port, text] } })
        }
    }
}

/// The schema of an array of paths or tables.
fn paths_schema(table: Table) -> Value {
    let items = json!({ "anyOf": [{ "type": "string" }, table_schema(table)] });
    json!({ "type": "array", "items": items })
}

fn kind_schema(kind: Kind) -> Value {
    use crate::name::{APP_NAME_MAX, TENANT_NAME_MAX};
    match kind {
        Kind::Table(table) => table_schema(table),
        Kind::Tenants => json!({
            "type": "object",
            "propertyNames": name_schema(TENANT_NAME_MAX),
            "additionalProperties": table_schema(Table::Tenant),
        }),
        Kind::Name => name_schema(APP_NAME_MAX),
        Kind::Command | Kind::Argv => json!({
            "type": "array", "items": { "type": "string" }, "minItems": 1,
        }),
        Kind::Texts(_) | Kind::Paths(_) | Kind::Capabilities => texts_schema(),
        Kind::Tenancies | Kind::Peers | Kind::NameServers | Kind::Words => texts_schema(),
        Kind::Services | Kind::Exposed | Kind::Published | Kind::Egress => traffic_schema(kind),
        Kind::Folders => paths_schema(Table::Folder),
        Kind::Private => {
            let mut whole = paths_schema(Table::Private);
            whole["type"] = json!(["boolean", "array"]);
            whole
        }
        Kind::Environment(_) => strings_schema("^[^=]+$"),
        Kind::Secrets => strings_schema("^[A-Za-z0-9][A-Za-z0-9._-]*$"),
        Kind::Sysctls => sysctls_schema(),
        Kind::Files => json!({ "type": "array", "items": table_schema(Table::File) }),
        Kind::Operators => json!({ "type": "array", "items": table_schema(Table::Operator) }),
        Kind::Vars => strings_schema("^[a-z_][a-z0-9_]*$"),
        Kind::FileMode => json!({ "type": "string", "pattern": "^0?[0-7]{3}$" }),
        Kind::Path(_) | Kind::Text(_) | Kind::Signal | Kind::Duration { .. } => string_schema(),
        Kind::Mac | Kind::Interface => string_schema(),
        Kind::Account => json!({ "type": ["string", "integer"] }),
        Kind::Rates => json!({ "type": ["string", "object"] }),
        Kind::Uids => json!({ "type": "string", "pattern": "^[0-9]+-[0-9]+$" }),
        Kind::HttpPath => json!({ "type": "string", "pattern": "^/[!-~]*$" }),
        Kind::Groups | Kind::Exits => json!({
            "type": "array", "items": { "type": ["string", "integer"] },
        }),
        Kind::Flag => json!({ "type": "boolean" }),
        Kind::Count { min, max } => json!({ "type": "integer", "minimum": min, "maximum": max }),
        Kind::Integer { min, max } => json!({
            "type": "integer", "minimum": min, "maximum": max,
        }),
        Kind::Umask => json!({ "type": "string", "pattern": "^[0-7]?[0-7]{3}$" }),
        Kind::Limit { measure, min } => limit_schema(measure, min),
        Kind::Group(form) => cgroup::schema(form),
        Kind::Size { min } => size_schema(min),
        Kind::Permissions => json!({ "type": "string", "pattern": "^[0-7]?[0-7]{3,4}$" }),
        Kind::Choice(words) => json!({ "enum": words }),
        Kind::Choices(words) => json!({ "type": "array", "items": { "enum": words } }),
        Kind::Address => json!({ "type": "string", "format": "ipv4" }),
        Kind::Address6 => json!({ "type": "string", "format": "ipv6" }),
        Kind::Addresses => addresses_schema("^(auto|[0-9a-fA-F:.]+)$"),
        Kind::HostAddresses => addresses_schema("^[0-9a-fA-F:.]+$"),
        Kind::Subnet => json!({ "type": "string", "pattern": "^[0-9]+(\\.[0-9]+){3}/[0-9]+$" }),
        Kind::Subnet6 => json!({ "type": "string", "pattern": "^[0-9a-fA-F:.]+/[0-9]+$" }),
    }
}

fn string_schema() -> Value {
    json!({ "type": "string" })
}

fn size_schema(min: u64) -> Value {
    json!({ "anyOf": [
        { "type": "integer", "minimum": min },
        { "type": "string", "pattern": "^[0-9]+ ?([KMGT]iB|B)?$" },
    ] })
}

fn addresses_schema(pattern: &str) -> Value {
    let one = json!({ "type": "string", "pattern": pattern });
    json!({ "anyOf": [one, { "type": "array", "items": one, "minItems": 1 }] })
}
