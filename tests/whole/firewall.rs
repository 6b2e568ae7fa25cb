//! The firewall of a running application: changed by a reload, and without its supervisor.

use std::fs;
use std::io::Write;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::process::Command;

use nix::sys::signal::Signal;
use tenantd_api::wire::TenantStatus;

use crate::support::daemon::{Daemon, in_time, run, tenantd, write_manifest};
use crate::support::place::{self, example};

const MANIFEST: &str = r#"
[app]
name = "APP"
user = "root"
command = ["/srv/idle"]
datastore.path = "/srv/data"
ready.tcp = 80
[tenants]
acme = { ip = "10.77.0.11" PEERS }
beta = { ip = "10.77.0.12" }
"#;

fn manifest(peers: &str) -> String {
    MANIFEST.replace("PEERS", peers)
}

fn start() -> Daemon {
    place::host();
    place::folder("/srv/data");
    example("idle");
    // Nothing else is in the way of a packet between tenants.
    fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
    Daemon::start_settled(&manifest(""))
}

/// Whether a process in acme reaches beta.
fn passes(acme: u32) -> bool {
    let script = "exec 3<>/dev/tcp/10.77.0.12/80";
    let pid = acme.to_string();
    let mut command = Command::new("nsenter");
    command.args(["-t", &pid, "-n", "timeout", "5", "bash", "-c", script]);
    run(&mut command).code == 0
}

fn flush() {
    run(in_time("nft").args(["flush", "ruleset"])).expect(0);
}

#[test]
fn a_reload_changes_the_traffic_and_restarts_nothing() {
    let daemon = start();
    let before = daemon.tenant("acme");
    let acme = before.pid.unwrap();
    assert!(!passes(acme));
    for (peers, is_open) in [
        (", peers = [\"beta\"]", true),
        ("", false),
        (", peers = [\"*\"]", true),
    ] {
        write_manifest(&daemon.app, &manifest(peers));
        let said = daemon.tell(&["diff"]);
        assert!(
            said.out.contains("the firewall, without a restart"),
            "{said:?}"
        );
        daemon.tell(&["reload"]).expect(0);
        crate::support::until("the traffic is as planned", || passes(acme) == is_open);
    }
    assert_eq!(daemon.tenant("acme").pid, before.pid);
    daemon.end();
}

#[test]
fn the_firewall_stands_without_its_supervisor_and_against_a_flush() {
    let mut daemon = start();
    let acme = daemon.tenant("acme").pid.unwrap();
    for _ in 0..20 {
        flush();
        assert!(!passes(acme), "no other process removes the tables");
    }
    daemon.kill();
    assert!(!passes(acme), "the tables stay");
    // Without an owner they can be removed: then the next supervisor makes them again.
    flush();
    assert!(passes(acme), "the way is open without them");
    daemon.again();
    daemon.settles();
    assert!(!passes(acme));
    daemon.tell(&["upgrade"]).expect(0);
    flush();
    assert!(!passes(acme), "they have an owner again");
    daemon.end();
}

/// What names the process with this listener.
fn holder() -> String {
    let name = fs::read_to_string("/proc/self/comm").unwrap();
    format!(
        "{} (pid {}) of the host has it",
        name.trim_end(),
        std::process::id()
    )
}

#[test]
fn a_port_that_another_process_has_is_refused_before_anything_changes() {
    let daemon = start();
    let before = daemon.tenant("acme");
    let taken = TcpListener::bind("127.0.0.1:9100").unwrap();
    let publish = ", publish = [\"9100 -> 80\"]";
    write_manifest(&daemon.app, &manifest(publish));
    let config = daemon.manifest.to_str().unwrap().to_owned();
    for said in [
        daemon.tell(&["reload"]),
        daemon.tell(&["diff"]),
        tenantd(&["check", "--config", &config]),
    ] {
        let all = format!("{}{}", said.out, said.err);
        for word in ["port 9100/tcp", &holder(), "publish = ["] {
            assert!(all.contains(word), "{word} is not in {all}");
        }
    }
    assert_eq!(daemon.tell(&["reload"]).code, 1);
    let now = daemon.tenant("acme");
    assert_eq!((now.pid, now.network.drift), (before.pid, None));
    drop(taken);
    daemon.tell(&["reload"]).expect(0);
    // Its own port is no fault.
    tenantd(&["check", "--config", &config]).expect(0);
    assert!(TcpListener::bind("0.0.0.0:9100").is_err());
    // A port may go from one tenant to another that comes before it.
    let moved = MANIFEST
        .replace("PEERS", "")
        .replace("10.77.0.12\"", &format!("10.77.0.12\"{publish}"));
    write_manifest(&daemon.app, &moved);
    daemon.tell(&["reload"]).expect(0);
    write_manifest(&daemon.app, &manifest(publish));
    daemon.tell(&["reload"]).expect(0);
    let leads = || TcpStream::connect("127.0.0.1:9100").is_ok();
    crate::support::until("the port leads to acme", leads);
    daemon.until_tenant("acme", |acme| acme.network.drift.is_none());
    daemon.end();
}

