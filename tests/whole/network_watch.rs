//! Other programs of the host change the network that tenantd made: it is mended, said and counted.

use std::process::Command;

use tenantd_api::wire::{StateWord, TenantStatus};

use crate::support::daemon::Daemon;
use crate::support::place::{self, example};
use crate::support::visit::accepts;

const MANIFEST: &str = r#"
[app]
name = "APP"
user = "root"
command = ["/srv/idle"]
datastore.path = "/srv/data"
ready.tcp = 80
[network]
mode = "MODE"
[tenants]
acme = { ip = "10.77.0.11" }
beta = { ip = "10.77.0.12" }
"#;

/// Runs `ip` with these arguments, which must succeed.
#[track_caller]
fn ip(words: &str) -> String {
    let output = Command::new("ip").args(words.split(' ')).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {words}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

fn started(mode: &str) -> Daemon {
    place::host();
    place::folder("/srv/data");
    example("idle");
    Daemon::start_settled(&MANIFEST.replace("MODE", mode))
}

/// The host end of a tenant's link.
fn host_end(daemon: &Daemon, tenant: &str) -> String {
    let links: serde_json::Value = serde_json::from_str(&ip("-j link show")).unwrap();
    let mark = format!("tenantd:{}/{tenant}", daemon.app);
    let links = links.as_array().unwrap();
    let found = links.iter().find(|link| link["ifalias"] == mark.as_str());
    found.unwrap()["ifname"].as_str().unwrap().to_owned()
}

#[test]
fn what_the_host_takes_is_mended_counted_and_logged() {
    let daemon = started("routed");
    ip("route del 10.77.0.11");
    let acme = daemon.until_tenant("acme", |it| it.network.mended == 1);
    assert!(acme.is_as_wanted() && accepts("10.77.0.11", 80));
    let said = daemon.output();
    let line = "acme: mended what another program of the host had changed: the route 10.77.0.11/32";
    assert!(said.contains(line), "{said}");
    assert_eq!(daemon.tenant("beta").network.mended, 0);
    assert_eq!((acme.restarts, daemon.tenant("acme").restarts), (0, 0));
}

#[test]
fn a_tenant_whose_link_is_deleted_is_provisioned_again() {
    for mode in ["routed", "bridge"] {
        let daemon = started(mode);
        let before = daemon.tenant("acme");
        ip(&format!("link del {}", host_end(&daemon, "acme")));
        let after = daemon.until_tenant("acme", |it| it.pid != before.pid && it.is_as_wanted());
        assert_eq!(after.restarts, 1, "{}", daemon.output());
        assert!(accepts("10.77.0.11", 80), "{mode}");
        let said = daemon.output();
        let why = "acme: up → stopping: cannot keep the link ";
        assert_eq!(said.matches(why).count(), 1, "{said}");
        assert_eq!(daemon.tenant("beta").restarts, 0);
    }
}

#[test]
fn what_cannot_be_mended_is_shown_as_drift() {
    let daemon = started("routed");
    ip("link add up0 type bridge");
    ip("link set up0 up");
    ip("route add default dev up0 table 77");
    ip("rule add to 10.77.0.12 lookup 77");
    let beta = daemon.until_tenant("beta", |it| it.network.drift.is_some());
    assert!(!beta.is_as_wanted());
    assert_eq!(beta.state, StateWord::Up);
    let said = daemon.tell(&["status"]).expect(1);
    let line = "  DRIFT cannot set the route 10.77.0.12/32: the host routes it to up0 by table 77: remove that, \
                see `ip rule` and `ip route get 10.77.0.12`\n";
    assert!(said.contains(line), "{said}");
    ip("rule del to 10.77.0.12 lookup 77");
    daemon.until_tenant("beta", |it| it.network.drift.is_none());
    daemon.tell(&["status"]).expect(0);
    ip("link del up0");
}

#[test]
fn what_is_taken_while_no_supervisor_runs_is_mended_by_the_next_one() {
    let mut daemon = started("routed");
    let before = daemon.tenant("acme");
    daemon.kill();
    ip("route del 10.77.0.11");
    ip(&format!("link del {}", host_end(&daemon, "beta")));
    daemon.again();
    let acme = daemon.until_tenant("acme", |it| it.network.mended == 1 && it.is_as_wanted());
    assert_eq!(acme.pid, before.pid);
    assert!(accepts("10.77.0.11", 80));
    daemon.until_tenant("beta", TenantStatus::is_as_wanted);
    assert!(accepts("10.77.0.12", 80));
}

#[test]
fn without_a_change_nothing_is_said() {
    let daemon = started("bridge");
    daemon.tell(&["restart", "acme"]).expect(0);
    daemon.tell(&["stop", "beta"]).expect(0);
    daemon.tell(&["start", "beta"]).expect(0);
    let status = daemon.settles();
    for tenant in &status.tenants {
        assert_eq!(tenant.network, Default::default(), "{}", tenant.name);
    }
    assert_eq!(status.network, Default::default());
    let said = daemon.output();
    assert!(!said.contains("mended"), "{said}");
}
