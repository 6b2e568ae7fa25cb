//! Tenants that are ports of a bridge of the host, as an operator runs them.

use tenantd_api::wire::StateWord;

use crate::macvlan::{MACVLAN, Machine, ROUTED, ip, is_served, manifest};
use crate::support::daemon::{Daemon, tenantd, write_manifest};
use crate::support::place::{self, example};

fn port(bridge: &str) -> String {
    let network = MACVLAN.replace("macvlan", "bridge");
    manifest(&network.replace("parent = \"lan0\"", &format!("bridge = \"{bridge}\"")))
}

/// The host's card is a port of its bridge.
fn start() -> (Machine, Daemon) {
    place::host();
    place::folder("/srv/data");
    example("idle");
    let machine = Machine::new();
    ip("link add br0 type bridge mcast_snooping 0");
    // Its routes come and go late, and the test compares routes at its end.
    std::fs::write("/proc/sys/net/ipv6/conf/br0/disable_ipv6", "1").unwrap();
    ip("link set lan0 master br0");
    ip("link set br0 up");
    crate::support::until("the bridge forwards", || {
        ip("-o link show br0").contains("state UP")
    });
    (machine, Daemon::start_settled(&port("br0")))
}

#[test]
fn tenants_are_ports_of_the_bridge_and_nothing_else_of_it_is_touched() {
    let (machine, mut daemon) = start();
    let bridge = || {
        ip("-o link show br0")
            .split("state")
            .next()
            .map(str::to_owned)
    };
    let before = bridge();
    is_served(&machine);
    daemon.tell(&["verify"]).expect(0);
    let pids = |daemon: &Daemon| ["acme", "beta"].map(|name| daemon.tenant(name).pid);
    let first = pids(&daemon);
    daemon.kill();
    is_served(&machine);
    // Nobody puts it back now.
    let ports = ip("-br link show master br0");
    let name = ports
        .split(['@', ' ', '\n'])
        .find(|it| it.starts_with("td"));
    let name = name.unwrap().to_owned();
    ip(&format!("link set {name} type bridge_slave isolated off"));
    daemon.again();
    daemon.settles();
    assert_eq!(pids(&daemon), first);
    crate::support::until("verify finds nothing", || {
        daemon.tell(&["verify"]).code == 0
    });
    assert!(ip(&format!("-d link show {name}")).contains("isolated on"));
    ip("link set br0 down");
    daemon.until("the bridge's state is shown", |status| {
        status.network.drift.is_some()
    });
    let said = daemon.tell(&["status"]).expect(1);
    assert!(said.contains("ip link set br0 up"), "{said}");
    daemon.tell(&["verify"]).expect(1);
    assert_eq!(daemon.tenant("acme").state, StateWord::Up);
    ip("link set br0 up");
    daemon.until("it is up", |status| status.network.drift.is_none());
    // Another network, and back.
    write_manifest(&daemon.app, &manifest(ROUTED));
    let said = daemon.tell(&["diff"]).expect(3);
    assert!(said.contains("bridge            - br0"), "{said}");
    daemon.tell(&["reload"]).expect(0);
    assert!(!ip("-br link show master br0").contains("td"));
    write_manifest(&daemon.app, &port("br0"));
    daemon.tell(&["reload"]).expect(0);
    daemon.tell(&["verify"]).expect(0);
    is_served(&machine);
    daemon.end();
    assert_eq!(bridge(), before);
    assert!(!ip("-br link show master br0").contains("td"));
}

#[test]
fn check_refuses_what_is_no_bridge_for_tenants() {
    place::host();
    place::folder("/srv/data");
    example("idle");
    ip("link add br0 type bridge");
    ip("link add lan0 type veth peer name lan1");
    ip("link set lan0 master br0");
    let check = |bridge: &str| {
        let path = write_manifest("checked", &port(bridge));
        tenantd(&["--config", path.to_str().unwrap(), "check"])
    };
    for (bridge, why) in [
        ("lan0", "lan0 is a port of br0, and no bridge"),
        ("lan1", "lan1 is no bridge"),
        ("lan9", "the host has no interface lan9"),
    ] {
        let said = check(bridge);
        assert_eq!(said.code, 78, "{said:?}");
        assert!(said.err.contains(why), "{said:?}");
    }
    let said = check("br0");
    assert_ne!(said.code, 78, "{said:?}");
}
