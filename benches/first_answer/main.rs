//! How long the first answer of a tenant takes once its network is ready, in each mode: to the host, and to a machine
//! outside, by both families. Some clients have asked before, and so know that nobody has the address, or still ask.
//!
//! A packet that is lost costs a second, and so does a neighbour entry that is not complete. A figure is the longest time
//! of all rounds, because each client has one first answer only.
//!
//! `cargo bench --bench first_answer` needs root, and makes its own test hosts.

#![allow(unreachable_pub, reason = "the shared modules are private here")]

#[path = "../../tests/kernel/network"]
#[allow(unused, reason = "the tests of networks use the rest")]
mod network {
    pub mod firewall;
    pub mod host;
    pub mod uplink;
    pub mod macvlan {
        pub mod lan;
    }
    pub mod port {
        pub mod lan;
    }
}
#[path = "../cold_start/sheet.rs"]
#[allow(dead_code, reason = "the cold start uses all of it")]
mod sheet;
#[path = "../../tests/support/mod.rs"]
mod support;

use std::fs::{File, write};
use std::io::Read;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use tenantd_core::plan::model::{LinkPlan, Mode, NetworkPlan};
use tenantd_core::plan::traffic::Outbound;
use tenantd_host::netns::Netns;
use tenantd_host::network::Network;

use network::firewall::{Server, with};
use network::host::{LIMIT, block_on, inside, ip, link6, plan6};
use network::{macvlan, port, uplink};
use sheet::Sheet;

/// How often each is measured.
const ROUNDS: u16 = 50;

/// The longest time that a first answer may take, in ms.
const GOAL: f64 = 50.0;

/// How long a client asks where nobody refuses it: its question for the neighbour is still open when the tenant comes.
const ASKS: Duration = Duration::from_millis(20);

/// A mode with the network around it.
struct Scene {
    name: &'static str,
    network: NetworkPlan,
    /// The tenant of a number, which no other tenant of the run has.
    tenant: Box<dyn Fn(u16) -> LinkPlan>,
    /// The first number.
    first: u16,
    /// The machine outside.
    outside: Netns,
    /// Whether the host reaches the tenants.
    from_host: bool,
}

fn main() {
    let mut sheet = Sheet::default();
    for scene in [
        || own(Mode::Routed, "routed"),
        || own(Mode::Bridge, "bridge"),
        by_uplink,
        on_interface,
        on_bridge_of_host,
    ] {
        let scene = scene();
        for asked in [false, true] {
            let before = if asked { ", asked before" } else { "" };
            for (who, times) in block_on(measure(&scene, asked)) {
                let figure = format!("{}, {who}{before}: longest, ms", scene.name);
                let all: Vec<_> = times.iter().map(|it| it.as_secs_f64() * 1000.0).collect();
                let longest = all.iter().copied().fold(0.0, f64::max);
                sheet
                    .figure(&figure, vec![longest])
                    .samples(vec![all])
                    .goal(GOAL);
            }
        }
    }
    sheet.print();
}

/// A subnet of the host's own.
fn own(mode: Mode, name: &'static str) -> Scene {
    support::enter();
    Scene {
        name,
        network: plan6(mode),
        tenant: Box::new(move |n| open(link6(mode, n))),
        first: 2,
        outside: outside(),
        from_host: true,
    }
}

/// Addresses of the network that the host's uplink is in.
fn by_uplink() -> Scene {
    let outside = uplink::office();
    write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
    write("/proc/sys/net/ipv6/conf/all/forwarding", "1").unwrap();
    Scene {
        name: "uplink",
        network: uplink::uplinked(true),
        tenant: Box::new(|n| {
            let addresses = [format!("192.0.2.{n}"), format!("2001:db8::{n}")];
            open(uplink::member(n, &addresses.each_ref().map(String::as_str)))
        }),
        first: 100,
        outside,
        from_host: true,
    }
}

/// Macvlans of an interface of the host.
fn on_interface() -> Scene {
    Scene {
        name: "macvlan",
        outside: macvlan::lan::Lan::new().client,
        network: macvlan::lan::plan(),
        tenant: Box::new(macvlan::lan::tenant),
        first: 100,
        from_host: false,
    }
}

