//! The rates of tenants, by real traffic.

use std::process::{Child, Command};
use std::time::Instant;

use crate::support::daemon::{Daemon, in_time, run, write_manifest};
use crate::support::place::{self, example};
use crate::support::until;

const MANIFEST: &str = r#"
[app]
name = "APP"
user = "root"
command = ["/srv/idle"]
datastore.path = "/srv/data"
ready.tcp = 80
[tenants]
acme = { ip = "10.77.0.11" RATE }
"#;

/// Sends datagrams as fast as it can: 40 at once, each a frame of 1,514 bytes (`UDP_SEGMENT`).
const SEND: &str = "import socket, sys
s = socket.socket(type=socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, 32, 4 << 20)
s.setsockopt(socket.IPPROTO_UDP, 103, 1472)
data = bytes(40 * 1472)
while True:
    s.sendto(data, (sys.argv[1], 9))";

/// The link counts the headers of 40 frames once, and the bucket each of them.
const COUNTED: f64 = (40.0 * 1514.0) / (40.0 * 1472.0 + 42.0);

fn manifest(rate: &str) -> String {
    MANIFEST.replace("RATE", rate)
}

fn start(rate: &str) -> Daemon {
    place::host();
    place::folder("/srv/data");
    example("idle");
    Daemon::start_settled(&manifest(rate))
}

/// The host's end of acme's link, as `ip` shows it.
fn host_end() -> serde_json::Value {
    let shown = run(in_time("ip").args(["-s", "-j", "link", "show"])).expect(0);
    let links: Vec<serde_json::Value> = serde_json::from_str(&shown).unwrap();
    let is_its = |link: &serde_json::Value| {
        link["ifalias"]
            .as_str()
            .is_some_and(|alias| alias.ends_with("/acme"))
    };
    links.into_iter().find(is_its).unwrap()
}

/// Kills the sender when it is dropped.
struct Sender(Child);

