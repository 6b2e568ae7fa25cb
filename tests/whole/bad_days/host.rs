//! Unsuitable hosts: no root, an address or a name in use, the socket of a dead supervisor.

use std::process::Command;

use crate::bad_days::{fails_to_start, host, manifest};
use crate::support::daemon::{self, Daemon, PROGRAM, run, tenantd, write_manifest};

fn ip(arguments: &str) {
    let done = Command::new("ip").args(arguments.split(' ')).status();
    assert!(done.unwrap().success(), "ip {arguments}");
}

#[test]
fn without_root_the_error_names_the_remedy() {
    host();
    let path = write_manifest("wiki", &manifest("/srv/idle", "", ""));
    let installed = Command::new("install")
        .args([PROGRAM, "/srv/tenantd"])
        .status();
    assert!(installed.unwrap().success());
    let said = run(daemon::in_time("setpriv")
        .args([
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            "/srv/tenantd",
            "--config",
        ])
        .arg(path));
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.err.contains("root"), "{said:?}");
    assert_eq!(std::fs::read_dir("/run").unwrap().count(), 0);
}

#[test]
fn a_tenant_cannot_have_an_address_of_the_host() {
    for taken in ["10.77.0.11/32", "10.77.0.1/24"] {
        host();
        ip(&format!("addr add {taken} dev lo"));
        let path = write_manifest("wiki", &manifest("/srv/idle", "", ""));
        let said = tenantd(&["--config", path.to_str().unwrap()]);
        assert_eq!(said.code, 78, "{said:?}");
        let address = taken.split('/').next().unwrap();
        assert!(said.err.contains(address), "{said:?}");
        assert!(said.err.contains("lo"), "{said:?}");
        assert_eq!(std::fs::read_dir("/run").unwrap().count(), 0);
    }
}

#[test]
fn an_interface_of_another_owner_is_kept() {
    host();
    let daemon = Daemon::start(&manifest("/srv/idle", "", ", autostart = false"));
    daemon.until_tenant("beta", tenantd_api::wire::TenantStatus::is_as_wanted);
    let config = daemon.manifest.to_str().unwrap();
    let plan = tenantd(&["plan", "--json", "--config", config]);
    let plan: serde_json::Value = serde_json::from_str(&plan.out).unwrap();
    let name = plan["tenants"][0]["link"]["host"]["name"].as_str().unwrap();
    ip(&format!("link add {name} type bridge"));
    let stranger = || run(daemon::in_time("ip").args(["-j", "link", "show", name])).expect(0);
    let before = stranger();

    fails_to_start(&daemon, &[name]);
    assert_eq!(stranger(), before);
    daemon.tell(&["stop", "acme"]).expect(0);
    assert_eq!(stranger(), before);
    ip(&format!("link del {name}"));
    daemon.tell(&["start", "acme"]).expect(0);
}

#[test]
fn the_socket_of_a_dead_supervisor_is_replaced() {
    host();
    let text = manifest("/srv/idle", "", "");
    let mut daemon = Daemon::start(&format!("{text}[defaults]\nautostart = false\n"));
    daemon.kill();
    let socket = format!("/run/tenantd/{}/control", daemon.app);
    assert!(std::fs::metadata(&socket).is_ok());
    let said = daemon.tell(&["status"]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(
        said.err.contains("tenantd run"),
        "it says what to do: {said:?}"
    );

    daemon.again();
    daemon.tell(&["status"]).expect(0);
    daemon.tell(&["start", "--all"]).expect(0);
}
