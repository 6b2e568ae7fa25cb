//! The firewall of a running application: changed by a reload, and without its supervisor.

use std::fs;
use std::net::TcpListener;
use std::process::Command;

use crate::support::daemon::{Daemon, in_time, run, write_manifest};
use crate::support::place::{self, example};

const MANIFEST: &str = r#"
[app]
name = "APP"
user = "root"
command = ["/srv/idle"]
datastore.path = "/srv/data"
ready.tcp = 80
[tenants]
acme = { ip = "10.77.0.11" PEERS }
beta = { ip = "10.77.0.12" }
"#;

fn manifest(peers: &str) -> String {
    MANIFEST.replace("PEERS", peers)
}

fn start() -> Daemon {
    place::host();
    place::folder("/srv/data");
    example("idle");
    // Nothing else is in the way of a packet between tenants.
    fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
    Daemon::start_settled(&manifest(""))
}

/// Whether a process in acme reaches beta.
fn passes(acme: u32) -> bool {
    let script = "exec 3<>/dev/tcp/10.77.0.12/80";
    let pid = acme.to_string();
    let mut command = Command::new("nsenter");
    command.args(["-t", &pid, "-n", "timeout", "5", "bash", "-c", script]);
    run(&mut command).code == 0
}

fn flush() {
    run(in_time("nft").args(["flush", "ruleset"])).expect(0);
}

#[test]
fn a_reload_changes_the_traffic_and_restarts_nothing() {
    let daemon = start();
    let before = daemon.tenant("acme");
    let acme = before.pid.unwrap();
    assert!(!passes(acme));
    for (peers, is_open) in [
        (", peers = [\"beta\"]", true),
        ("", false),
        (", peers = [\"*\"]", true),
    ] {
        write_manifest(&daemon.app, &manifest(peers));
        let said = daemon.tell(&["diff"]);
        assert!(
            said.out.contains("the firewall, without a restart"),
            "{said:?}"
        );
        daemon.tell(&["reload"]).expect(0);
        crate::support::until("the traffic is as planned", || passes(acme) == is_open);
    }
    assert_eq!(daemon.tenant("acme").pid, before.pid);
    daemon.end();
}

#[test]
fn the_firewall_stands_without_its_supervisor_and_against_a_flush() {
    let mut daemon = start();
    let acme = daemon.tenant("acme").pid.unwrap();
    for _ in 0..20 {
        flush();
        assert!(!passes(acme), "no other process removes the tables");
    }
    daemon.kill();
    assert!(!passes(acme), "the tables stay");
    // Without an owner they can be removed: then the next supervisor makes them again.
    flush();
    assert!(passes(acme), "the way is open without them");
    daemon.again();
    daemon.settles();
    assert!(!passes(acme));
    daemon.tell(&["upgrade"]).expect(0);
    flush();
    assert!(!passes(acme), "they have an owner again");
    daemon.end();
}

#[test]
fn a_port_that_another_process_has_is_told_as_drift() {
    let daemon = start();
    let before = daemon.tenant("acme").pid;
    let taken = TcpListener::bind("0.0.0.0:9100").unwrap();
    let publish = ", publish = [\"9100 -> 80\"]";
    write_manifest(&daemon.app, &manifest(publish));
    daemon.tell(&["reload"]).expect(0);
    daemon.until_tenant("acme", |acme| acme.network.drift.is_some());
    let said = daemon.tell(&["status", "acme"]);
    assert_eq!(said.code, 1, "{said:?}");
    let drift = said.out.lines().find(|line| line.contains("DRIFT"));
    let drift = drift.unwrap_or_else(|| panic!("{said:?}"));
    assert!(drift.contains("9100/tcp"), "{drift}");
    assert_eq!(daemon.tenant("acme").pid, before);
    drop(taken);
    daemon.tell(&["stop", "acme"]).expect(0);
    daemon.tell(&["start", "acme"]).expect(0);
    assert!(daemon.tenant("acme").network.drift.is_none());
    daemon.tell(&["status", "acme"]).expect(0);
    daemon.end();
}
