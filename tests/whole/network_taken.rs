//! A subnet that the host routes elsewhere, or that another application has: `check`, start and reload refuse it.

use std::process::Command;

use crate::support::daemon::{Daemon, tenantd};
use crate::support::place;

const MANIFEST: &str = r#"
[app]
name = "APP"
command = ["/bin/sleep", "1000"]
user = "nobody"
datastore.path = "/srv/data"
[network]
subnet = "10.77.0.0/24"
[tenants]
acme = { ip = "10.77.0.11" }
"#;

/// Runs `ip` with these arguments, which must succeed.
#[track_caller]
fn ip(words: &str) {
    let output = Command::new("ip").args(words.split(' ')).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {words}: {error}");
}

fn host() {
    place::host();
    place::folder("/srv/data");
    ip("link add up0 type bridge");
    // An address of its own would appear later, when the host is compared at the end.
    ip("link set up0 addrgenmode none");
    ip("link set up0 up");
    ip("addr add 192.0.2.1/24 dev up0");
    ip("route add default via 192.0.2.2 dev up0");
}

/// What `check` says, which ends with this code.
#[track_caller]
fn check(daemon: &Daemon, code: i32) -> String {
    let config = daemon.manifest.to_str().unwrap();
    let output = tenantd(&["check", "--config", config]);
    assert_eq!(output.code, code, "{output:?}");
    output.out + &output.err
}

#[test]
fn a_subnet_that_the_host_routes_elsewhere_is_refused() {
    host();
    let daemon = Daemon::start_settled(MANIFEST);
    // Its own routes, and the host's default route, are no reason.
    check(&daemon, 0);
    daemon.tell(&["reload"]).expect(0);
    for (fault, said) in [
        (
            "route add 10.77.0.128/25 dev up0",
            "10.77.0.128/25, which the host routes to up0 (table 254)",
        ),
        (
            "route add 10.0.0.0/8 dev up0",
            "10.0.0.0/8, which the host routes to up0 (table 254)",
        ),
        (
            "route add blackhole 10.77.0.64/26",
            "10.77.0.64/26, which the host routes elsewhere (table 254)",
        ),
        (
            "route add 10.77.0.0/16 dev up0 table 77; rule add from 192.0.2.7 lookup 77",
            "10.77.0.0/16, which the host routes to up0 (table 77)",
        ),
        (
            "route add default dev up0 table 77; rule add pref 100 lookup 77",
            "0.0.0.0/0, which the host routes to up0 (table 77)",
        ),
        (
            "route add default dev up0 table 77; rule add to 10.77.0.0/24 lookup 77",
            "10.77.0.0/24, which the host routes elsewhere (table 77)",
        ),
    ] {
        fault.split("; ").for_each(ip);
        let found = check(&daemon, 78);
        let said = format!("the subnet 10.77.0.0/24 overlaps {said}");
        assert!(found.contains(&said), "{fault}: {found}");
        let refused = daemon.tell(&["reload"]);
        assert_ne!(refused.code, 0, "{fault}");
        assert!((refused.out + &refused.err).contains(&said), "{fault}");
        fault.replace(" add ", " del ").split("; ").for_each(ip);
        check(&daemon, 0);
    }
    // A default route for some packets, and one after the main table, take nothing.
    ip("route add default dev up0 table 77");
    ip("rule add from 192.0.2.7 lookup 77");
    ip("rule add pref 32800 lookup 77");
    check(&daemon, 0);
    ip("rule del pref 32800");
    ip("rule del from 192.0.2.7");
    ip("route del default dev up0 table 77");
}

#[test]
fn a_start_with_a_subnet_of_another_application_is_refused() {
    host();
    let daemon = Daemon::start_settled(MANIFEST);
    let other = daemon.manifest.with_file_name("other.toml");
    let text = std::fs::read_to_string(&daemon.manifest).unwrap();
    let text = text
        .replace(&daemon.app, "other")
        .replace(
            "subnet = \"10.77.0.0/24\"",
            "subnet = \"10.77.0.0/16\"\ngateway = \"10.77.9.1\"",
        )
        .replace("10.77.0.11", "10.77.9.11");
    std::fs::write(&other, text).unwrap();
    let said = format!("which the application {} has", daemon.app);
    for command in ["check", "run"] {
        let output = tenantd(&[command, "--config", other.to_str().unwrap()]);
        assert_eq!(output.code, 78, "{output:?}");
        assert!((output.out + &output.err).contains(&said), "{command}");
    }
    std::fs::remove_file(&other).unwrap();
}
