//! `[network]` is changed while tenants run: it is exchanged once they are released.

use std::io::ErrorKind;
use std::net::TcpStream;
use std::process::Command;

use nix::sys::signal::Signal;
use tenantd_api::wire::StateWord;

use crate::support::daemon::{Daemon, in_time, run, signal, write_manifest};
use crate::support::place::{self, example};
use crate::support::visit::accepts;

const MANIFEST: &str = r#"
[app]
name = "APP"
user = "root"
command = ["/srv/idle"]
datastore.path = "/srv/data"
ready.tcp = 80
SLOW
[network]
NETWORK
[tenants]
acme = { ip = "10.NET.0.11" }
beta = { ip = "10.NET.0.12" }
gamma = { ip = "10.NET.0.13", autostart = false }
"#;

/// A manifest with tenants in 10.`net`.0.0.
fn manifest(network: &str, net: u8) -> String {
    let text = MANIFEST.replace("NETWORK", network).replace("SLOW", "");
    text.replace("NET", &net.to_string())
}

/// The same, but its tenants do not end when they are asked to.
fn slow(network: &str, net: u8) -> String {
    let stop = "stop = { signal = \"SIGWINCH\", grace = \"1h\" }";
    let text = MANIFEST.replace("NETWORK", network).replace("SLOW", stop);
    text.replace("NET", &net.to_string())
}

fn start(manifest: &str) -> Daemon {
    place::host();
    place::folder("/srv/data");
    example("idle");
    Daemon::start_settled(manifest)
}

