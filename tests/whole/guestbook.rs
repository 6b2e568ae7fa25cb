//! The example application: three tenants, three datastores, and the usual requests of an operator.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tenantd_api::wire::StateWord;

use crate::support::daemon::{self, Daemon, run};
use crate::support::place::{self, example, folder, script};
use crate::support::visit::{get, write_entry};

pub const TENANTS: [(&str, &str); 3] = [
    ("acme", "10.77.0.11"),
    ("globex", "10.77.0.12"),
    ("initech", "10.77.0.13"),
];

/// Three guest books, all of them ready.
pub fn three() -> Daemon {
    place::host();
    folder("/var/lib/guestbook");
    let program = example("guestbook");
    Daemon::start_settled(&manifest(&program))
}

pub fn manifest(program: &str) -> String {
    let tenants: String = TENANTS
        .iter()
        .map(|(name, ip)| format!("{name} = {{ ip = \"{ip}\" }}\n"))
        .collect();
    format!(
        "[app]\nname = \"APP\"\ncommand = [\"{program}\"]\nuser = \"nobody\"\n\
         datastore.path = \"/var/lib/guestbook\"\nready.tcp = 80\nstop.grace = \"5s\"\n\
         [tenants]\n{tenants}"
    )
}

fn entries(ip: &str) -> String {
    let (code, body) = get(ip, "/entries");
    assert_eq!(code, 200);
    body
}

/// The link of a tenant as seen by the host and by the tenant, without values that change by
/// themselves.
pub fn link(daemon: &Daemon, name: &str) -> (Value, Value) {
    let outside = run(daemon::in_time("ip").args(["-j", "-d", "link"])).expect(0);
    let mark = json!(format!("tenantd:{}/{name}", daemon.app));
    let outside: Vec<Value> = serde_json::from_str(&outside).unwrap();
    let host_end = outside.iter().find(|link| link["ifalias"] == mark).unwrap();
    let inside = daemon
        .tell(&["exec", name, "--", "ip", "-j", "addr"])
        .expect(0);
    let inside: Vec<Value> = serde_json::from_str(&inside).unwrap();
    let tenant_end = inside.iter().find(|link| link["ifname"] == "eth0").unwrap();
    assert_eq!(inside.len(), 2, "only lo and eth0: {inside:?}");
    let addresses: Vec<_> = tenant_end["addr_info"]
        .as_array()
        .unwrap()
        .iter()
        .map(|address| &address["local"])
        .collect();
    (
        json!([host_end["ifindex"], host_end["ifname"], host_end["address"]]),
        json!([tenant_end["ifindex"], tenant_end["address"], addresses]),
    )
}

#[test]
fn each_tenant_keeps_its_own_data_over_a_restart() {
    let daemon = three();
    for (name, ip) in TENANTS {
        write_entry(ip, name, "was+here");
    }
    for (name, ip) in TENANTS {
        assert_eq!(entries(ip), format!("{name}\twas here\n"));
        let file = format!("/var/lib/tenantd/{}/{name}/entries", daemon.app);
        assert_eq!(fs::read_to_string(file).unwrap(), entries(ip));
    }
    // The host's own folder is empty.
    assert_eq!(fs::read_dir("/var/lib/guestbook").unwrap().count(), 0);

    let before = link(&daemon, "acme");
    let others: Vec<_> = daemon.status().tenants[1..].to_vec();
    let pid = daemon.tenant("acme").pid;
    let acme = daemon.kill_tenant("acme");
    assert_eq!(acme.restarts, 1);
    assert_ne!(acme.pid, pid);
    assert_eq!(entries("10.77.0.11"), "acme\twas here\n");
    assert_eq!(
        link(&daemon, "acme"),
        before,
        "the network outlives the program"
    );
    assert_eq!(
        daemon.status().tenants[1..],
        others,
        "the others noticed nothing"
    );
}

