//! `verify`: what a running tenant has is compared with its plan, and each difference is named.

use std::fs;

use serde_json::Value;
use tenantd_core::plan::derive::{host_end, tenant_hash};

use crate::guestbook::three;
use crate::support::daemon::{Daemon, in_time, run};

/// The drifts of a tenant: what, planned and found.
fn drifts(daemon: &Daemon, name: &str) -> Vec<[String; 3]> {
    let said = daemon.tell(&["verify", "--json", name]);
    let whole: Value = serde_json::from_str(&said.out).unwrap_or_else(|_| panic!("{said:?}"));
    let one = &whole["tenants"][0];
    assert_eq!(
        (&one["tenant"], &one["error"]),
        (&name.into(), &Value::Null),
        "{said:?}"
    );
    let drifts = one["drifts"].as_array().unwrap();
    assert_eq!(said.code, i32::from(!drifts.is_empty()), "{said:?}");
    let text = |drift: &Value, key: &str| drift[key].as_str().unwrap().to_owned();
    let parts = drifts
        .iter()
        .map(|it| ["what", "planned", "found"].map(|key| text(it, key)));
    parts.collect()
}

/// Runs a command in namespaces of a process.
fn inside(pid: u32, namespaces: &str, words: &str) {
    let mut command = in_time("nsenter");
    command
        .args(["-t", &pid.to_string()])
        .args(namespaces.split(' '));
    run(command.args(words.split(' '))).expect(0);
}

#[track_caller]
fn is(found: &[[String; 3]], what: &str, planned: &str, there: &str) {
    let wanted = [what, planned, there].map(str::to_owned);
    assert!(found.contains(&wanted), "{wanted:?} is not in {found:?}");
}

#[test]
fn a_tenant_as_planned_has_no_drift() {
    let daemon = three();
    let said = daemon.tell(&["verify"]).expect(0);
    assert_eq!(said, "3 tenants verified: all is as planned\n");
    daemon.tell(&["stop", "globex"]).expect(0);
    let said = daemon.tell(&["verify"]).expect(0);
    assert_eq!(said, "2 tenants verified: all is as planned\n");
    let said = daemon.tell(&["verify", "globex"]);
    assert_eq!(said.code, 1);
    assert!(said.out.starts_with("globex: does not run: "), "{said:?}");
    let said = daemon.tell(&["verify", "globx"]);
    assert!(said.err.contains("globex"), "{said:?}");
    daemon.end();
}

#[test]
fn each_difference_of_the_network_is_named() {
    let daemon = three();
    let pid = daemon.tenant("acme").pid.unwrap();
    let hash = tenant_hash(&daemon.app.parse().unwrap(), &"acme".parse().unwrap());
    let end = host_end(hash).name;
    run(in_time("ip").args(["link", "set", end.as_str(), "mtu", "1400"])).expect(0);
    inside(pid, "-n", "ip link set eth0 mtu 1300");
    inside(pid, "-n", "ip address add 10.9.9.9/32 dev eth0");
    inside(pid, "-n", "ip address del 10.77.0.11/32 dev eth0");
    inside(pid, "-n", "ip route del default");
    let found = drifts(&daemon, "acme");
    is(&found, "host end", "MTU 1500", "MTU 1400");
    is(&found, "tenant end", "MTU 1500", "MTU 1300");
    is(&found, "address", "none", "10.9.9.9");
    is(&found, "address", "10.77.0.11", "not there");
    is(&found, "default route", "by 10.77.0.1", "none, or another");
    assert_eq!(found.len(), 5, "{found:?}");
    assert_eq!(drifts(&daemon, "globex"), Vec::<[String; 3]>::new());
    daemon.end();
}

/// Changes what a tenant has of its network, and the MTU of links of the host.
fn break_network(pid: u32, links: [&str; 2]) {
    for link in links {
        run(in_time("ip").args(["link", "set", link, "mtu", "1400"])).expect(0);
    }
    inside(pid, "-n", "ip link set eth0 mtu 1300");
    inside(pid, "-n", "ip address add 10.9.9.9/32 dev eth0");
    inside(pid, "-n", "ip address del 10.77.0.11/32 dev eth0");
    inside(pid, "-n", "ip route del default");
    inside(pid, "-n", "ip link set eth0 down");
}