fn ip(words: &str) -> String {
    let output = Command::new("ip").args(words.split(' ')).output().unwrap();
    assert!(output.status.success(), "ip {words}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn inside(daemon: &Daemon, words: &[&str]) -> String {
    daemon
        .tell(&[&["exec", "acme", "--"], words].concat())
        .expect(0)
}

fn pids(daemon: &Daemon) -> Vec<Option<u32>> {
    let tenants = daemon.status().tenants;
    tenants.iter().map(|tenant| tenant.pid).collect()
}

/// Whether everything is as planned, by its own look at the host.
fn is_verified(daemon: &Daemon) {
    daemon.tell(&["verify"]).expect(0);
    for tenant in ["acme", "beta"] {
        assert!(daemon.tenant(tenant).is_as_wanted());
    }
    assert_eq!(daemon.tenant("gamma").state, StateWord::Down);
}

#[test]
fn another_subnet_takes_the_place_of_the_former_one() {
    let daemon = start(&manifest("", 77));
    let before = pids(&daemon);
    write_manifest(&daemon.app, &manifest("subnet = \"10.78.0.0/16\"", 78));
    let said = daemon.tell(&["diff"]).expect(3);
    let shown = "network, exchanged once its tenants are released\n  \
                 subnet            10.77.0.0/24 → 10.78.0.0/16\n  \
                 gateway           10.77.0.1 → 10.78.0.1\n";
    assert!(said.starts_with(shown), "{said}");
    assert!(said.contains("reprovision acme\n  subnet "), "{said}");
    let said = daemon.tell(&["reload"]).expect(0);
    assert!(
        said.contains("acme: reprovisioned because of subnet"),
        "{said}"
    );
    is_verified(&daemon);
    assert_ne!(pids(&daemon), before);
    assert!(accepts("10.78.0.11", 80) && accepts("10.78.0.12", 80));
    let routes = ip("route show table all") + &ip("address show") + &ip("neigh show nud all");
    assert!(!routes.contains("10.77."), "{routes}");
    let rules = run(in_time("nft").args(["list", "ruleset"])).expect(0);
    assert!(
        rules.contains("10.78.") && !rules.contains("10.77."),
        "{rules}"
    );
    assert_eq!(daemon.tell(&["diff"]).expect(0), "no changes\n");
    // One that was down is provisioned for the network that is there now.
    daemon.tell(&["start", "gamma"]).expect(0);
    assert!(accepts("10.78.0.13", 80));
    daemon.end();
}

#[test]
fn each_key_of_the_network_changes_with_all_that_depends_on_it() {
    let daemon = start(&manifest("", 77));
    let apply = |network: &str| {
        write_manifest(&daemon.app, &manifest(network, 77));
        let before = pids(&daemon);
        daemon.tell(&["reload"]).expect(0);
        is_verified(&daemon);
        assert_ne!(pids(&daemon), before, "{network}");
        assert!(
            accepts("10.77.0.11", 80) && accepts("10.77.0.12", 80),
            "{network}"
        );
    };
    let tables = || run(in_time("nft").args(["list", "tables"])).expect(0);
    let own = |daemon: &Daemon| inside(daemon, &["ip", "-4", "address", "show", "eth0"]);
    apply("mode = \"bridge\"");
    assert!(own(&daemon).contains("10.77.0.11/24"));
    assert_eq!(ip("-br link show type bridge_slave").lines().count(), 2);
    apply("mode = \"bridge\"\nfirewall = \"off\"");
    assert_eq!(tables(), "");
    apply("mtu = 1400\ngateway = \"10.77.0.254\"\nfirewall = \"off\"");
    assert!(own(&daemon).contains("10.77.0.11/32") && own(&daemon).contains("mtu 1400"));
    assert!(inside(&daemon, &["ip", "route"]).starts_with("default via 10.77.0.254"));
    apply("subnet6 = \"fd00:77::/64\"");
    assert!(ip("-6 route show table all").contains("fd00:77::/64"));
    // A tenant gets an address of it by the same reload.
    let text = manifest("subnet6 = \"fd00:78::/64\"", 77);
    let text = text.replace("\"10.77.0.11\"", "[\"10.77.0.11\", \"fd00:78::11\"]");
    write_manifest(&daemon.app, &text);
    daemon.tell(&["reload"]).expect(0);
    is_verified(&daemon);
    // It answers that nothing listens there; the host would say that it has no route.
    let refused = TcpStream::connect("[fd00:78::11]:80").unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    assert!(accepts("10.77.0.11", 80));
    assert!(!ip("-6 route show table all").contains("fd00:77::"));
    apply("");
    assert!(!ip("-6 route show table all").contains("fd00:"));
    assert_eq!(tables().lines().count(), 2);
    assert!(own(&daemon).contains("mtu 1500"));
    daemon.end();
}

#[test]
fn a_network_that_cannot_be_changes_nothing() {
    let daemon = start(&manifest("", 77));
    let before = daemon.status().tenants;
    let text = manifest("subnet = \"10.77.0.0/28\"", 77).replace("0.13", "0.99");
    write_manifest(&daemon.app, &text);
    for command in ["diff", "reload"] {
        let said = daemon.tell(&[command]);
        assert_eq!(said.code, 78, "{said:?}");
        let why = "the address 10.77.0.99 is outside the subnet 10.77.0.0/28";
        assert!(said.err.contains(why), "{said:?}");
    }
    assert_eq!(daemon.status().tenants, before);
    assert!(accepts("10.77.0.11", 80));
    write_manifest(&daemon.app, &manifest("", 77));
    daemon.end();
}

/// Changes the gateway. Afterwards acme is released and waits for the next network, and beta still stops. Returns
/// the process of beta.
fn half_way(daemon: &Daemon) -> u32 {
    let [acme, beta] = ["acme", "beta"].map(|name| daemon.tenant(name).pid.unwrap());
    write_manifest(&daemon.app, &slow("gateway = \"10.77.0.254\"", 77));
    daemon.tell(&["reload", "--no-wait"]).expect(0);
    daemon.until_state("acme", StateWord::Stopping);
    signal(acme, Signal::SIGKILL);
    daemon.until_state("acme", StateWord::Provisioning);
    assert_eq!(daemon.tenant("beta").state, StateWord::Stopping);
    assert!(accepts("10.77.0.12", 80));
    assert!(ip("address show").contains("10.77.0.1/32"));
    beta
}

/// Lets beta end, after which the network is the next one.
fn complete(daemon: Daemon, beta: u32) {
    if daemon.tenant("beta").pid == Some(beta) {
        signal(beta, Signal::SIGKILL);
    }
    daemon.settles();
    is_verified(&daemon);
    let addresses = ip("address show");
    assert!(addresses.contains("10.77.0.254/32") && !addresses.contains("10.77.0.1/"));
    assert!(accepts("10.77.0.11", 80) && accepts("10.77.0.12", 80));
    write_manifest(&daemon.app, &manifest("gateway = \"10.77.0.254\"", 77));
    daemon.tell(&["reload"]).expect(0);
    daemon.end();
}

#[test]
fn a_tenant_that_takes_long_to_end_keeps_its_network_meanwhile() {
    let daemon = start(&slow("", 77));
    let beta = half_way(&daemon);
    complete(daemon, beta);
}

#[test]
fn a_supervisor_that_dies_meanwhile_is_followed_by_one_that_completes_it() {
    let mut daemon = start(&slow("", 77));
    let beta = half_way(&daemon);
    daemon.kill();
    daemon.again();
    complete(daemon, beta);
}

#[test]
fn a_network_that_changed_while_no_supervisor_ran_reprovisions_what_it_finds() {
    let mut daemon = start(&manifest("", 77));
    let before = pids(&daemon);
    daemon.kill();
    // What another program took from the hub is no change of the manifest.
    let hub = ip("-br link show type bridge");
    let hub = hub.split_whitespace().next().unwrap();
    ip(&format!("address flush dev {hub}"));
    daemon.again();
    daemon.settles();
    assert_eq!(pids(&daemon), before);
    daemon.kill();
    write_manifest(&daemon.app, &manifest("gateway = \"10.77.0.254\"", 77));
    daemon.again();
    daemon.settles();
    is_verified(&daemon);
    assert_ne!(pids(&daemon), before);
    let route = inside(&daemon, &["ip", "route"]);
    assert!(route.starts_with("default via 10.77.0.254"), "{route}");
    for mode in ["bridge", "routed"] {
        daemon.kill();
        let net = if mode == "bridge" { 78 } else { 79 };
        let network = format!("subnet = \"10.{net}.0.0/24\"\nmode = \"{mode}\"");
        write_manifest(&daemon.app, &manifest(&network, net));
        daemon.again();
        daemon.settles();
        is_verified(&daemon);
        let routes = ip("route show table all");
        assert!(!routes.contains(&format!("10.{}.", net - 1)), "{routes}");
    }
    // The same gateway: nothing of the tenants depends on it.
    let before = pids(&daemon);
    daemon.kill();
    write_manifest(
        &daemon.app,
        &manifest("subnet = \"10.79.0.0/16\"\nfirewall = \"off\"", 79),
    );
    daemon.again();
    daemon.settles();
    assert_eq!(pids(&daemon), before);
    let routes = ip("route show table all");
    assert!(
        routes.contains("10.79.0.0/16") && !routes.contains("10.79.0.0/24"),
        "{routes}"
    );
    assert_eq!(run(in_time("nft").args(["list", "tables"])).expect(0), "");
    daemon.end();
}
