//! `status`, `start` and `stop`: outcomes, exit codes, errors.

use super::*;

#[test]
fn status_shows_tenants_that_are_not_as_wanted() {
    support::enter();
    let script = Script::new();
    let app = script.app.to_string();
    script.serve();
    let output = run(&["status"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        text.starts_with(&format!("{app}: supervisor pid 4711, ")),
        "{text}"
    );
    assert!(
        text.contains("\n  WHY cannot execute /opt/wiki\n"),
        "{text}"
    );
    assert!(
        !text.contains('\u{1b}'),
        "no colours but on a terminal: {text}"
    );
    assert_eq!(output.status.code(), Some(1));
    let output = run(&["status", "acme", "--json", "--app", &app]);
    assert_eq!(output.status.code(), Some(0));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["app"], app.as_str());
    assert_eq!(json["tenants"].as_array().unwrap().len(), 1);
    assert_eq!(json["tenants"][0]["pid"], 123);
    let unknown = format!(
        "tenantd: error: typo: no such tenant\nsee `tenantd status --app {app}` for its tenants\n"
    );
    expect(&run(&["status", "typo"]), 1, "", &unknown);
}

#[test]
fn start_and_stop_show_each_outcome() {
    support::enter();
    Script::new().serve();
    let up = "acme: up, ready, pid 123, 10.77.0.11\n";
    expect(&run(&["start", "acme"]), 0, up, "");
    let going = "acme: starting\n";
    expect(&run(&["start", "acme", "--no-wait"]), 0, going, "");
    let failed = "beta: failed: cannot execute /opt/wiki\n";
    let hint = "`tenantd logs beta` shows the output of its program.\n";
    let text = format!("{failed}{hint}");
    expect(&run(&["restart", "beta"]), 1, &text, "");
    expect(&run(&["restart", "--all", "--quiet"]), 1, failed, "");
    let text = format!("{up}{failed}2 tenants: 1 started, 1 failed\n{hint}");
    expect(&run(&["start", "*"]), 1, &text, "");
    expect(&run(&["stop", "acme"]), 0, "acme: down\n", "");
    let output = run(&["stop", "--all"]);
    assert_eq!(output.status.code(), Some(1), "beta is not proved down");
}

#[test]
fn status_can_be_cut_down_to_what_matters() {
    support::enter();
    let script = Script::new();
    let folder = format!("/var/log/tenantd/{}", script.app);
    script.serve();
    std::fs::create_dir_all(&folder).unwrap();
    let lines = "2026-11-22T18:00:00.500000Z stderr no licence\n\
                 2026-11-22T18:00:00.500000Z stdout bye\n";
    std::fs::write(format!("{folder}/beta.log"), lines).unwrap();
    let shown = |arguments: &[&str]| -> String {
        let output = run(&[&["status"], arguments].concat());
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
        let text = String::from_utf8(output.stdout).unwrap();
        let (_first, rest) = text.split_once('\n').unwrap();
        rest.to_owned()
    };
    let failed = shown(&["--failed"]);
    assert!(!failed.contains("acme"), "{failed}");
    let end = "  WHY cannot execute /opt/wiki\n  \
               STDERR no licence\n  \
               NEXT `tenantd logs beta`, then `tenantd start beta`\n\
               2 tenants: 1 up, 1 failed\n";
    assert!(failed.ends_with(end), "{failed}");
    let up = shown(&["--state", "up,stuck"]);
    assert!(up.contains("acme") && !up.contains("beta"), "{up}");
    let both = shown(&["--sort", "state", "*"]);
    let place = |name| both.find(name).unwrap();
    assert!(place("beta") < place("acme"), "{both}");
    let one = shown(&["a*"]);
    assert!(
        one.starts_with("NAME") && !one.contains("tenants:"),
        "{one}"
    );
    let output = run(&["status", "a*", "--json", "--state", "down"]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["tenants"].as_array().unwrap().len(), 0);
    assert_eq!(output.status.code(), Some(0), "what is named is as wanted");
    assert_eq!(run(&["status", "--state", "broken"]).status.code(), Some(2));
}

