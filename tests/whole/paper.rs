//! What needs no supervisor: `plan`, `check`, and unknown commands.

use std::fs;

use serde_json::Value;

use crate::support::daemon::{tenantd, write_manifest};
use crate::support::place;

const GOOD: &str = r#"
[app]
name = "wiki"
command = ["/bin/sh"]
datastore.path = "/srv/data"
[tenants]
acme = { ip = "10.77.0.11" }
beta = { ip = "10.77.0.12" }
"#;

/// Four problems, in the order of their lines.
const BAD: &str = r#"
[app]
name = "wiki"
command = ["/no/such/program"]
usr = "nobody"
datastore.path = "/"
[tenants]
acme = { ip = "10.77.0.11" }
beta = { ip = "10.77.0.11" }
"#;

fn written(text: &str) -> String {
    place::host();
    place::folder("/srv/data");
    write_manifest("wiki", text).to_str().unwrap().to_owned()
}

#[test]
fn the_plan_is_stable_as_text_and_json() {
    let path = written(GOOD);
    let text = tenantd(&["plan", "--config", &path]).expect(0);
    assert!(
        text.contains("acme") && text.contains("10.77.0.12"),
        "{text}"
    );
    assert_eq!(tenantd(&["plan", "--config", &path]).expect(0), text);
    let json = tenantd(&["plan", "--config", &path, "--json"]).expect(0);
    let plan: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(plan["app"], "wiki");
    assert_eq!(plan["tenants"][0]["link"]["address"], "10.77.0.11");
    assert_eq!(plan["network"]["gateway"], "10.77.0.1");
}

#[test]
fn a_valid_manifest_passes_on_a_suitable_host() {
    let path = written(GOOD);
    tenantd(&["check", "--config", &path]).expect(0);
}

#[test]
fn all_problems_of_a_manifest_are_reported_at_once() {
    let path = written(BAD);
    for arguments in [
        &["check", "--config", &path][..],
        &["plan", "--config", &path],
        &["run", "--config", &path],
        &["--config", &path],
    ] {
        let said = tenantd(arguments);
        assert_eq!(said.code, 78, "{said:?}");
        for wanted in [
            "/no/such/program",
            "usr",
            "10.77.0.11",
            "wiki.toml:4",
            "wiki.toml:5",
            "wiki.toml:6",
            "wiki.toml:9",
        ] {
            let text = format!("{}{}", said.out, said.err);
            assert!(text.contains(wanted), "{wanted:?} is not in\n{text}");
        }
    }
    // Nothing was created.
    assert_eq!(fs::read_dir("/run").unwrap().count(), 0);
}

#[test]
fn an_unknown_command_is_an_error() {
    place::host();
    for arguments in [
        &["frobnicate"][..],
        &["stop"],
        &["--no-such-option"],
        &["exec", "acme"],
        &["stop", "../etc"],
        &[],
    ] {
        let said = tenantd(arguments);
        assert_eq!(said.code, 2, "{arguments:?}: {said:?}");
        assert!(!said.err.is_empty(), "{arguments:?}");
    }
    let none = tenantd(&["status"]);
    assert_eq!(none.code, 1, "{none:?}");
    assert!(
        none.err.contains("tenantd run"),
        "it says what to do: {none:?}"
    );
    for command in [
        "run", "check", "plan", "start", "stop", "restart", "status", "logs", "exec",
    ] {
        let help = tenantd(&[command, "--help"]).expect(0);
        assert!(help.contains(&format!("tenantd {command}")), "{help}");
    }
    assert!(tenantd(&["--version"]).expect(0).starts_with("tenantd "));
}
