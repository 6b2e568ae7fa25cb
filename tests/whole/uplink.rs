//! Tenants with addresses of a network of the host's own interface, as an operator runs them.

use std::fs::File;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::thread;
use std::time::Duration;

use nix::sched::{CloneFlags, setns};
use tenantd_api::wire::TenantStatus;

use crate::support;
use crate::support::daemon::{Daemon, tenantd, write_manifest};
use crate::support::place;

const MANIFEST: &str = r#"
[app]
name = "APP"
user = "root"
command = ["/usr/bin/python3", "-c", """SERVER"""]
datastore.path = "/srv/data"
ready.tcp = 80
restart = { delay = "100ms", strikes = 0 }
[network]
uplink = "up0"
KEYS
[tenants]
acme = { ip = ACME }
beta = { ip = "10.77.0.12" }
"#;

/// A server on port 80 of both families.
const SERVER: &str = r#"
import socket
server = socket.create_server(("::", 80), family=socket.AF_INET6, dualstack_ipv6=True)
while True:
    server.accept()[0].close()
"#;

fn manifest(acme: &str, keys: &str) -> String {
    let text = MANIFEST.replace("ACME", acme).replace("KEYS", keys);
    text.replace("SERVER", SERVER)
}

/// Ends it. What the host has learnt of its neighbours meanwhile is none of its traces: they ask no longer.
fn end(daemon: Daemon) {
    ip("-n office link set eth0 arp off");
    ip("neigh flush dev up0");
    // A router has the anycast address of its network.
    std::fs::write("/proc/sys/net/ipv6/conf/up0/forwarding", "0").unwrap();
    daemon.end();
}