#[test]
fn each_verb_prints_one_object() {
    support::enter();
    let script = Script::new();
    let app = script.app.to_string();
    script.serve();
    let json = |arguments: &[&str]| -> serde_json::Value {
        let output = run(&[arguments, &["--json"]].concat());
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let started = json(&["start", "--all"]);
    assert_eq!(started["app"], app.as_str());
    assert_eq!(started["verb"], "start");
    assert_eq!(started["ok"], false);
    assert_eq!(started["tenants"][0]["outcome"], "done");
    assert_eq!(started["tenants"][0]["addresses"][0], "10.77.0.11");
    assert_eq!(started["tenants"][1]["outcome"], "failed");
    assert_eq!(started["tenants"][1]["reason"], "cannot execute /opt/wiki");
    let going = json(&["restart", "acme", "--no-wait"]);
    assert_eq!(going["tenants"][0]["outcome"], "pending");
    assert_eq!(going["ok"], true);
    let reloaded = json(&["reload"]);
    let none = serde_json::json!({"app": app, "verb": "reload", "ok": true, "tenants": []});
    assert_eq!(reloaded, none);
}

#[test]
fn every_unknown_name_is_reported_and_nothing_is_done() {
    support::enter();
    let script = Script::new();
    let app = script.app.to_string();
    script.serve();
    let all = format!("see `tenantd status --app {app}` for its tenants\n");
    let unknown = format!(
        "tenantd: error: 3 unknown tenants\n  acem: no such tenant, did you mean `acme`?\n  \
         typo: no such tenant\n  shop-*: no tenant matches\n{all}no tenant was changed\n"
    );
    let typed = ["stop", "acem", "beta", "typo", "shop-*"];
    expect(&run(&typed), 1, "", &unknown);
    let near = "tenantd: error: bta: no such tenant, did you mean `beta`?\n";
    expect(&run(&["logs", "bta"]), 1, "", near);
    let output = run(&["status", "--app", &app[1..]]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let near = format!("(running: {app})\ndid you mean `--app {app}`?\n");
    assert!(text.ends_with(&near), "{text}");
}

#[test]
fn a_supervisor_that_dies_during_a_request_is_named() {
    support::enter();
    let script = Script {
        dies: true,
        ..Script::new()
    };
    let app = script.app.to_string();
    script.serve();
    let output = run(&["stop", "acme"]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let said = format!("tenantd: error: {app}: supervisor exited before it answered");
    assert!(text.starts_with(&said), "{text}");
}

#[test]
fn exit_codes_are_distinct() {
    support::enter();
    assert_eq!(run(&["stop"]).status.code(), Some(2));
    assert_eq!(run(&["frobnicate"]).status.code(), Some(2));
    assert_eq!(run(&["check"]).status.code(), Some(2));
    let output = run(&[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("EXAMPLES"));
    assert_eq!(run(&["--help"]).status.code(), Some(0));
    let none = "tenantd: error: no supervisor is running on this host: start one with `tenantd run \
                --config FILE`, or name the application with --app NAME\n";
    expect(&run(&["status"]), 1, "", none);
    let output = run(&["status", "--app", "wiki"]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        text.starts_with("tenantd: error: wiki: supervisor not running"),
        "{text}"
    );
}

#[test]
fn the_application_is_required_if_there_are_several() {
    support::enter();
    let (one, two) = (Script::new(), Script::new());
    let mut apps = [one.app.to_string(), two.app.to_string()];
    apps.sort();
    let [first, second] = apps;
    one.serve();
    two.serve();
    let several = format!(
        "tenantd: error: several applications are running ({first}, {second}): select one with \
         --app NAME\n"
    );
    expect(&run(&["status"]), 1, "", &several);
    let output = tenantd(&["status", "acme"])
        .env("TENANTD_APP", &second)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0));
    let folder = tempfile::tempdir().unwrap();
    let manifest = folder.path().join("a.toml");
    std::fs::write(&manifest, format!("[app]\nname = \"{first}\"\n")).unwrap();
    let output = run(&["status", "acme", "--config", manifest.to_str().unwrap()]);
    assert!(String::from_utf8_lossy(&output.stdout).starts_with(&first));
}
