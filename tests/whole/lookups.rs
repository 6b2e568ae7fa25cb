//! How tenants look names up: by files of their own, which follow the host and the plan.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::descriptors::{limit, open};
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
[defaults]
DEFAULTS
[tenants]
acme = { ip = "10.77.0.11" OF_ACME }
beta = { ip = "10.77.0.12" }
"#;

const RESOLV_CONF: &str = "/etc/resolv.conf";
const HOSTS: &str = "/etc/hosts";

/// A name server that does not answer.
const SILENT: &str = "198.51.100.53";

fn manifest(defaults: &str, of_acme: &str) -> String {
    let text = MANIFEST.replace("DEFAULTS", defaults);
    text.replace("OF_ACME", of_acme)
}

fn ip(words: &str) {
    run(in_time("ip").args(words.split(' '))).expect(0);
}

/// A test host with an `/etc` of its own.
fn host() {
    place::host();
    place::folder("/srv/data");
    place::folder("/srv/etc");
    run(in_time("cp").args(["-a", "/etc/.", "/srv/etc"])).expect(0);
    run(in_time("mount").args(["-n", "--bind", "/srv/etc", "/etc"])).expect(0);
    example("idle");
    ip("link add uplink type veth peer name nobody");
    for end in ["uplink", "nobody"] {
        // Its routes come and go late.
        fs::write(format!("/proc/sys/net/ipv6/conf/{end}/disable_ipv6"), "1").unwrap();
    }
    ip("link set uplink up");
    ip("link set nobody up");
    // The kernel notices it a moment later, and the test compares links at its end.
    until("both ends have a carrier", || {
        let is_up = |end: &str| {
            let link = run(in_time("ip").args(["-o", "link", "show", end])).expect(0);
            link.contains("state UP")
        };
        ["uplink", "nobody"].into_iter().all(is_up)
    });
    ip("route add 198.51.100.0/24 dev uplink");
    ip(&format!(
        "neigh add {SILENT} lladdr 02:00:00:00:00:53 dev uplink"
    ));
    fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
    replace(
        RESOLV_CONF,
        &format!("nameserver {SILENT}\noptions timeout:2 attempts:1\n"),
    );
}

/// Replaces a file of the host by rename(2), as NetworkManager does.
fn replace(path: &str, text: &str) {
    let new = format!("{path}.new");
    fs::write(&new, text).unwrap();
    fs::rename(&new, path).unwrap();
}

/// Reads a file as acme sees it.
fn read(daemon: &Daemon, path: &str) -> String {
    daemon.tell(&["exec", "acme", "cat", path]).expect(0)
}

/// The longest of some look-ups in acme, by getaddrinfo(3).
fn look_up(daemon: &Daemon) -> Duration {
    let pid = daemon.tenant("acme").pid.unwrap().to_string();
    let one = |name: &str| {
        let mut command = Command::new("nsenter");
        command.args(["-t", &pid, "-m", "-n", "getent", "ahosts", name]);
        let begun = Instant::now();
        assert_eq!(run(&mut command).code, 2, "nobody knows {name}");
        begun.elapsed()
    };
    let names = (0..4).map(|number| format!("n{number}.example"));
    names.map(|name| one(&name)).max().unwrap()
}

#[test]
fn without_a_name_server_a_look_up_fails_at_once() {
    host();
    let asks = "resolv = { file = \"host\" }\noutbound = \"nat\"";
    let daemon = Daemon::start_settled(&manifest(asks, ""));
    let waited = look_up(&daemon);
    assert!(waited > Duration::from_secs(1), "{waited:?}");
    write_manifest(&daemon.app, &manifest("", ""));
    daemon.tell(&["reload"]).expect(0);
    daemon.settles();
    let waited = look_up(&daemon);
    assert!(waited < Duration::from_millis(50), "{waited:?}");
    daemon.end();
}

