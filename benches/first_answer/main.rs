//! How long the first answer of a tenant takes once its network is ready, in each mode: to the host by both families,
//! and to a machine on an uplink by both. Some clients have asked before, and so know that nobody has the address.
//!
//! A packet that is lost costs a second, and so does a neighbour entry that is not complete. A figure is the longest time
//! of all rounds, because each client has one first answer only.
//!
//! `cargo bench --bench first_answer` needs root, and makes its own test hosts.

#![allow(unreachable_pub, reason = "the shared modules are private here")]

#[path = "../../tests/kernel/network/host.rs"]
#[allow(dead_code, reason = "the tests of networks use the rest")]
mod host;
#[path = "../cold_start/sheet.rs"]
#[allow(dead_code, reason = "the cold start uses all of it")]
mod sheet;
#[path = "../../tests/support/mod.rs"]
mod support;

use std::fs::{File, write};
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::{JoinHandle, spawn};
use std::time::{Duration, Instant};

use tenantd_core::plan::model::{LinkPlan, Mode, TrafficPlan};
use tenantd_core::plan::traffic::Outbound;
use tenantd_host::netns::Netns;
use tenantd_host::network::Network;

use host::{LIMIT, block_on, inside, ip, link6, plan6};
use sheet::Sheet;

/// How often each is measured.
const ROUNDS: u16 = 50;

/// The longest time that a first answer may take, in ms.
const GOAL: f64 = 50.0;

fn main() {
    support::enter();
    let machine = outside();
    let mut sheet = Sheet::default();
    for (mode, name) in [(Mode::Routed, "routed"), (Mode::Bridge, "bridge")] {
        for asked in [false, true] {
            let [host4, host6, out4, out6] = block_on(longest(mode, asked, &machine));
            let before = if asked { ", asked before" } else { "" };
            for (who, longest) in [
                ("host, IPv4", host4),
                ("host, IPv6", host6),
                ("outside, IPv4", out4),
                ("outside, IPv6", out6),
            ] {
                let figure = format!("{name}, {who}{before}: longest, ms");
                let longest = longest.as_secs_f64() * 1000.0;
                sheet.figure(&figure, vec![longest]).goal(GOAL);
            }
        }
    }
    sheet.print();
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

/// The longest times until the first answer: to the host by IPv4 and IPv6, and to a machine outside by both.
async fn longest(mode: Mode, asked: bool, machine: &Netns) -> [Duration; 4] {
    let network = Network::open(plan6(mode)).await.unwrap();
    let mut longest = [Duration::ZERO; 4];
    for n in 2..2 + ROUNDS {
        let link = open(link6(mode, n));
        let addresses: Vec<IpAddr> = link.addresses.iter().collect();
        // Each client asks an address once. Outside comes last.
        let from_host = addresses.iter().map(|to| (false, *to));
        let clients = from_host.chain(addresses.iter().map(|to| (true, *to)));
        let clients: Vec<(bool, IpAddr)> = clients.collect();
        let ask_as = |(is_outside, to): (bool, IpAddr)| match is_outside {
            true => inside(machine, || ask(to)),
            false => ask(to),
        };
        if asked {
            for client in &clients {
                assert!(ask_as(*client).is_none(), "nobody is there yet");
            }
        }
        let netns = network.provision(link.clone()).await.unwrap();
        let servers = addresses
            .iter()
            .map(|address| Server::new(&netns, *address));
        let servers: Vec<Server> = servers.collect();
        for (at, client) in clients.into_iter().enumerate() {
            let took = ask_as(client).expect("it answers the first time");
            longest[at] = longest[at].max(took);
        }
        drop(servers);
        network.release(link, netns.close()).await.unwrap();
    }
    network.close().await.unwrap();
    longest
}

/// Others may reach it.
fn open(link: LinkPlan) -> LinkPlan {
    let mut traffic = TrafficPlan::clone(&link.traffic);
    traffic.outbound = Outbound::Routed;
    LinkPlan {
        traffic: Arc::new(traffic),
        ..link
    }
}

/// The time until a server has answered; `None` if it cannot be reached.
fn ask(to: IpAddr) -> Option<Duration> {
    let begun = Instant::now();
    let mut stream = TcpStream::connect_timeout(&SocketAddr::new(to, 80), LIMIT).ok()?;
    let mut said = String::new();
    stream.read_to_string(&mut said).ok()?;
    (!said.is_empty()).then(|| begun.elapsed())
}

/// A server in a tenant that answers each connection.
struct Server(TcpListener, Option<JoinHandle<()>>);

impl Server {
    fn new(netns: &Netns, address: IpAddr) -> Self {
        let listener = inside(netns, || TcpListener::bind((address, 80)).unwrap());
        let own = listener.try_clone().unwrap();
        let thread = spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                let _gone = stream.write_all(b"here");
            }
        });
        Self(own, Some(thread))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It accepts no more, and the thread ends.
        rustix::net::shutdown(&self.0, rustix::net::Shutdown::Both).unwrap();
        self.1.take().unwrap().join().unwrap();
    }
}
