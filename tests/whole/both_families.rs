//! Tenants with addresses of IPv4 and IPv6, written in the manifest or found by tenantd.

use std::fs;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::process::Command;

use serde_json::Value;
use tenantd_api::wire::TenantStatus;

use crate::support::daemon::{Daemon, LIMIT, until};
use crate::support::place;

const ACME: [&str; 2] = ["10.77.0.11", "fd00:77::11"];

/// A web server for each tenant, at all of its addresses.
fn manifest(mode: &str, tenants: &str) -> String {
    format!(
        "[app]\nname = \"APP\"\nuser = \"nobody\"\nready.tcp = 80\n\
         command = [\"/usr/bin/python3\", \"-m\", \"http.server\", \"80\", \"--bind\", \"::\"]\n\
         environment = {{ FIRST = \"{{ip}} by {{gateway}}\" }}\n\
         [network]\nmode = \"{mode}\"\nsubnet6 = \"fd00:77::/64\"\n[tenants]\n{tenants}"
    )
}

fn start(mode: &str, tenants: &str) -> Daemon {
    place::host();
    Daemon::start_settled(&manifest(mode, tenants))
}

/// Runs `ip` with these arguments, which must succeed.
#[track_caller]
fn ip(words: &str) {
    let output = Command::new("ip").args(words.split(' ')).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {words}: {error}");
}

#[track_caller]
fn serves(address: &str) {
    let at = SocketAddr::new(address.parse().unwrap(), 80);
    TcpStream::connect_timeout(&at, LIMIT).unwrap_or_else(|why| panic!("{address}: {why}"));
}

fn addresses(tenant: &TenantStatus) -> Vec<IpAddr> {
    tenant.addresses.iter().collect()
}

fn verified(daemon: &Daemon) -> Value {
    let said = daemon.tell(&["verify", "--json"]);
    let whole: Value = serde_json::from_str(&said.out).unwrap_or_else(|_| panic!("{said:?}"));
    let tenants = whole["tenants"].as_array().unwrap();
    tenants.iter().map(|it| it["drifts"].clone()).collect()
}

#[test]
fn a_tenant_is_served_in_both_families_and_adopted_with_all_its_addresses() {
    for mode in ["routed", "bridge"] {
        let tenants = "acme = { ip = [\"10.77.0.11\", \"fd00:77::11\"] }\nglobex = { ip = \"fd00:77::12\" }\n";
        let mut daemon = start(mode, tenants);
        let all = || {
            ACME.iter().for_each(|address| serves(address));
            serves("fd00:77::12");
        };
        all();
        let acme = daemon.tenant("acme");
        let expected: Vec<IpAddr> = ACME.iter().map(|it| it.parse().unwrap()).collect();
        assert_eq!(addresses(&acme), expected);
        let whole = serde_json::json!([[], []]);
        assert_eq!(verified(&daemon), whole, "{mode}");
        // What another program takes is put back.
        ip("-6 route del fd00:77::11");
        until("the route is there again", || {
            let at = SocketAddr::new(expected[1], 80);
            TcpStream::connect_timeout(&at, LIMIT).ok()
        });
        // The tenants of a supervisor that dies keep all, and the next one knows it.
        daemon.kill();
        all();
        ip("-6 route del fd00:77::12");
        daemon.again();
        daemon.until("both are adopted", |status| {
            status.tenants.iter().all(TenantStatus::is_as_wanted)
        });
        let again = daemon.tenant("acme");
        assert_eq!((again.pid, addresses(&again)), (acme.pid, expected));
        until("the route is there again", || {
            let at = "[fd00:77::12]:80".parse().unwrap();
            TcpStream::connect_timeout(&at, LIMIT).ok()
        });
        assert_eq!(verified(&daemon), whole, "{mode}");
        daemon.end();
    }
}

#[test]
fn a_subnet_of_ipv6_that_the_host_routes_elsewhere_is_refused() {
    let daemon = start(
        "routed",
        "acme = { ip = [\"10.77.0.11\", \"fd00:77::11\"] }\n",
    );
    daemon.tell(&["reload"]).expect(0);
    ip("link add up0 type bridge");
    ip("link set up0 addrgenmode none");
    ip("link set up0 up");
    for (fault, said) in [
        (
            "route add fd00:77:0:0:8000::/65 dev up0",
            "fd00:77:0:0:8000::/65, which the host routes to up0 (table 254)",
        ),
        (
            "route add fd00::/8 dev up0",
            "fd00::/8, which the host routes to up0 (table 254)",
        ),
        (
            "address add fd00:77::99/64 dev up0 nodad",
            "fd00:77::/64 on the host's interface up0",
        ),
    ] {
        ip(&format!("-6 {fault}"));
        let refused = daemon.tell(&["reload"]);
        assert_ne!(refused.code, 0, "{fault}");
        let said = format!("the subnet fd00:77::/64 overlaps {said}");
        let found = refused.out + &refused.err;
        assert!(found.contains(&said), "{fault}: {found}");
        ip(&format!(
            "-6 {}",
            fault.replace(" add ", " del ").replace(" nodad", "")
        ));
        daemon.tell(&["reload"]).expect(0);
    }
    // A default route takes nothing.
    ip("-6 route add default dev up0");
    daemon.tell(&["reload"]).expect(0);
    ip("link del up0");
    daemon.end();
}