/// Ports of a bridge of the host.
fn on_bridge_of_host() -> Scene {
    Scene {
        name: "bridge of the host",
        outside: port::lan::bridged().client,
        network: port::lan::plan(),
        tenant: Box::new(port::lan::tenant),
        first: 100,
        from_host: true,
    }
}

/// A machine on an uplink of the test host, which routes the tenants' subnet to it.
fn outside() -> Netns {
    for words in [
        "netns add outside",
        "link add up0 type veth peer name eth0 netns outside",
        "address add 192.0.2.1/24 dev up0",
        "link set up0 up",
        "-n outside address add 192.0.2.2/24 dev eth0",
        "-n outside link set eth0 up",
        "-n outside route add 10.77.0.0/16 via 192.0.2.1",
        "address add 2001:db8:5::1/64 dev up0 nodad",
        "-n outside address add 2001:db8:5::2/64 dev eth0 nodad",
        "-n outside route add fd00:77::/64 via 2001:db8:5::1",
    ] {
        ip(words);
    }
    write("/proc/sys/net/ipv6/conf/all/forwarding", "1").unwrap();
    write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
    let netns = File::open("/run/netns/outside").unwrap();
    let netns = Netns::from_fd(netns.into()).unwrap();
    // Both know each other: the first packet by a new link is not a tenant's.
    support::until("the machine reaches the host", || {
        let to = |address: &str| SocketAddr::new(address.parse().unwrap(), 9);
        let refused = |address| match TcpStream::connect_timeout(&to(address), LIMIT) {
            Ok(_) => false,
            Err(error) => error.kind() == std::io::ErrorKind::ConnectionRefused,
        };
        inside(&netns, || refused("192.0.2.1") && refused("2001:db8:5::1"))
    });
    netns
}

/// The times until the first answer, of each client.
async fn measure(scene: &Scene, asked: bool) -> Vec<(&'static str, Vec<Duration>)> {
    let network = Network::open(scene.network.clone()).await.unwrap();
    let mut clients = vec![("outside, IPv4", true), ("outside, IPv6", true)];
    if scene.from_host {
        // Each client asks an address once. Outside comes last.
        clients.splice(0..0, [("host, IPv4", false), ("host, IPv6", false)]);
    }
    let mut times = vec![Vec::new(); clients.len()];
    for n in scene.first..scene.first + ROUNDS {
        let link = (scene.tenant)(n);
        let addresses = asked_addresses(&link);
        let questions = clients.iter().zip(addresses.iter().cycle());
        let ask_as = |(_, is_outside): &(&str, bool), to: IpAddr, limit| match is_outside {
            true => inside(&scene.outside, || ask(to, limit)),
            false => ask(to, limit),
        };
        if asked {
            for (client, to) in questions.clone() {
                assert!(ask_as(client, *to, ASKS).is_none(), "nobody is there yet");
            }
        }
        let netns = network.provision(link.clone()).await.unwrap();
        let server = Server::new(inside(&netns, || TcpListener::bind(("::", 80)).unwrap()));
        for (times, (client, to)) in times.iter_mut().zip(questions) {
            times.push(ask_as(client, *to, LIMIT).expect("it answers the first time"));
        }
        drop(server);
        network.release(link, netns.close()).await.unwrap();
    }
    network.close().await.unwrap();
    let clients = clients.into_iter().map(|(who, _)| who);
    clients.zip(times).collect()
}

/// The address of each family that others know.
fn asked_addresses(link: &LinkPlan) -> [IpAddr; 2] {
    let all: Vec<IpAddr> = link.addresses.iter().collect();
    let of = |is_4: bool| all.iter().rfind(|it| it.is_ipv4() == is_4);
    [*of(true).unwrap(), *of(false).unwrap()]
}

/// Others may reach it.
fn open(link: LinkPlan) -> LinkPlan {
    with(link, |traffic| traffic.outbound = Outbound::Routed)
}

/// The time until a server has answered; `None` if it cannot be reached.
fn ask(to: IpAddr, limit: Duration) -> Option<Duration> {
    let begun = Instant::now();
    let mut stream = TcpStream::connect_timeout(&SocketAddr::new(to, 80), limit).ok()?;
    let mut said = String::new();
    stream.read_to_string(&mut said).ok()?;
    (!said.is_empty()).then(|| begun.elapsed())
}
