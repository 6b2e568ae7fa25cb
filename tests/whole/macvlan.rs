//! Tenants that have macvlans of an interface of the host, as an operator runs them.

use std::process::{Child, Command, Stdio};

use tenantd_api::wire::StateWord;

use crate::support::daemon::{Daemon, in_time, run, tenantd, write_manifest};
use crate::support::place::{self, example};

const MANIFEST: &str = r#"
[app]
name = "APP"
user = "root"
command = ["/srv/idle"]
datastore.path = "/srv/data"
ready.tcp = 80
alive = { tcp = 80, interval = "1s", timeout = "1s" }
NETWORK
[tenants]
acme = { ip = ["10.20.0.11", "fd00:20::11"] }
beta = { ip = "10.20.0.12" }
"#;

pub const MACVLAN: &str = r#"
[network]
mode = "macvlan"
parent = "lan0"
subnet = "10.20.0.0/24"
gateway = "10.20.0.1"
subnet6 = "fd00:20::/64"
gateway6 = "fe80::1"
"#;

pub const ROUTED: &str = r#"
[network]
subnet = "10.20.0.0/24"
subnet6 = "fd00:20::/64"
"#;

pub fn manifest(network: &str) -> String {
    MANIFEST.replace("NETWORK", network)
}

/// Another machine in the network of the host's `lan0`.
pub struct Machine(Child);