#[test]
fn what_can_be_mended_live_is_mended_and_the_rest_needs_a_restart() {
    let daemon = three();
    let acme = daemon.tenant("acme");
    let pid = acme.pid.unwrap();
    let hash = tenant_hash(&daemon.app.parse().unwrap(), &"acme".parse().unwrap());
    let end = host_end(hash).name;
    let hub = format!("td-{}", daemon.app);
    let hub = run(in_time("ip").args(["-br", "link", "show", "type", "bridge"]))
        .out
        .split_whitespace()
        .next()
        .map_or(hub, str::to_owned);
    let break_all = || break_network(pid, [end.as_str(), &hub]);
    break_all();
    let said = daemon.tell(&["verify"]);
    assert!(
        said.out
            .ends_with("not as planned, and what all tenants share\n"),
        "{said:?}"
    );
    let said = daemon.tell(&["verify", "--repair"]);
    assert_eq!(said.code, 0, "{said:?}");
    for line in [
        "acme: mended: host end: planned MTU 1500; found MTU 1400",
        "acme: mended: tenant end: planned up; found down",
        "acme: mended: tenant end: planned MTU 1500; found MTU 1300",
        "acme: mended: address: planned none; found 10.9.9.9",
        "acme: mended: address: planned 10.77.0.11; found not there",
        "acme: mended: default route: planned by 10.77.0.1; found none, or another",
        &format!(
            "{}: mended: hub: planned MTU 1500; found MTU 1400",
            daemon.app
        ),
        "3 tenants verified: all is as planned",
    ] {
        assert!(said.out.lines().any(|it| it == line), "{line}: {said:?}");
    }
    daemon.tell(&["verify"]).expect(0);
    std::net::TcpStream::connect("10.77.0.11:80").unwrap();
    break_all();
    inside(pid, "-m", "umount -l /var/lib/guestbook");
    let said = daemon.tell(&["verify", "--repair", "--json", "acme"]);
    assert_eq!(said.code, 1, "{said:?}");
    let whole: Value = serde_json::from_str(&said.out).unwrap();
    let one = &whole["tenants"][0];
    assert!(one["mended"].as_array().unwrap().len() >= 6, "{whole}");
    assert_eq!(one["drifts"].as_array().unwrap().len(), 1, "{whole}");
    assert_eq!(one["drifts"][0]["needs"], "restart", "{whole}");
    assert_eq!(whole["mended"][0]["what"], "hub", "{whole}");
    let said = daemon.tell(&["verify", "--repair"]);
    assert!(
        said.out.contains("needs `tenantd restart acme`"),
        "{said:?}"
    );
    assert_eq!(daemon.tenant("acme").pid, acme.pid);
    daemon.tell(&["restart", "acme"]).expect(0);
    daemon.tell(&["verify"]).expect(0);
    daemon.end();
}

#[test]
fn each_difference_of_mounts_and_processes_is_named() {
    let daemon = three();
    let [acme, globex, initech] =
        ["acme", "globex", "initech"].map(|name| daemon.tenant(name).pid.unwrap());
    inside(acme, "-m", "umount -l /var/lib/guestbook");
    let found = drifts(&daemon, "acme");
    is(&found, "mount", "/var/lib/guestbook mounted", "not mounted");

    // The datastore of another tenant.
    inside(globex, "-m", "umount -l /var/lib/guestbook");
    let other = format!("/proc/{initech}/root/var/lib/guestbook");
    inside(
        globex,
        "-m",
        &format!("mount --bind {other} /var/lib/guestbook"),
    );
    let found = drifts(&daemon, "globex");
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(
        (&*found[0][0], &*found[0][2]),
        ("folder of a datastore", "another folder")
    );

    let cgroup = fs::read_to_string(format!("/proc/{initech}/cgroup")).unwrap();
    if cgroup.contains("initech") {
        fs::write("/sys/fs/cgroup/cgroup.procs", initech.to_string()).unwrap();
        let found = drifts(&daemon, "initech");
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0][0], "cgroup");
    }
    daemon.end();
}

#[test]
fn a_manifest_that_is_not_applied_is_refused() {
    let daemon = three();
    let text = fs::read_to_string(&daemon.manifest).unwrap();
    fs::write(&daemon.manifest, text.replace("10.77.0.13", "10.77.0.14")).unwrap();
    let said = daemon.tell(&["verify"]);
    assert_eq!(said.code, 1);
    assert!(said.err.contains("`tenantd reload` first"), "{said:?}");
    daemon.end();
}