impl Drop for Sender {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// The rate of two seconds of traffic, in Mbit/s. In a direction of the tenant's: `rx` or `tx` of the host's end is the
/// other one.
fn rate(daemon: &Daemon, inward: bool, expected: f64) -> f64 {
    let pid = daemon.tenant("acme").pid.unwrap().to_string();
    let (mut sender, to, counter) = match inward {
        true => (Command::new("python3"), "10.77.0.11", "tx"),
        false => {
            let mut sender = Command::new("nsenter");
            sender.args(["-t", &pid, "-n", "python3"]);
            (sender, "10.77.0.1", "rx")
        }
    };
    let _sender = Sender(sender.args(["-c", SEND, to]).spawn().unwrap());
    let bytes = || host_end()["stats64"][counter]["bytes"].as_f64().unwrap();
    let enough = expected * 1e6 / 8.0;
    let first = bytes();
    until("the burst is over", || bytes() > first + enough / 5.0);
    let (begun, before) = (Instant::now(), bytes());
    let mut last = before;
    until("two seconds of traffic have passed", || {
        last = bytes();
        last > before + 2.0 * enough
    });
    COUNTED * (last - before) * 8.0 / 1e6 / begun.elapsed().as_secs_f64()
}

/// Whether a rate is as expected. A busy processor makes it lower: the best of some counts, and each may be too high.
#[track_caller]
fn assert_rate(daemon: &Daemon, inward: bool, expected: f64) {
    let mut best = 0.0;
    for _ in 0..5 {
        let found = rate(daemon, inward, expected);
        assert!(found < expected * 1.05, "{found} Mbit/s");
        best = f64::max(best, found);
        if best > expected * 0.95 {
            return;
        }
    }
    panic!("{best} Mbit/s of {expected}");
}

#[test]
fn a_tenant_receives_and_sends_at_its_rate() {
    let daemon = start("");
    let before = daemon.tenant("acme").pid;
    for inward in [true, false] {
        let free = rate(&daemon, inward, 100.0);
        assert!(free > 110.0, "without a limit it is more: {free} Mbit/s");
    }
    for (rates, inward, outward) in [
        (
            ", rate = { in = \"100 Mbit/s\", out = \"20 Mbit/s\" }",
            100.0,
            20.0,
        ),
        (", rate = \"50 Mbit/s\"", 50.0, 50.0),
    ] {
        write_manifest(&daemon.app, &manifest(rates));
        let said = daemon.tell(&["diff"]).out;
        assert!(
            said.contains("the rates of the tenant's link, without a restart"),
            "{said}"
        );
        daemon.tell(&["reload"]).expect(0);
        until("the rates are as planned", || {
            daemon.tell(&["verify"]).code == 0
        });
        assert_rate(&daemon, true, inward);
        assert_rate(&daemon, false, outward);
    }
    write_manifest(&daemon.app, &manifest(""));
    daemon.tell(&["reload"]).expect(0);
    until("the rates are as planned", || {
        daemon.tell(&["verify"]).code == 0
    });
    let free = rate(&daemon, true, 100.0);
    assert!(free > 110.0, "{free} Mbit/s");
    assert_eq!(daemon.tenant("acme").pid, before);
    daemon.end();
}

/// Live, as in the other modes; the host is a machine of the bridge's network.
#[test]
fn a_port_of_a_bridge_of_the_host_has_its_rates() {
    place::host();
    place::folder("/srv/data");
    example("idle");
    for words in [
        "link add br0 type bridge mcast_snooping 0",
        "link add lan0 up type veth peer name lan1",
        "link set lan1 up",
        "link set lan0 master br0",
        "address add 10.77.0.1/24 dev br0",
        "link set br0 up",
    ] {
        run(in_time("ip").args(words.split(' '))).expect(0);
    }
    // Its routes come and go late, and the test compares routes at its end.
    for name in ["br0", "lan0", "lan1"] {
        let key = format!("/proc/sys/net/ipv6/conf/{name}/disable_ipv6");
        std::fs::write(key, "1").unwrap();
    }
    until("the bridge forwards", || {
        let shown = run(in_time("ip").args(["-o", "link", "show", "br0"])).expect(0);
        shown.contains("state UP")
    });
    let port = |rate: &str| {
        let network = "[network]\nmode = \"bridge\"\nbridge = \"br0\"\nsubnet = \"10.77.0.0/24\"
gateway = \"10.77.0.1\"\n[defaults]\noutbound = \"routed\"\n[tenants]";
        manifest(rate).replace("[tenants]", network)
    };
    let daemon = Daemon::start_settled(&port(""));
    let before = daemon.tenant("acme").pid;
    for inward in [true, false] {
        let free = rate(&daemon, inward, 100.0);
        assert!(free > 110.0, "without a limit it is more: {free} Mbit/s");
    }
    let rates = ", rate = { in = \"100 Mbit/s\", out = \"20 Mbit/s\" }";
    write_manifest(&daemon.app, &port(rates));
    daemon.tell(&["reload"]).expect(0);
    until("the rates are as planned", || {
        daemon.tell(&["verify"]).code == 0
    });
    assert_rate(&daemon, true, 100.0);
    assert_rate(&daemon, false, 20.0);
    assert_eq!(daemon.tenant("acme").pid, before);
    // The host has learnt the tenant's address, as any machine. A running tenant would make it learn it again: its kernel
    // asks for the gateway five seconds after the first frame (arp(7), delay_first_probe_time).
    daemon.tell(&["stop", "acme"]).expect(0);
    run(in_time("ip").args(["neigh", "flush", "dev", "br0"])).expect(0);
    daemon.end();
}

#[test]
fn a_rate_that_another_program_removes_is_put_back_or_told() {
    let daemon = start(", rate = \"50 Mbit/s\"");
    let end = host_end()["ifname"].as_str().unwrap().to_owned();
    let shown = |end: &str| run(in_time("tc").args(["qdisc", "show", "dev", end])).expect(0);
    assert!(shown(&end).contains("tbf 7464: root"), "{}", shown(&end));
    run(in_time("tc").args(["qdisc", "del", "dev", &end, "root"])).expect(0);
    daemon.until_tenant("acme", |acme| acme.network.mended == 1);
    let tbf = shown(&end);
    assert!(
        tbf.contains("tbf 7464: root") && tbf.contains("rate 50Mbit"),
        "{tbf}"
    );
    let said = daemon.output();
    assert!(said.contains(&format!("the rate of {end}")), "{said}");
    // In the tenant only the host can.
    let pid = daemon.tenant("acme").pid.unwrap().to_string();
    let own = ["tc", "qdisc", "del", "dev", "eth0", "root"];
    let inside = daemon.tell(&[&["exec", "acme"], &own[..]].concat());
    assert_ne!(inside.code, 0, "{inside:?}");
    daemon.tell(&["verify"]).expect(0);
    run(in_time("nsenter").args(["-t", &pid, "-n"]).args(own)).expect(0);
    let told = daemon.tell(&["verify"]);
    assert_eq!(told.code, 1, "{told:?}");
    assert!(
        told.out.contains("rate out") && told.out.contains("50 Mbit/s"),
        "{told:?}"
    );
    // A provision makes them again.
    daemon.tell(&["stop", "acme"]).expect(0);
    daemon.tell(&["start", "acme"]).expect(0);
    daemon.tell(&["verify"]).expect(0);
    daemon.end();
}
