//! `list`, with running, dead and detached supervisors.

use super::*;

/// Makes a socket that no process listens on, as a killed supervisor leaves it.
fn die(app: &str) {
    let socket = wire::control_socket(&app.parse().unwrap());
    std::fs::create_dir_all(socket.parent().unwrap()).unwrap();
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
}

fn listed() -> serde_json::Value {
    let output = run(&["list", "--json"]);
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn list_without_a_supervisor() {
    support::enter();
    expect(&run(&["list"]), 0, "no applications are running\n", "");
    assert_eq!(listed(), serde_json::json!({ "applications": [] }));
}

#[test]
fn running_and_dead_supervisors_are_distinguished() {
    support::enter();
    let script = Script::new();
    let app = script.app.to_string();
    script.serve();
    die("aa-dead");
    let output = run(&["list"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let rows: Vec<Vec<&str>> = text
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(rows[1], ["aa-dead", "dead", "-", "-", "-", "-"], "{text}");
    assert_eq!(
        rows[2][..3],
        ["WHY", "aa-dead:", "supervisor"],
        "a dead one is explained: {text}"
    );
    assert_eq!(rows[3], [&*app, "running", "4711", "2", "1", "1"], "{text}");
    assert!(text.contains(&format!("see `tenantd status --app {app}`")));
    assert_eq!(output.status.code(), Some(1));

    let json = listed();
    let [dead, living] = &json["applications"].as_array().unwrap()[..] else {
        panic!("{json}");
    };
    assert_eq!(dead["state"], "dead");
    assert_eq!(dead["pid"], serde_json::Value::Null);
    assert_eq!(living["app"], app);
    assert_eq!(living["up"], 1);
    assert_eq!(living["tenants"], 2);
}

/// Makes a state file without a socket, as a detached supervisor leaves it.
#[test]
fn tenants_of_a_detached_supervisor_are_listed() {
    support::enter();
    let script = Script::new();
    let app = script.app.to_string();
    script.serve();
    let folder = std::path::Path::new(wire::RUNTIME).join("zz-left");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("ledger"), "").unwrap();
    let json = listed();
    let [_, left] = &json["applications"].as_array().unwrap()[..] else {
        panic!("{json}");
    };
    assert_eq!(left["app"], "zz-left");
    assert_eq!(left["state"], "detached");
    let why = left["why"].as_str().unwrap();
    assert!(why.contains("systemctl start tenantd@zz-left"), "{why}");
    // It does not make the name required.
    let text = String::from_utf8(run(&["status", "acme"]).stdout).unwrap();
    assert!(text.starts_with(&app), "{text}");
}

#[test]
fn a_dead_supervisor_does_not_make_the_name_required() {
    support::enter();
    let script = Script::new();
    let app = script.app.to_string();
    script.serve();
    die("aa-dead");
    let output = run(&["status", "acme"]);
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with(&app), "{text}");

    Script::new().serve();
    let output = run(&["status", "acme"]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("several applications are running"), "{text}");
    assert!(!text.contains("aa-dead"), "{text}");
}

#[test]
fn every_documented_way_selects_the_application() {
    support::enter();
    let (one, other) = (Script::new(), Script::new());
    let names = [one.app.to_string(), other.app.to_string()];
    one.serve();
    other.serve();
    let folder = tempfile::tempdir().unwrap();
    let manifest = |app: &str| {
        let path = folder.path().join(format!("{app}.toml"));
        std::fs::write(&path, format!("[app]\nname = \"{app}\"\n")).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let [first, second] = &names;
    let meant = |arguments: &[&str], environment: &[(&str, &str)]| {
        let output = tenantd(&[&["status", "--json"], arguments].concat())
            .envs(environment.iter().copied())
            .output()
            .unwrap();
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        json["app"].as_str().unwrap().to_owned()
    };
    let (one, two) = (manifest(first), manifest(second));
    assert_eq!(meant(&["--app", first], &[("TENANTD_APP", second)]), *first);
    assert_eq!(
        meant(&["--config", &two], &[("TENANTD_APP", first)]),
        *second
    );
    let both = [("TENANTD_CONFIG", &*two), ("TENANTD_APP", first)];
    assert_eq!(meant(&[], &both), *first);
    assert_eq!(meant(&[], &[("TENANTD_CONFIG", &one)]), *first);
}

#[test]
fn list_does_not_wait_for_a_hanging_supervisor() {
    support::enter();
    let socket = wire::control_socket(&"deaf".parse().unwrap());
    std::fs::create_dir_all(socket.parent().unwrap()).unwrap();
    // The socket listens, and connections are never accepted.
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let status = tenantd(&["status"])
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let json = listed();
    assert_eq!(json["applications"][0]["state"], "unknown");
    let why = json["applications"][0]["why"].as_str().unwrap();
    assert!(why.contains("did not answer within 5 s"), "{why}");
    let status = status.wait_with_output().unwrap();
    assert_eq!(status.status.code(), Some(1));
    let said = String::from_utf8(status.stderr).unwrap();
    assert!(said.contains("did not answer within 5 s"), "{said}");
}