#[test]
fn a_stop_is_proved_and_a_start_finds_the_data() {
    let daemon = three();
    write_entry("10.77.0.11", "Ann", "first");
    let acme = daemon.tenant("acme");
    let leaf = format!("/sys/fs/cgroup/tenantd/{}/acme", daemon.app);
    assert!(Path::new(&leaf).exists());
    assert!(links().contains(&format!("{}/acme", daemon.app)));

    let said = daemon.tell(&["stop", "acme"]).expect(0);
    assert!(said.contains("acme: down"), "{said}");
    let down = daemon.tenant("acme");
    assert_eq!(
        (down.state, down.pid, down.ready),
        (StateWord::Down, None, None)
    );
    assert!(!Path::new(&format!("/proc/{}", acme.pid.unwrap())).exists());
    assert!(!Path::new(&leaf).exists(), "its cgroup is gone");
    assert!(
        !links().contains(&format!("{}/acme", daemon.app)),
        "its link is gone"
    );
    let said = daemon.tell(&["stop", "acme"]).expect(0);
    assert!(said.contains("no change"), "{said}");
    // It is down, as wanted.
    daemon.tell(&["status"]).expect(0);

    let said = daemon.tell(&["start", "acme"]).expect(0);
    assert!(said.contains("acme: up, ready"), "{said}");
    assert_eq!(entries("10.77.0.11"), "Ann\tfirst\n");

    let pids = |daemon: &Daemon| -> Vec<_> {
        let tenants = daemon.status().tenants;
        tenants.iter().map(|tenant| tenant.pid.unwrap()).collect()
    };
    let before = pids(&daemon);
    daemon.tell(&["restart", "--all"]).expect(0);
    let after = pids(&daemon);
    assert!(
        before.iter().all(|pid| !after.contains(pid)),
        "{before:?} {after:?}"
    );
    assert_eq!(entries("10.77.0.11"), "Ann\tfirst\n");
    // A requested restart does not count as an automatic one.
    assert!(
        daemon
            .status()
            .tenants
            .iter()
            .all(|tenant| tenant.restarts == 0)
    );
}

fn links() -> String {
    run(daemon::in_time("ip").args(["-d", "link"])).expect(0)
}

/// The keys of a tenant in JSON, besides those that say why it is in its state.
const KEYS: &str = "name want state pid address addresses restarts since ready program permanent awaits \
    applying unapplied lid misfit killed main status_text reloading confined phase refused exit offline paused network \
    cgroup link reached usage by_hand engine last_failure starved probe";

#[test]
fn the_json_of_status_and_its_exit_code_are_as_documented() {
    let daemon = three();
    let said = daemon.tell(&["status", "--json"]).expect(0);
    let status: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(status["app"], json!(daemon.app));
    assert_eq!(status["pid"], json!(daemon.pid()));
    assert_eq!(status["tracking"], "cgroup");
    assert_eq!(status["logs"], "files");
    let tenants = status["tenants"].as_array().unwrap();
    for (tenant, (name, ip)) in tenants.iter().zip(TENANTS) {
        let mut keys: Vec<_> = tenant.as_object().unwrap().keys().cloned().collect();
        keys.retain(|key| !["until", "why", "failure"].contains(&key.as_str()));
        let mut promised: Vec<&str> = KEYS.split_whitespace().collect();
        promised.sort_unstable();
        keys.sort();
        assert_eq!(keys, promised);
        assert_eq!(tenant["name"], name);
        assert_eq!(tenant["address"], ip);
        assert_eq!(tenant["addresses"], json!([ip]));
        assert_eq!([&tenant["want"], &tenant["state"]], ["up", "up"]);
        assert_eq!(
            [&tenant["restarts"], &tenant["ready"]],
            [&json!(0), &json!(true)]
        );
        assert!(tenant["pid"].is_u64() && tenant["since"].is_string());
    }
    assert_eq!(tenants.len(), 3);

    let table = daemon.tell(&["status"]).expect(0);
    assert!(
        table.contains("NAME") && table.contains("10.77.0.12"),
        "{table}"
    );
    let one = daemon.tell(&["status", "globex"]).expect(0);
    assert!(one.contains("globex") && !one.contains("acme"), "{one}");
    let unknown = daemon.tell(&["status", "nobody-knows"]);
    assert_eq!(unknown.code, 1);
    assert!(unknown.err.contains("nobody-knows"), "{unknown:?}");
    // Selected by its manifest, and as the only running application.
    let config = daemon.manifest.to_str().unwrap();
    daemon::tenantd(&["status", "--config", config]).expect(0);
    daemon::tenantd(&["status"]).expect(0);
}

#[test]
fn a_tenant_that_is_not_as_wanted_shows_in_the_exit_code() {
    place::host();
    folder("/var/lib/guestbook");
    let program = example("guestbook");
    // The program ignores its stop signal: a restart waits for its grace.
    let deaf = script("deaf", &format!("trap '' USR1; exec {program}"));
    let manifest = manifest(&deaf).replace(
        "grace = \"5s\"",
        "signal = \"SIGUSR1\"\nstop.grace = \"2s\"",
    );
    let daemon = Daemon::start_settled(&manifest);
    let pid = daemon.tenant("acme").pid.unwrap();
    daemon.tell(&["restart", "acme", "--no-wait"]).expect(0);
    assert_eq!(daemon.tenant("acme").state, StateWord::Stopping);
    daemon.tell(&["status"]).expect(1);
    daemon.tell(&["status", "globex"]).expect(0);
    daemon.until_tenant("acme", |acme| acme.is_as_wanted() && acme.pid != Some(pid));
}