impl Machine {
    pub fn new() -> Self {
        let mut process = Command::new("unshare")
            .args(["-n", "sh", "-c", "echo; exec sleep 600"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // It has its namespace.
        std::io::Read::read(process.stdout.as_mut().unwrap(), &mut [0]).unwrap();
        let pid = process.id();
        ip(&format!(
            "link add lan0 type veth peer name lan1 netns {pid}"
        ));
        ip("link set lan0 addrgenmode none up");
        let machine = Self(process);
        machine.run("ip link set lan1 addrgenmode none up");
        machine.run("ip address add 10.20.0.50/24 dev lan1");
        machine.run("ip address add fd00:20::50/64 dev lan1 nodad");
        machine
    }

    fn try_run(&self, words: &str) -> bool {
        let pid = self.0.id().to_string();
        let mut command = in_time("nsenter");
        command
            .args(["-t", &pid, "-n", "--"])
            .args(words.split(' '));
        run(&mut command).code == 0
    }

    pub fn run(&self, words: &str) {
        assert!(self.try_run(words), "{words}");
    }

    fn accepts(&self, address: &str) -> bool {
        let pid = self.0.id().to_string();
        let mut command = in_time("nsenter");
        let connect = format!("exec 3<>/dev/tcp/{address}/80");
        command.args([
            "-t", &pid, "-n", "--", "timeout", "2", "bash", "-c", &connect,
        ]);
        run(&mut command).code == 0
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

pub fn ip(words: &str) -> String {
    run(in_time("ip").args(words.split(' '))).expect(0)
}

fn start() -> (Machine, Daemon) {
    place::host();
    place::folder("/srv/data");
    example("idle");
    let machine = Machine::new();
    (machine, Daemon::start_settled(&manifest(MACVLAN)))
}

pub fn is_served(machine: &Machine) {
    for address in ["10.20.0.11", "10.20.0.12"] {
        assert!(machine.accepts(address), "{address}");
    }
}

#[test]
fn tenants_are_machines_of_the_network_and_ready_by_a_look_from_inside() {
    let (machine, mut daemon) = start();
    // Both are ready, and asked each second whether they are alive.
    for tenant in ["acme", "beta"] {
        assert!(
            daemon.tenant(tenant).is_as_wanted(),
            "{:?}",
            daemon.tenant(tenant)
        );
    }
    is_served(&machine);
    daemon.tell(&["verify"]).expect(0);
    let pids = |daemon: &Daemon| ["acme", "beta"].map(|name| daemon.tenant(name).pid);
    let before = pids(&daemon);
    daemon.kill();
    is_served(&machine);
    daemon.again();
    daemon.settles();
    assert_eq!(pids(&daemon), before);
    daemon.tell(&["verify"]).expect(0);
    is_served(&machine);
    // What was taken in the tenant is found, and mended.
    let acme = before[0].unwrap().to_string();
    for broken in [
        "nft delete table netdev TABLE",
        "nft flush table inet TABLE",
        "ip link set eth0 mtu 1300",
    ] {
        let table = format!("tenantd_{}", daemon.app.replace('-', "_"));
        let broken = broken.replace("TABLE", &table);
        let mut command = in_time("nsenter");
        command
            .args(["-t", &acme, "-n", "--"])
            .args(broken.split(' '));
        run(&mut command).expect(0);
        daemon.tell(&["verify", "acme"]).expect(1);
        daemon.tell(&["verify", "--repair", "acme"]).expect(0);
        daemon.tell(&["verify"]).expect(0);
    }
    is_served(&machine);
    daemon.tell(&["restart", "acme"]).expect(0);
    is_served(&machine);
    daemon.end();
}

#[test]
fn a_parent_that_is_down_is_shown_until_it_is_up() {
    let (machine, daemon) = start();
    ip("link set lan0 down");
    daemon.until("the parent's state is shown", |status| {
        status.network.drift.is_some()
    });
    for tenant in [&[] as &[&str], &["acme"]] {
        let said = daemon.tell(&[&["status"], tenant].concat()).expect(1);
        assert!(said.contains("ip link set lan0 up"), "{said}");
    }
    // Its own network is as before.
    assert_eq!(daemon.tenant("acme").state, StateWord::Up);
    ip("link set lan0 up");
    daemon.until("it is up", |status| status.network.drift.is_none());
    daemon.tell(&["status"]).expect(0);
    is_served(&machine);
    daemon.end();
}

/// The gateway is a machine outside there, which nobody has asked to be tried.
#[test]
fn the_leak_test_tries_no_machine_outside() {
    let (machine, daemon) = start();
    machine.run("ip address add 10.20.0.1/24 dev lan1");
    machine.run("nft add table ip seen");
    machine.run("nft add chain ip seen arrived { type filter hook input priority 0; }");
    machine.run("nft add rule ip seen arrived counter");
    let said = daemon.tell(&["leak-test", "--json"]);
    assert!(said.out.contains("connect to a port of it"), "{}", said.err);
    assert!(!said.out.contains("gateway"));
    assert_eq!(said.code, 0);
    let pid = machine.0.id().to_string();
    let mut list = in_time("nsenter");
    list.args(["-t", &pid, "-n", "--", "nft", "list", "table", "ip", "seen"]);
    let seen = run(&mut list).expect(0);
    assert!(seen.contains("packets 0 "), "{seen}");
    daemon.end();
}

#[test]
fn the_mode_is_exchanged_by_a_reload() {
    let (machine, daemon) = start();
    write_manifest(&daemon.app, &manifest(ROUTED));
    let said = daemon.tell(&["diff"]).expect(3);
    assert!(
        said.contains("mode              macvlan → routed"),
        "{said}"
    );
    assert!(said.contains("parent            - lan0"), "{said}");
    daemon.tell(&["reload"]).expect(0);
    daemon.tell(&["verify"]).expect(0);
    assert!(crate::support::visit::accepts("10.20.0.11", 80));
    write_manifest(&daemon.app, &manifest(MACVLAN));
    daemon.tell(&["reload"]).expect(0);
    daemon.tell(&["verify"]).expect(0);
    is_served(&machine);
    daemon.end();
}

#[test]
fn an_address_of_another_machine_is_told_by_the_start() {
    let (machine, daemon) = start();
    daemon.tell(&["stop", "beta"]).expect(0);
    machine.run("ip address add 10.20.0.12/24 dev lan1");
    let said = daemon.tell(&["start", "beta"]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!((said.out + &said.err).contains("the machine with the MAC address"));
    machine.run("ip address delete 10.20.0.12/24 dev lan1");
    daemon.tell(&["start", "beta"]).expect(0);
    is_served(&machine);
    daemon.end();
}

#[test]
fn check_refuses_an_interface_that_can_have_no_macvlan() {
    place::host();
    place::folder("/srv/data");
    example("idle");
    ip("link add br0 type bridge");
    ip("link add lan0 type veth peer name lan1");
    ip("link add up0 link lan1 type macvlan");
    ip("link set lan0 master br0");
    for (parent, why) in [
        ("lan0", "lan0 is a port of br0"),
        ("up0", "up0 is a macvlan or an ipvlan itself"),
        ("lo", "lo does not carry frames of Ethernet"),
        ("lan9", "the host has no interface lan9"),
    ] {
        let text = manifest(&MACVLAN.replace("lan0", parent));
        let path = write_manifest("checked", &text);
        let said = tenantd(&["--config", path.to_str().unwrap(), "check"]);
        assert_eq!(said.code, 78, "{said:?}");
        assert!(said.err.contains(why), "{said:?}");
    }
}
