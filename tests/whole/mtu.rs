//! The MTU of tenants' links, by datagrams that must not be divided.

use std::process::Command;

use crate::support::daemon::{Daemon, in_time, run};
use crate::support::place::{self, example};

const MANIFEST: &str = r#"
[app]
name = "APP"
user = "root"
command = ["/srv/idle"]
datastore.path = "/srv/data"
ready.tcp = 80
[network]
mode = "MODE"
mtu = MTU
[tenants]
acme = { ip = "10.77.0.11", outbound = "nat", host_services = ["9000/udp"] }
"#;

/// Receives a datagram of this size, and answers nothing.
const RECEIVE: &str = "import socket, sys
s = socket.socket(type=socket.SOCK_DGRAM)
s.bind(('0.0.0.0', 9000))
print('bound', flush=True)
print(len(s.recv(65535)))";

/// Sends a datagram that must not be divided, and prints why it cannot.
const SEND: &str = "import socket, sys
s = socket.socket(type=socket.SOCK_DGRAM)
s.setsockopt(socket.IPPROTO_IP, 10, 2)
try:
    s.sendto(bytes(int(sys.argv[2])), (sys.argv[1], 9000))
except OSError as error:
    print(error.errno)";

fn manifest(mode: &str, mtu: u32) -> String {
    let text = MANIFEST.replace("MODE", mode);
    text.replace("MTU", &mtu.to_string())
}

/// A command in acme's network namespace, or on the host.
fn python(pid: Option<&str>) -> Command {
    match pid {
        Some(pid) => {
            let mut command = in_time("nsenter");
            command.args(["-t", pid, "-n", "python3"]);
            command
        }
        None => in_time("python3"),
    }
}

/// Sends a datagram, and returns how much of it arrives.
fn passes(from: Option<&str>, to: Option<&str>, size: u32) -> u32 {
    use std::io::{BufRead, BufReader};
    let mut receiver = python(to);
    let mut receiver = receiver
        .args(["-c", RECEIVE])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(receiver.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "bound");
    let address = to.map_or("10.77.0.1", |_| "10.77.0.11");
    let send = |size: u32| {
        let size = size.to_string();
        run(python(from).args(["-c", SEND, address, &size])).expect(0)
    };
    let too_long = libc::EMSGSIZE.to_string();
    assert_eq!(send(size + 1).trim(), too_long, "{size}");
    assert_eq!(send(size), "");
    let arrived = lines.next().unwrap().unwrap().parse().unwrap();
    receiver.wait().unwrap();
    arrived
}

#[test]
fn the_largest_packets_pass_whole_and_larger_ones_are_refused() {
    for (mode, mtu) in [
        ("routed", 9000),
        ("routed", 1400),
        ("bridge", 9000),
        ("bridge", 1400),
    ] {
        place::host();
        place::folder("/srv/data");
        example("idle");
        let daemon = Daemon::start_settled(&manifest(mode, mtu));
        let acme = daemon.tenant("acme").pid.unwrap().to_string();
        // Without the headers of IP and UDP.
        let size = mtu - 28;
        assert_eq!(passes(None, Some(&acme), size), size, "{mode} {mtu}");
        assert_eq!(passes(Some(&acme), None, size), size, "{mode} {mtu}");
        daemon.tell(&["verify"]).expect(0);
        let words = ["link", "set", "eth0", "mtu", "1300"];
        run(in_time("nsenter")
            .args(["-t", &acme, "-n", "ip"])
            .args(words))
        .expect(0);
        let told = daemon.tell(&["verify"]);
        assert_eq!(told.code, 1, "{told:?}");
        assert!(told.out.contains("MTU 1300"), "{told:?}");
        daemon.end();
    }
}

#[test]
fn check_names_a_link_of_the_host_with_a_smaller_mtu() {
    place::host();
    place::folder("/srv/data");
    example("idle");
    for words in [
        "link add uplink type veth peer name away",
        "link set uplink mtu 1400",
        "link set uplink up",
        "address add 192.0.2.1/24 dev uplink",
        "route add default via 192.0.2.2",
    ] {
        run(in_time("ip").args(words.split(' '))).expect(0);
    }
    for (mtu, is_told) in [(1500, true), (1400, false)] {
        let path = crate::support::daemon::write_manifest("wiki", &manifest("routed", mtu));
        let said = crate::support::daemon::tenantd(&["check", "--config", path.to_str().unwrap()]);
        let line = "mtu: weak: uplink, by which the host reaches others, has an MTU of 1400";
        assert_eq!(said.out.contains(line), is_told, "{said:?}");
    }
}

#[test]
fn without_the_key_links_have_the_mtu_of_the_uplink_and_keep_it_while_tenants_run() {
    place::host();
    place::folder("/srv/data");
    example("idle");
    let ip = |words: &str| run(in_time("ip").args(words.split(' '))).expect(0);
    for words in [
        "link add far type veth peer name away",
        "link set far mtu 1420",
        "link set far up",
        "address add 192.0.2.1/24 dev far",
        "route add default via 192.0.2.2",
        "link add office type veth peer name switch",
        "link set office mtu 8000",
        "link set office up",
        "address add 198.51.100.1/24 dev office",
        "link add six type veth peer name away6",
        "link set six mtu 1340 addrgenmode none up",
        "-6 address add 2001:db8::1/64 dev six nodad",
    ] {
        ip(words);
    }
    crate::support::until("the kernel has made the address usable", || {
        ip("-6 route show table local").contains("2001:db8::1")
    });
    let plain = manifest("routed", 0).replace("mtu = 0", "");
    let daemon = Daemon::start_settled(&plain);
    let has = |mtu: u32| {
        let pid = daemon.tenant("acme").pid.unwrap().to_string();
        let inside = ["-t", &pid, "-n", "ip", "link", "show", "eth0"];
        let eth0 = run(in_time("nsenter").args(inside)).expect(0);
        assert!(eth0.contains(&format!("mtu {mtu} ")), "{eth0}");
        daemon.tell(&["verify"]).expect(0);
        pid
    };
    let before = has(1420);
    // The host reaches others by a smaller one: nothing is interrupted.
    ip("link set far mtu 1300");
    assert_eq!(daemon.tell(&["diff"]).expect(0), "no changes\n");
    daemon.tell(&["reload"]).expect(0);
    assert_eq!(daemon.tenant("acme").pid.unwrap().to_string(), before);
    ip("link set far mtu 1420");
    assert_eq!(has(1420), before);
    // The default route of IPv6 leads elsewhere, by a smaller one: the next network takes that.
    ip("-6 route add default via 2001:db8::2");
    let moved = plain.replace("[network]", "[network]\ngateway = \"10.77.0.200\"");
    crate::support::daemon::write_manifest(&daemon.app, &moved);
    daemon.tell(&["reload"]).expect(0);
    has(1340);
    // It is the only one now.
    ip("route delete default");
    crate::support::daemon::write_manifest(&daemon.app, &plain);
    daemon.tell(&["reload"]).expect(0);
    has(1340);
    ip("route add default via 192.0.2.2");
    ip("-6 route delete default");
    // Another network takes what is there now, and a named uplink counts more.
    let uplinked = plain.replace("[network]", "[network]\nuplink = \"office\"");
    crate::support::daemon::write_manifest(&daemon.app, &uplinked);
    daemon.tell(&["reload"]).expect(0);
    has(8000);
    let written = plain.replace("[network]", "[network]\nmtu = 1400");
    crate::support::daemon::write_manifest(&daemon.app, &written);
    daemon.tell(&["reload"]).expect(0);
    has(1400);
    daemon.end();
}