fn ip(words: &str) -> String {
    let output = Command::new("ip").args(words.split(' ')).output().unwrap();
    assert!(output.status.success(), "ip {words}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The host is 192.0.2.1 and 2001:db8::1 on `up0`, and another machine in that network has 192.0.2.9 and 192.0.2.60.
fn host() {
    place::host();
    place::folder("/srv/data");
    for words in [
        "netns add office",
        "link add up0 type veth peer name eth0 netns office address 02:09:09:09:09:09",
        // An address of its own would appear later, when the host is compared at the end.
        "link set up0 addrgenmode none",
        "link set up0 up",
        "address add 192.0.2.1/24 dev up0",
        "address add 2001:db8::1/64 dev up0 nodad",
        "-n office link set eth0 addrgenmode none",
        "-n office link set eth0 up",
        "-n office link set lo up",
        "-n office address add 192.0.2.9/24 dev eth0",
        "-n office address add 192.0.2.60/24 dev eth0",
        "-n office address add 2001:db8::9/64 dev eth0 nodad",
    ] {
        ip(words);
    }
    support::until("the other machine is ready", || {
        !ip("-n office address show dev eth0").contains("tentative")
    });
}

/// What the other machine gets when it connects.
fn from_office(to: &str) -> Result<(), ErrorKind> {
    let to = SocketAddr::new(to.parse().unwrap(), 80);
    let office = File::open("/run/netns/office").unwrap();
    let asked = thread::spawn(move || {
        setns(office, CloneFlags::CLONE_NEWNET).unwrap();
        TcpStream::connect_timeout(&to, Duration::from_secs(10)).map(drop)
    });
    asked.join().unwrap().map_err(|error| error.kind())
}

fn check(daemon: &Daemon) -> (i32, String) {
    let output = tenantd(&["check", "--config", daemon.manifest.to_str().unwrap()]);
    (output.code, output.out + &output.err)
}

const BOTH: &str = r#"["10.77.0.11", "192.0.2.50", "2001:db8::50"]"#;
const SET: &str = "subnet6 = \"fd00:77::/64\"\nset_uplink = true";

#[test]
fn a_tenant_has_an_address_of_the_office_while_it_runs_and_under_the_next_supervisor() {
    host();
    let mut daemon = Daemon::start_settled(&manifest(BOTH, SET));
    assert_eq!(check(&daemon).0, 0);
    let both = ["192.0.2.50", "2001:db8::50"];
    both.iter().for_each(|it| from_office(it).unwrap());
    daemon.tell(&["verify"]).expect(0);
    assert_eq!(daemon.tell(&["diff"]).expect(0), "no changes\n");
    let plan = tenantd(&["plan", "--config", daemon.manifest.to_str().unwrap()]);
    assert!(
        plan.out.contains("up0, whose settings are changed"),
        "{plan:?}"
    );
    // It stays while no supervisor runs, and afterwards.
    daemon.kill();
    from_office(both[0]).unwrap();
    ip("neigh del proxy 192.0.2.50 dev up0");
    daemon.again();
    daemon.until_tenant("acme", TenantStatus::is_as_wanted);
    support::until("the entry is put back", || {
        ip("neigh show proxy").contains("192.0.2.50")
    });
    both.iter().for_each(|it| from_office(it).unwrap());
    // The kernel does not tell of this.
    ip("neigh del proxy 192.0.2.50 dev up0");
    let said = daemon.tell(&["verify"]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(
        said.out.contains("the host answers for 192.0.2.50 on up0"),
        "{said:?}"
    );
    daemon.tell(&["verify", "--repair"]).expect(0);
    // A reload moves one to another tenant, without a restart.
    let moved = manifest(r#"["10.77.0.11", "2001:db8::50"]"#, SET)
        .replace("\"10.77.0.12\"", "[\"10.77.0.12\", \"192.0.2.50\"]");
    write_manifest(&daemon.app, &moved);
    let before = daemon.tenant("beta").pid;
    daemon.tell(&["reload"]).expect(0);
    assert_eq!(daemon.tenant("beta").pid, before);
    both.iter().for_each(|it| from_office(it).unwrap());
    daemon.tell(&["verify"]).expect(0);
    daemon.tell(&["stop", "beta"]).expect(0);
    ip("-n office neigh flush all");
    assert_eq!(from_office(both[0]), Err(ErrorKind::HostUnreachable));
    from_office(both[1]).unwrap();
    // Without the uplink, while a tenant runs.
    let plain = manifest("\"10.77.0.11\"", "").replace("uplink = \"up0\"", "");
    write_manifest(&daemon.app, &plain);
    daemon.tell(&["reload"]).expect(0);
    daemon.tell(&["verify"]).expect(0);
    assert_eq!(ip("neigh show proxy"), "");
    end(daemon);
}

#[test]
fn an_address_that_another_machine_has_is_said_by_status_and_taken_once_it_is_free() {
    host();
    let daemon = Daemon::start(&manifest("\"192.0.2.60\"", "set_uplink = true"));
    // It delays no other tenant.
    daemon.until_tenant("beta", TenantStatus::is_as_wanted);
    let acme = daemon.until_tenant("acme", |acme| acme.why.is_some());
    let why = acme.why.unwrap().to_string();
    assert!(why.contains("02:09:09:09:09:09"), "{why}");
    let said = daemon.tell(&["status", "--failed"]);
    assert!((said.out + &said.err).contains("the machine with the MAC address 02:09:09:09:09:09"));
    ip("-n office address del 192.0.2.60/24 dev eth0");
    daemon.until_tenant("acme", TenantStatus::is_as_wanted);
    from_office("192.0.2.60").unwrap();
    end(daemon);
}

#[test]
fn check_says_what_the_uplink_lacks() {
    host();
    let daemon = Daemon::start_settled(&manifest("\"192.0.2.50\"", ""));
    let line = "sysctl -w net.ipv4.conf.up0.forwarding=1";
    let (code, said) = check(&daemon);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains(&format!("  mend it: {line}")), "{said}");
    let doctor = tenantd(&["doctor"]);
    assert!(
        doctor.out.contains(&format!("  mend it: {line}")),
        "{doctor:?}"
    );
    assert_eq!(from_office("192.0.2.50"), Err(ErrorKind::HostUnreachable));
    let words: Vec<&str> = line.split(' ').collect();
    let set = Command::new(words[0]).args(&words[1..]).output().unwrap();
    assert!(set.status.success(), "{set:?}");
    from_office("192.0.2.50").unwrap();
    assert!(!check(&daemon).1.contains("host: uplink"));
    end(daemon);
}

#[test]
fn check_says_which_addresses_an_uplink_cannot_have() {
    host();
    let daemon = Daemon::start_settled(&manifest("\"192.0.2.50\"", ""));
    for (acme, keys, said) in [
        (
            "\"192.0.3.50\"",
            "",
            "the address 192.0.3.50 is in no network of the host's interface up0",
        ),
        (
            "\"192.0.2.255\"",
            "",
            "192.0.2.255 is the broadcast address of 192.0.2.0/24",
        ),
        (
            "\"192.0.2.1\"",
            "",
            "the host already has the address 192.0.2.1, on up0",
        ),
        (
            "\"2001:db8::50\"",
            "",
            "the address 2001:db8::50 needs an IPv6 subnet",
        ),
        (
            "\"10.77.0.11\"",
            "mode = \"bridge\"",
            "`uplink` needs `mode = \"routed\"`",
        ),
        (
            "\"192.0.2.50\"",
            "subnet = \"192.0.2.0/24\"",
            "with `uplink`, tenants can have addresses",
        ),
    ] {
        let text = manifest(acme, keys).replace(
            "10.77.0.12",
            if keys.contains("192") {
                "192.0.2.12"
            } else {
                "10.77.0.12"
            },
        );
        write_manifest(&daemon.app, &text);
        let (code, found) = check(&daemon);
        assert_eq!(code, 78, "{found}");
        assert!(found.contains(said), "{said}: {found}");
    }
    let other = manifest("\"10.77.0.11\"", "").replace("\"up0\"", "\"up1\"");
    write_manifest(&daemon.app, &other);
    let (code, found) = check(&daemon);
    assert_eq!(code, 78, "{found}");
    assert!(
        found.contains("the host has no interface up1 with an address"),
        "{found}"
    );
    assert!(found.contains("interfaces with addresses are"), "{found}");
    write_manifest(&daemon.app, &manifest("\"192.0.2.50\"", ""));
    end(daemon);
}