#[test]
fn a_port_that_is_taken_at_a_start_is_told_and_taken_once_it_is_free() {
    let daemon = start();
    let publish = ", publish = [\"9100 -> 80\"]";
    daemon.tell(&["stop", "acme"]).expect(0);
    write_manifest(&daemon.app, &manifest(publish));
    daemon.tell(&["reload"]).expect(0);
    let taken = UdpSocket::bind("0.0.0.0:9101").unwrap();
    let listener = TcpListener::bind("0.0.0.0:9100").unwrap();
    let said = daemon.tell(&["start", "acme"]);
    let all = format!("{}{}", said.out, said.err);
    assert!(said.code != 0 && all.contains(&holder()), "{said:?}");
    drop(listener);
    daemon.until_tenant("acme", TenantStatus::is_as_wanted);
    // One that is taken between the check and the change is drift until it is free.
    let both = ", publish = [\"9100 -> 80\", \"9101 -> 80/udp\"]";
    write_manifest(&daemon.app, &manifest(both));
    assert_eq!(daemon.tell(&["reload"]).code, 1);
    drop(taken);
    daemon.tell(&["reload"]).expect(0);
    daemon.end();
}

/// A connection from acme to beta, begun in a thread that enters the namespace of acme.
fn connect_inside(acme: u32) -> TcpStream {
    std::thread::scope(|scope| {
        let visit = scope.spawn(|| {
            let netns = fs::File::open(format!("/proc/{acme}/ns/net")).unwrap();
            nix::sched::setns(netns, nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
            TcpStream::connect("10.77.0.12:80").unwrap()
        });
        visit.join().unwrap()
    })
}

#[test]
fn without_owners_the_tables_are_made_again_and_what_began_meanwhile_is_cut() {
    place::host();
    place::folder("/srv/data");
    example("idle");
    fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
    let plain = [("TENANTD_PLAIN_TABLES", "1")];
    let daemon = Daemon::spawn_with(crate::support::daemon::PROGRAM, &manifest(""), &plain);
    daemon.settles();
    let acme = daemon.tenant("acme").pid.unwrap();
    assert!(!passes(acme));
    for tenant in ["acme", "beta"] {
        // What is cut is not answered: its socket would keep the namespace for minutes.
        let pid = daemon.tenant(tenant).pid.unwrap().to_string();
        let few = "echo 1 > /proc/sys/net/ipv4/tcp_orphan_retries";
        run(in_time("nsenter").args(["-t", &pid, "-n", "sh", "-c", few])).expect(0);
    }
    let tables = || run(in_time("nft").args(["list", "ruleset"])).out;
    let before = tables();
    assert!(!before.contains("flags owner"), "{before}");
    let mut check = in_time(crate::support::daemon::PROGRAM);
    check.args(["check", "--config"]).arg(&daemon.manifest);
    let said = run(check.env(plain[0].0, plain[0].1)).expect(0);
    assert!(said.contains("host: firewall: weak"), "{said}");
    // The supervisor cannot act for a while.
    daemon.signal(Signal::SIGSTOP);
    flush();
    let mut begun = connect_inside(acme);
    daemon.signal(Signal::SIGCONT);
    crate::support::until("the tables are there again", || !passes(acme));
    let mut is_cut = || begun.write_all(b"x").is_err();
    crate::support::until("what began meanwhile is cut", &mut is_cut);
    // It would keep the namespace of acme.
    drop(begun);
    let mended = || daemon.status().network.mended;
    for _ in 0..10 {
        let before = mended();
        flush();
        crate::support::until("they are made again, and it is counted", || {
            mended() > before && !passes(acme)
        });
    }
    let named = |text: &str| text.lines().filter(|it| it.contains("tenantd:")).count();
    assert_eq!(named(&tables()), named(&before));
    assert!(mended() >= 11);
    assert_eq!(daemon.tenant("acme").pid, Some(acme));
    daemon.end();
}

#[test]
fn check_says_that_the_host_does_not_forward() {
    place::host();
    place::folder("/srv/data");
    example("idle");
    let found = |tenant: &str, forward: &str| {
        fs::write("/proc/sys/net/ipv4/ip_forward", forward).unwrap();
        let path = write_manifest("wiki", &manifest(tenant));
        let said = tenantd(&["check", "--config", path.to_str().unwrap()]).expect(0);
        said.contains("host: forwarding: weak: off for IPv4")
            && said.contains("mend it: sysctl -w net.ipv4.ip_forward=1\n")
    };
    assert!(found(", outbound = \"nat\"", "0"));
    assert!(!found(", outbound = \"nat\"", "1"));
    assert!(found(", publish = [\"9100 -> 80\"]", "0"));
    assert!(!found(", publish = [\"127.0.0.1:9100 -> 80\"]", "0"));
    assert!(!found("", "0"));
    // Each family is told apart.
    fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "0").unwrap();
    let both = manifest(", publish = [\"[::]:9100 -> 80\"]")
        .replace(
            "ip = \"10.77.0.11\"",
            "ip = [\"10.77.0.11\", \"fd00:77::11\"]",
        )
        .replace(
            "[tenants]",
            "[network]\nsubnet6 = \"fd00:77::/64\"\n[tenants]",
        );
    let path = write_manifest("wiki", &both);
    let said = tenantd(&["check", "--config", path.to_str().unwrap()]).expect(0);
    assert!(
        said.contains("off for IPv6") && !said.contains("off for IPv4,"),
        "{said}"
    );
}