#[test]
fn a_tenants_file_follows_the_host_and_the_plan() {
    host();
    place::folder("/run/systemd/resolve");
    let open = manifest("outbound = \"nat\"", "");
    let daemon = Daemon::start_settled(&open);
    let before = daemon.tenant("acme").pid;
    let servers = || {
        let text = read(&daemon, RESOLV_CONF);
        let lines = text
            .lines()
            .filter_map(|line| line.strip_prefix("nameserver "));
        lines.map(str::to_owned).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(servers(), SILENT);
    // By rename, twice, and in place.
    for server in ["192.0.2.1", "192.0.2.2"] {
        replace(
            RESOLV_CONF,
            &format!("nameserver {server}\nsearch example.com\n"),
        );
        until("it is the new one", || servers() == server);
        let text = read(&daemon, RESOLV_CONF);
        assert!(text.starts_with("# Written by tenantd for "), "{text}");
        assert!(text.ends_with("search example.com\n"), "{text}");
    }
    fs::write(RESOLV_CONF, "nameserver 192.0.2.3\n").unwrap();
    until("it is the new one", || servers() == "192.0.2.3");
    let said = daemon.output();
    let line = "acme: mounted its own /etc/resolv.conf again: the host has replaced that file";
    assert!(said.contains(line), "{said}");
    // A stub of the host, and what it asks.
    fs::write("/run/systemd/resolve/resolv.conf", "nameserver 192.0.2.4\n").unwrap();
    replace(RESOLV_CONF, "nameserver 127.0.0.53\n");
    until("it is that of the stub", || servers() == "192.0.2.4");
    fs::write("/run/systemd/resolve/resolv.conf", "nameserver 192.0.2.5\n").unwrap();
    until("it is that of the stub", || servers() == "192.0.2.5");
    // The plan.
    let own = manifest(
        "outbound = \"nat\"",
        ", resolv = { nameservers = [\"192.0.2.6\"] }",
    );
    for (text, server) in [(&own, "192.0.2.6"), (&manifest("", ""), "127.0.0.1")] {
        write_manifest(&daemon.app, text);
        daemon.tell(&["reload"]).expect(0);
        until("it is that of the plan", || servers() == server);
    }
    assert_eq!(daemon.tenant("acme").pid, before);
    daemon.end();
}

#[test]
fn many_tenants_follow_the_host_with_few_descriptors() {
    const MANY: usize = 120;
    host();
    let others: String = (20..20 + MANY)
        .map(|number| format!("t{number} = {{ ip = \"10.77.0.{number}\" }}\n"))
        .collect();
    let text = manifest("outbound = \"nat\"", "") + &others;
    let daemon = Daemon::start_settled(&text);
    until("the output is with the log collector", || {
        let links = fs::read_dir(format!("/proc/{}/fd", daemon.pid())).unwrap();
        let mut links = links.filter_map(|fd| fs::read_link(fd.ok()?.path()).ok());
        !links.any(|link| link.ends_with("stdout") || link.ends_with("stderr"))
    });
    let pids: Vec<u32> = (20..20 + MANY)
        .filter_map(|number| daemon.tenant(&format!("t{number}")).pid)
        .collect();
    assert_eq!(pids.len(), MANY);
    // Fewer than one for each tenant.
    let few = u64::try_from(open(daemon.pid()) + MANY - 10).unwrap();
    let before = limit(daemon.pid(), few);
    replace(RESOLV_CONF, "nameserver 192.0.2.7\n");
    until("all have the new one", || {
        pids.iter().all(|pid| {
            let seen = fs::read_to_string(format!("/proc/{pid}/root{RESOLV_CONF}")).unwrap();
            seen.contains("nameserver 192.0.2.7")
        })
    });
    limit(daemon.pid(), before);
    let said = daemon.output();
    assert!(
        !said.contains("may look names up as the host does"),
        "{said}"
    );
    daemon.end();
}

#[test]
fn a_supervisor_puts_back_what_was_lost_without_one() {
    host();
    let mut daemon = Daemon::start_settled(&manifest("outbound = \"nat\"", ""));
    let acme = daemon.tenant("acme").pid.unwrap();
    daemon.kill();
    replace(RESOLV_CONF, "nameserver 192.0.2.1\n");
    let seen = || fs::read_to_string(format!("/proc/{acme}/root{RESOLV_CONF}")).unwrap();
    assert_eq!(seen(), "nameserver 192.0.2.1\n", "it is the host's file");
    daemon.again();
    daemon.settles();
    until("it is the tenant's", || {
        seen().starts_with("# Written by tenantd")
    });
    assert_eq!(daemon.tenant("acme").pid, Some(acme));
    daemon.end();
}

#[test]
fn a_link_of_the_host_is_followed() {
    host();
    place::folder("/run/systemd/resolve");
    let stub = "/run/systemd/resolve/stub-resolv.conf";
    fs::write(stub, "nameserver 127.0.0.53\noptions edns0 trust-ad\n").unwrap();
    fs::write("/run/systemd/resolve/resolv.conf", "nameserver 192.0.2.4\n").unwrap();
    fs::remove_file(RESOLV_CONF).unwrap();
    std::os::unix::fs::symlink("../run/systemd/resolve/stub-resolv.conf", RESOLV_CONF).unwrap();
    let daemon = Daemon::start_settled(&manifest("outbound = \"nat\"", ""));
    let text = read(&daemon, RESOLV_CONF);
    assert!(
        text.ends_with("nameserver 192.0.2.4\noptions edns0\n"),
        "{text}"
    );
    assert_eq!(read(&daemon, stub), text);
    // The host's sockets there are not the tenant's.
    let there = daemon.tell(&["exec", "acme", "ls", "/run/systemd/resolve"]);
    assert_eq!(there.expect(0), "stub-resolv.conf\n");
    replace("/run/systemd/resolve/resolv.conf", "nameserver 192.0.2.5\n");
    until("it is the new one", || {
        read(&daemon, stub).contains("192.0.2.5")
    });
    daemon.end();
}

/// Runs a Python program in acme's namespaces.
fn python(daemon: &Daemon, text: &str) -> (i32, String) {
    let pid = daemon.tenant("acme").pid.unwrap().to_string();
    let mut command = Command::new("nsenter");
    let done = run(command.args(["-t", &pid, "-m", "-n", "python3", "-c", text]));
    (done.code, done.out + &done.err)
}

#[test]
fn a_program_binds_the_hosts_name_and_finds_its_peers() {
    host();
    let hostname = run(in_time("uname").arg("-n")).expect(0);
    let hostname = hostname.trim();
    let text = format!(
        "127.0.0.1 localhost\n203.0.113.9 {hostname}.example.org {hostname}\n192.0.2.80 www.example.org\n"
    );
    fs::write(HOSTS, &text).unwrap();
    let peers = ", peers = [\"beta\"]";
    let of_host = manifest("hosts = \"host\"", peers);
    let daemon = Daemon::start_settled(&of_host);
    let bind = "import socket; socket.socket().bind((socket.gethostname(), 8099)); print(socket.getfqdn())";
    let (code, said) = python(&daemon, bind);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("Cannot assign requested address"), "{said}");
    write_manifest(&daemon.app, &manifest("", peers));
    daemon.tell(&["reload"]).expect(0);
    daemon.settles();
    assert_eq!(
        python(&daemon, bind),
        (0, format!("{hostname}.example.org\n"))
    );
    let app = &daemon.app;
    let look = |name: &str| {
        let text = format!("import socket; print(socket.gethostbyname('{name}'))");
        python(&daemon, &text).1
    };
    for (name, address) in [
        ("acme", "10.77.0.11"),
        (&format!("acme.{app}"), "10.77.0.11"),
        ("beta", "10.77.0.12"),
        (&format!("beta.{app}"), "10.77.0.12"),
        ("localhost", "127.0.0.1"),
        ("www.example.org", "192.0.2.80"),
    ] {
        assert_eq!(look(name), format!("{address}\n"), "{name}");
    }
    // Changes of the host and of the plan.
    replace(HOSTS, &text.replace("192.0.2.80", "192.0.2.81"));
    until("it is the new one", || {
        look("www.example.org") == "192.0.2.81\n"
    });
    let before = daemon.tenant("acme").pid;
    write_manifest(&daemon.app, &manifest("", ""));
    daemon.tell(&["reload"]).expect(0);
    until("beta is no peer", || !read(&daemon, HOSTS).contains("beta"));
    assert_eq!(daemon.tenant("acme").pid, before);
    daemon.end();
}
