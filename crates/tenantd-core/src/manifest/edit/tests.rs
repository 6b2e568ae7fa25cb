//! Tests of edits.

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
fn keys_with_a_dot_are_those_of_tables() {
    let typed = keys(&[
        ("ip", "10.0.0.13"),
        ("vars.port", "80"),
        ("vars.colour", "red"),
        ("limits.open_files", "1024"),
    ]);
    let entry = add(TEXT, &name("crm"), &typed).unwrap().entry;
    assert_eq!(
        entry,
        "crm = { ip = \"10.0.0.13\", vars = { port = \"80\", colour = \"red\" }, \
         limits = { open_files = 1024 } }"
    );
    // With headers, and after a value that is no table.
    let headers = "[tenants.acme]\nip = \"10.0.0.11\"\n";
    let typed = keys(&[("vars", "x"), ("vars.port", "80")]);
    let Added { text, .. } = add(headers, &name("crm"), &typed).unwrap();
    assert!(text.ends_with("[tenants.crm]\nvars = \"80\"\n"), "{text}");
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

fn added(text: &str) -> String {
    add(text, &name("crm"), &keys(&[("user", "www")]))
        .unwrap()
        .text
}

fn removed(text: &str) -> String {
    remove(text, &name("acme")).unwrap()
}

#[test]
fn line_ends_the_mark_and_a_missing_line_end_are_kept() {
    let text = "\u{feff}[tenants]\r\n# A.\r\nacme = { user = \"a\" }\nbeta = {}\r\n\r\n[control]\r\nread = []";
    let line = "crm = { user = \"www\" }\r\n";
    let with = text.replace("beta = {}\r\n", &format!("beta = {{}}\r\n{line}"));
    assert_eq!(added(text), with);
    assert_eq!(remove(&with, &name("crm")).unwrap(), text);
    let without = text.replace("# A.\r\nacme = { user = \"a\" }\n", "");
    assert_eq!(removed(text), without);
    let text = "[tenants]\r\nacme = {}";
    assert_eq!(
        added(text),
        "[tenants]\r\nacme = {}\r\ncrm = { user = \"www\" }"
    );
    assert_eq!(removed(text), "[tenants]");
    assert_eq!(
        added("\u{feff}"),
        "\u{feff}[tenants]\ncrm = { user = \"www\" }\n"
    );
}

#[test]
fn comments_of_others_stay() {
    let text = "[tenants]\n# In the north.\n\n# Acme.\nacme = {} # 2019\n\n# In the south.\nbeta = {}\n\n# End.\n";
    let without = "[tenants]\n# In the north.\n\n# In the south.\nbeta = {}\n\n# End.\n";
    assert_eq!(removed(text), without);
}

#[test]
fn the_way_tenants_are_written_is_kept() {
    let cases = [
        (
            "[tenants]\nacme.user = \"a\"\nbeta.user = \"b\"\nacme.group = \"a\"\n",
            "[tenants]\nacme.user = \"a\"\nbeta.user = \"b\"\nacme.group = \"a\"\ncrm = { user = \"www\" }\n",
            "[tenants]\nbeta.user = \"b\"\n",
        ),
        (
            "tenants.acme.user = \"a\"\n\n[app]\nname = \"x\"\n",
            "tenants.acme.user = \"a\"\n\n[tenants.crm]\nuser = \"www\"\n\n[app]\nname = \"x\"\n",
            "[app]\nname = \"x\"\n",
        ),
        (
            "[tenants.acme]\n# Why.\nuser = \"a\"\n[tenants.acme.limits]\ncore = 0\n\n# Who.\n[control]\nread = []\n",
            "[tenants.acme]\n# Why.\nuser = \"a\"\n[tenants.acme.limits]\ncore = 0\n\n[tenants.crm]\nuser = \"www\"\n\n# Who.\n[control]\nread = []\n",
            "# Who.\n[control]\nread = []\n",
        ),
        (
            "[tenants]\nacme = {}\n\n[tenants.beta]\nuser = \"b\"\n",
            "[tenants]\nacme = {}\ncrm = { user = \"www\" }\n\n[tenants.beta]\nuser = \"b\"\n",
            "[tenants]\n\n[tenants.beta]\nuser = \"b\"\n",
        ),
        (
            "tenants = { acme = {}, beta = {} } # all\n",
            "tenants = { acme = {}, beta = {}, crm = { user = \"www\" } } # all\n",
            "tenants = { beta = {} } # all\n",
        ),
        (
            "tenants = {\n  acme = {}, # the first\n  beta = {},\n}\n",
            "tenants = {\n  acme = {}, # the first\n  beta = {},\n  crm = { user = \"www\" },\n}\n",
            "tenants = {\n  beta = {},\n}\n",
        ),
        (
            "[tenants]\nacme = { arguments = [\n  \"-v\",\n] }\nbeta = {}\n",
            "[tenants]\nacme = { arguments = [\n  \"-v\",\n] }\nbeta = {}\ncrm = { user = \"www\" }\n",
            "[tenants]\nbeta = {}\n",
        ),
        (
            "[defaults]\nenvironment = { A = \"\"\"\n# \"\"\" }\n[tenants]\nacme = {}\n",
            "[defaults]\nenvironment = { A = \"\"\"\n# \"\"\" }\n[tenants]\nacme = {}\ncrm = { user = \"www\" }\n",
            "[defaults]\nenvironment = { A = \"\"\"\n# \"\"\" }\n[tenants]\n",
        ),
    ];
    for (text, with, without) in cases {
        assert_eq!(added(text), with, "{text}");
        assert_eq!(removed(text), without, "{text}");
        let crlf = |text: &str| text.replace('\n', "\r\n");
        assert_eq!(added(&crlf(text)), crlf(with), "{text}");
        assert_eq!(removed(&crlf(text)), crlf(without), "{text}");
    }
}

#[test]
fn a_string_that_looks_like_a_comment_is_no_comment() {
    let text = "[tenants]\nbeta = { user = \"\"\"\n# \"\"\" }\nacme = {}\n";
    let without = "[tenants]\nbeta = { user = \"\"\"\n# \"\"\" }\n";
    assert_eq!(removed(text), without);
}

#[test]
fn what_was_added_is_shown_as_it_stands_in_the_file() {
    let dotted = "tenants.acme.user = \"a\"\n";
    let entry = add(dotted, &name("crm"), &keys(&[("user", "www")]))
        .unwrap()
        .entry;
    assert_eq!(entry, "[tenants.crm]\nuser = \"www\"");
}