#[test]
fn addresses_that_are_found_are_kept() {
    let daemon = start(
        "routed",
        "acme = { ip = \"auto\" }\nglobex = { ip = [\"10.77.0.40\", \"auto\"] }\n",
    );
    let of = |name: &str| addresses(&daemon.tenant(name));
    let (acme, globex) = (of("acme"), of("globex"));
    assert!(
        acme[0].is_ipv4() && acme[1].is_ipv6() && acme.len() == 2,
        "{acme:?}"
    );
    assert_eq!(globex[0].to_string(), "10.77.0.40");
    acme.iter()
        .chain(&globex)
        .for_each(|address| serves(&address.to_string()));
    let record = fs::read_to_string(format!("/var/lib/tenantd/.addresses/{}/acme", daemon.app));
    assert_eq!(record.unwrap(), format!("{}\n{}\n", acme[0], acme[1]));
    // Others that come first, and those that go, change nothing.
    let text = fs::read_to_string(&daemon.manifest).unwrap();
    let more: String = (0..20)
        .map(|n| format!("t{n} = {{ ip = \"auto\", autostart = false }}\n"))
        .collect();
    fs::write(
        &daemon.manifest,
        text.replace("[tenants]\n", &format!("[tenants]\n{more}")),
    )
    .unwrap();
    let diff = daemon.tell(&["diff"]).expect(3);
    assert!(!diff.contains("acme"), "{diff}");
    daemon.tell(&["reload"]).expect(0);
    assert_eq!((of("acme"), of("globex")), (acme.clone(), globex));
    fs::write(
        &daemon.manifest,
        text.replace("acme = { ip = \"auto\" }\n", ""),
    )
    .unwrap();
    daemon.tell(&["reload"]).expect(0);
    daemon.until("acme is gone", |status| status.tenants.len() == 1);
    fs::write(&daemon.manifest, &text).unwrap();
    daemon.tell(&["reload"]).expect(0);
    daemon.until_tenant("acme", TenantStatus::is_as_wanted);
    assert_eq!(of("acme"), acme);
    daemon.end();
}

#[test]
fn addresses_are_added_and_removed_by_a_reload_without_a_relaunch() {
    let mut daemon = start(
        "bridge",
        "acme = { ip = \"10.77.0.11\" }\nglobex = { ip = [\"10.77.0.12\", \"fd00:77::11\"] }\n",
    );
    let pids = |daemon: &Daemon| ["acme", "globex"].map(|name| daemon.tenant(name).pid);
    let before = pids(&daemon);
    let text = fs::read_to_string(&daemon.manifest).unwrap();
    // One address goes from one tenant to the other, and one is new.
    let new = text
        .replace(
            "ip = \"10.77.0.11\"",
            "ip = [\"10.77.0.11\", \"fd00:77::11\", \"10.77.0.20\"]",
        )
        .replace("[\"10.77.0.12\", \"fd00:77::11\"]", "\"10.77.0.12\"");
    fs::write(&daemon.manifest, new).unwrap();
    let diff = daemon.tell(&["diff"]).expect(3);
    assert!(
        diff.contains("live acme\n") && diff.contains("its addresses, without a restart"),
        "{diff}"
    );
    daemon.tell(&["reload"]).expect(0);
    for address in ["10.77.0.11", "10.77.0.20", "fd00:77::11", "10.77.0.12"] {
        let at = SocketAddr::new(address.parse().unwrap(), 80);
        until(address, || TcpStream::connect_timeout(&at, LIMIT).ok());
    }
    assert_eq!(pids(&daemon), before);
    assert_eq!(addresses(&daemon.tenant("acme")).len(), 3);
    assert_eq!(verified(&daemon), serde_json::json!([[], []]));
    // The next supervisor finds them, and nothing to change.
    daemon.kill();
    daemon.again();
    daemon.until("both are adopted", |status| {
        status.tenants.iter().all(TenantStatus::is_as_wanted)
    });
    assert_eq!(pids(&daemon), before);
    assert_eq!(daemon.tell(&["diff"]).expect(0), "no changes\n");
    assert_eq!(verified(&daemon), serde_json::json!([[], []]));
    daemon.end();
}
