//! What needs no supervisor: `plan`, `check`, and unknown commands.

use std::fs;

use serde_json::Value;

use crate::support::daemon::{PROGRAM, run, tenantd, write_manifest};
use crate::support::place;

const GOOD: &str = r#"
[app]
name = "wiki"
user = "root"
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
user = "root"
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
    assert_eq!(plan["tenants"][0]["ip"], "10.77.0.11");
    assert_eq!(plan["network"]["gateway"], "10.77.0.1");
}

#[test]
fn the_plan_of_one_tenant_and_all_names_that_are_none() {
    let path = written(GOOD);
    let plan = |words: &[&str]| tenantd(&[&["plan", "--config", &path], words].concat());
    let acme = plan(&["acme"]).expect(0);
    assert!(acme.starts_with("tenant acme\n"), "{acme}");
    assert!(!acme.contains("10.77.0.12"), "{acme}");
    let json: Value = serde_json::from_str(&plan(&["acme", "--json"]).expect(0)).unwrap();
    assert_eq!(json["tenants"].as_array().unwrap().len(), 1);
    let unknown = plan(&["amce", "acme", "crm"]);
    assert_eq!(unknown.code, 1, "{unknown:?}");
    let said = "has no tenants amce (did you mean acme?), crm\n";
    assert!(unknown.err.ends_with(said), "{unknown:?}");
}

#[test]
fn a_valid_manifest_passes_on_a_suitable_host() {
    let path = written(GOOD);
    tenantd(&["check", "--config", &path]).expect(0);
    let json = tenantd(&["check", "--json", "--config", &path]).expect(0);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["good"], true);
    assert_eq!(json["tenants"], 2);
    assert!(json["host"][0]["grade"].is_string(), "{json}");
}

#[test]
fn problems_are_one_object_for_a_program() {
    let path = written(BAD);
    let said = tenantd(&["check", "--json", "--config", &path]);
    assert_eq!((said.code, said.err.as_str()), (78, ""), "{said:?}");
    let json: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(json["good"], false);
    let problems = json["problems"].as_array().unwrap();
    let usr = "unknown key `usr` in [app]";
    let usr = problems.iter().find(|problem| problem["message"] == usr);
    assert_eq!(usr.unwrap()["help"], "did you mean `user`?");
    let missing = tenantd(&["check", "--json", "--config", "/no/such/wiki.toml"]);
    assert_eq!(missing.code, 78, "{missing:?}");
    assert!(
        missing.out.contains("cannot read the manifest"),
        "{missing:?}"
    );
}

#[test]
fn a_user_who_may_not_read_the_manifest_is_told_so() {
    let path = written(GOOD);
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&path, mode).unwrap();
    for (verb, code) in [("check", 78), ("status", 1)] {
        let said = run(std::process::Command::new("setpriv")
            .args(["--reuid=65534", "--regid=65534", "--clear-groups", PROGRAM])
            .args(["--config", &path, verb]));
        assert_eq!(said.code, code, "{said:?}");
        let why = "this user may not read the file or enter its folder";
        for part in ["cannot read the manifest", why, "try again with sudo"] {
            assert!(said.err.contains(part), "{said:?}");
        }
    }
}

#[test]
fn only_a_file_of_a_sensible_size_is_a_manifest() {
    let path = written(&format!("{GOOD}\n#{}", "=".repeat(5 << 20)));
    for (verb, code) in [(&["check"][..], 78), (&["add", "pied", "ip=10.77.0.11"], 1)] {
        let said = tenantd(&[&["--config", &path], verb].concat());
        assert_eq!(said.code, code, "{said:?}");
        assert!(said.err.contains("and the maximum is 4 MiB"), "{said:?}");
        let said = tenantd(&[&["--config", "/dev/zero"], verb].concat());
        assert!(said.err.contains("it is not a regular file"), "{said:?}");
    }
}

#[test]
fn what_is_added_is_shown_whether_it_can_be_or_not() {
    let path = written(GOOD);
    let add = |words: &[&str]| tenantd(&[&["add", "--config", &path], words].concat());
    let text = fs::read_to_string(&path).unwrap();

    let bad = add(&["pied", "ip=10.77.0.11", "usr=x"]);
    assert_eq!(bad.code, 78, "{bad:?}");
    let line = "not changed; with this it would have the problems above:\n  \
                pied = { ip = \"10.77.0.11\", usr = \"x\" }\n";
    assert!(bad.err.ends_with(line), "{bad:?}");
    let there = add(&["acme", "ip=10.77.0.13"]);
    assert_eq!(there.code, 1, "{there:?}");
    assert!(
        there
            .err
            .contains("not changed: the manifest already has a tenant acme")
    );
    let gone = tenantd(&["remove", "amce", "--config", &path]);
    assert!(
        gone.err.contains("has no tenant amce; did you mean acme?"),
        "{gone:?}"
    );
    assert_eq!(fs::read_to_string(&path).unwrap(), text);

    let good = add(&["pied", "ip=10.77.0.13"]).expect(0);
    assert!(
        good.contains(":\n  pied = { ip = \"10.77.0.13\" }\n"),
        "{good}"
    );
    fs::write(&path, text + "crm = {}\n").unwrap();
    let older = add(&["other", "ip=10.77.0.14"]);
    assert_eq!(older.code, 78, "{older:?}");
    assert!(older.err.contains("tenant crm has no `ip`"), "{older:?}");
    assert!(
        older
            .err
            .ends_with("it has these problems already; correct them first\n")
    );
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
            "wiki.toml:5",
            "wiki.toml:6",
            "wiki.toml:7",
            "wiki.toml:10",
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
        "run", "check", "plan", "start", "stop", "restart", "kill", "status", "logs", "exec",
    ] {
        let help = tenantd(&[command, "--help"]).expect(0);
        assert!(help.contains(&format!("tenantd {command}")), "{help}");
    }
    assert!(tenantd(&["--version"]).expect(0).starts_with("tenantd "));
}
