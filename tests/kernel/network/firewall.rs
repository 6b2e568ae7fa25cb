//! The firewall, with real traffic: between tenants, to the host, out, in, and with forged frames.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tenantd_core::plan::model::{Firewall, LinkPlan, Mode, NetworkPlan, TrafficPlan};
use tenantd_core::plan::traffic::{Outbound, Protocol, Service};
use tenantd_host::netns::Netns;
use tenantd_host::network::Network;

use crate::network::host::{GATEWAY, LIMIT, block_on, inside, ip, link, plan};
use crate::support;

pub const BOTH: [Mode; 2] = [Mode::Routed, Mode::Bridge];

/// Long for a refusal, which comes at once.
pub const AT_ONCE: Duration = Duration::from_millis(500);

pub fn with(link: LinkPlan, change: impl FnOnce(&mut TrafficPlan)) -> LinkPlan {
    let mut traffic = TrafficPlan::clone(&link.traffic);
    change(&mut traffic);
    LinkPlan {
        traffic: Arc::new(traffic),
        ..link
    }
}

pub fn address(link: &LinkPlan) -> IpAddr {
    link.addresses.first()
}

/// A server that answers each connection with the address of its client.
pub struct Server(TcpListener, Option<JoinHandle<()>>);

impl Server {
    pub fn new(listener: TcpListener) -> Self {
        let own = listener.try_clone().unwrap();
        let thread = thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                let from = stream.peer_addr().unwrap().ip().to_string();
                let _gone = stream.write_all(from.as_bytes());
            }
        });
        Self(own, Some(thread))
    }

    pub fn inside(netns: &Netns, port: u16) -> Self {
        Self::new(inside(netns, || {
            TcpListener::bind(("0.0.0.0", port)).unwrap()
        }))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It accepts no more, and the thread ends.
        rustix::net::shutdown(&self.0, rustix::net::Shutdown::Both).unwrap();
        self.1.take().unwrap().join().unwrap();
    }
}

/// What a server says, or why it cannot be reached.
pub fn ask(to: impl Into<SocketAddr>) -> Result<String, ErrorKind> {
    let mut stream = TcpStream::connect_timeout(&to.into(), AT_ONCE).map_err(|e| e.kind())?;
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).map_err(|e| e.kind())?;
    Ok(said)
}

/// Whether a datagram is refused at once.
pub fn refuses_datagram(to: SocketAddr) -> bool {
    let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any).unwrap();
    socket.set_read_timeout(Some(AT_ONCE)).unwrap();
    socket.connect(to).unwrap();
    socket.send(b"x").unwrap();
    let error = socket.recv(&mut [0; 8]).unwrap_err();
    // EACCES and EHOSTUNREACH: admin-prohibited.
    matches!(
        error.raw_os_error(),
        Some(libc::EACCES | libc::EHOSTUNREACH)
    )
}

pub const REFUSED: Result<String, ErrorKind> = Err(ErrorKind::ConnectionRefused);

pub fn nft(words: &str) -> String {
    let output = Command::new("nft").args(words.split(' ')).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "nft {words}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

fn off(mode: Mode) -> NetworkPlan {
    NetworkPlan {
        firewall: Firewall::Off,
        ..plan(mode)
    }
}

pub async fn end(network: Network, tenants: Vec<(LinkPlan, Netns)>) {
    for (link, netns) in tenants {
        network.release(link, netns.close()).await.unwrap();
    }
    network.close().await.unwrap();
    let tables = nft("list tables");
    assert_eq!(tables, "", "no table is left");
}

#[test]
fn a_tenant_connects_to_no_other_unless_it_is_a_peer() {
    support::enter();
    for mode in BOTH {
        block_on(async {
            let network = Network::open(plan(mode)).await.unwrap();
            let [one, two] = [2, 3].map(|n| link(mode, n));
            let first = network.provision(one.clone()).await.unwrap();
            let second = network.provision(two.clone()).await.unwrap();
            let servers = [&first, &second].map(|netns| Server::inside(netns, 80));
            let to = |link: &LinkPlan| SocketAddr::new(address(link), 80);
            assert_eq!(inside(&first, || ask(to(&two))), REFUSED, "{mode:?}");
            assert!(inside(&first, || refuses_datagram(to(&two))), "{mode:?}");
            assert_eq!(ask(to(&two)), Ok(GATEWAY.to_string()), "{mode:?}");
            // Live: from one to the other, and not back.
            let peers = with(one.clone(), |traffic| {
                let name = "t3".parse().unwrap();
                traffic.peers.named.insert(name, two.addresses.clone());
            });
            network.admit(peers.clone(), None).await.unwrap();
            let said = inside(&first, || ask(to(&two)));
            assert_eq!(said, Ok(address(&one).to_string()), "{mode:?}");
            assert_eq!(inside(&second, || ask(to(&one))), REFUSED, "{mode:?}");
            let all = with(two.clone(), |traffic| traffic.peers.all = true);
            network.admit(all.clone(), None).await.unwrap();
            let said = inside(&second, || ask(to(&one)));
            assert_eq!(said, Ok(address(&two).to_string()), "{mode:?}");
            network.admit(one.clone(), None).await.unwrap();
            assert_eq!(inside(&first, || ask(to(&two))), REFUSED, "{mode:?}");
            drop(servers);
            end(network, vec![(one, first), (two, second)]).await;
        });
    }
}

#[test]
fn a_tenant_uses_no_service_of_the_host_unless_it_is_listed() {
    support::enter();
    for mode in BOTH {
        block_on(async {
            let _server = Server::new(TcpListener::bind(("0.0.0.0", 5432)).unwrap());
            ip("link add other type bridge");
            ip("address add 192.0.2.1/24 dev other");
            ip("link set other up");
            let others = Ipv4Addr::new(192, 0, 2, 1);
            let tenant = link(mode, 2);
            // Without the firewall, the service is open to the tenant.
            let open = Network::open(off(mode)).await.unwrap();
            let netns = open.provision(tenant.clone()).await.unwrap();
            let both = [(GATEWAY, 5432), (others, 5432)];
            for to in both {
                assert!(inside(&netns, || ask(to)).is_ok(), "{mode:?}");
            }
            open.release(tenant.clone(), netns.close()).await.unwrap();
            open.close().await.unwrap();
            let network = Network::open(plan(mode)).await.unwrap();
            let netns = network.provision(tenant.clone()).await.unwrap();
            for to in both {
                assert_eq!(inside(&netns, || ask(to)), REFUSED, "{mode:?}");
            }
            assert!(inside(&netns, || refuses_datagram((GATEWAY, 53).into())));
            let listed = with(tenant.clone(), |traffic| {
                let (port, protocol) = (5432, Protocol::Tcp);
                traffic.host_services.push(Service { port, protocol });
            });
            network.admit(listed, None).await.unwrap();
            for to in both {
                let said = inside(&netns, || ask(to));
                assert_eq!(said, Ok(address(&tenant).to_string()), "{mode:?}");
            }
            assert!(inside(&netns, || refuses_datagram((GATEWAY, 5432).into())));
            // The host's own connections to its gateway's address are its own business.
            assert_eq!(ask((GATEWAY, 5432)), Ok(GATEWAY.to_string()));
            end(network, vec![(tenant, netns)]).await;
            ip("link delete other");
        });
    }
}

#[test]
fn an_address_that_no_tenant_has_is_refused_at_once() {
    support::enter();
    for mode in BOTH {
        block_on(async {
            let network = Network::open(plan(mode)).await.unwrap();
            let tenant = link(mode, 2);
            let netns = network.provision(tenant.clone()).await.unwrap();
            let unused = Ipv4Addr::new(10, 77, 0, 200);
            // More than the kernel sends errors of ICMP in a second.
            for _ in 0..20 {
                assert_eq!(inside(&netns, || ask((unused, 80))), REFUSED, "{mode:?}");
            }
            assert!(inside(&netns, || refuses_datagram((unused, 80).into())));
            end(network, vec![(tenant, netns)]).await;
        });
    }
}

#[test]
fn the_next_supervisor_takes_over_the_tables_with_their_elements() {
    support::enter();
    block_on(async {
        let network = Network::open(plan(Mode::Routed)).await.unwrap();
        let [one, two] = [2, 3].map(|n| link(Mode::Routed, n));
        let one = with(one, |traffic| traffic.outbound = Outbound::Nat);
        let first = network.provision(one.clone()).await.unwrap();
        let second = network.provision(two.clone()).await.unwrap();
        let before = nft("-s list ruleset");
        assert!(before.contains("flags owner"), "{before}");
        assert!(before.contains("tenantd:wiki/t2"), "{before}");
        // Its owner lives: another process cannot change it.
        assert!(
            !Command::new("nft")
                .args(["delete", "table", "inet", "tenantd_wiki"])
                .status()
                .unwrap()
                .success()
        );
        drop(network);
        let network = Network::open(plan(Mode::Routed)).await.unwrap();
        assert_eq!(nft("-s list ruleset"), before);
        nft("flush ruleset");
        assert_eq!(nft("-s list ruleset"), before, "it is owned again");
        let used = [one.mark.clone()];
        network.retain(used.into()).await.unwrap();
        let after = nft("list ruleset");
        assert!(
            after.contains("tenantd:wiki/t2") && !after.contains("tenantd:wiki/t3"),
            "{after}"
        );
        network.admit(two.clone(), None).await.unwrap();
        end(network, vec![(one, first), (two, second)]).await;
    });
}

/// Sends a frame by a tenant's end, as a program with the right to do so can.
pub fn send_frame(netns: &Netns, words: &[&str]) {
    let script = include_str!("frame.py");
    let mut command = Command::new("python3");
    command.args(["-c", script]).args(words);
    let status = inside(netns, || command.status().unwrap());
    assert!(status.success(), "{words:?}");
}

/// Sends forged datagrams from one tenant to another, and returns how many of them arrive.
pub async fn forged(plan: NetworkPlan, tenant: impl Fn(u16) -> LinkPlan) -> usize {
    std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
    let network = Network::open(plan).await.unwrap();
    let [one, two] = [2, 3].map(tenant);
    // It may send to the other: only what it says of itself is wrong.
    let one = with(one, |traffic| traffic.peers.all = true);
    let first = network.provision(one.clone()).await.unwrap();
    let second = network.provision(two.clone()).await.unwrap();
    let receiver = inside(&second, || UdpSocket::bind(("0.0.0.0", 5000)).unwrap());
    receiver.set_read_timeout(Some(LIMIT)).unwrap();
    let (mac, to) = (one.tenant.mac.to_string(), one.host.mac.to_string());
    let target = address(&two).to_string();
    for words in [
        ["ipv4", &mac, &to, "10.77.0.9", &target],
        ["ipv4", &mac, &to, "198.51.100.9", &target],
        ["ipv4", "02:00:00:00:00:99", &to, "10.77.0.2", &target],
    ] {
        send_frame(&first, &words);
    }
    send_frame(&first, &["vlan", &mac, &to, "10.77.0.2", &target]);
    // Another's address, claimed for its own MAC address.
    send_frame(&first, &["arp", &mac, &to, &target, "10.77.0.1"]);
    // Frames of one link stay in order, so this is the last one.
    send_frame(&first, &["ipv4", &mac, &to, "10.77.0.2", &target]);
    let mut arrived = 0;
    loop {
        let (_, from) = receiver.recv_from(&mut [0; 16]).unwrap();
        if from.ip() == address(&one) && arrived_is_last(&receiver) {
            break;
        }
        arrived += 1;
    }
    drop(receiver);
    for (link, netns) in [(one, first), (two, second)] {
        network.release(link, netns.close()).await.unwrap();
    }
    network.close().await.unwrap();
    arrived
}

/// Whether no other datagram waits.
fn arrived_is_last(receiver: &UdpSocket) -> bool {
    receiver.set_nonblocking(true).unwrap();
    let waits = receiver.peek_from(&mut [0; 16]).is_ok();
    receiver.set_nonblocking(false).unwrap();
    !waits
}

#[test]
fn forged_frames_pass_only_without_the_guard() {
    support::enter();
    block_on(async {
        let tenant = |n| link(Mode::Routed, n);
        let open = forged(off(Mode::Routed), tenant).await;
        assert_eq!(open, 3, "the way is open");
        assert_eq!(forged(plan(Mode::Routed), tenant).await, 0);
    });
}

/// What the distribution's nft reads, without what differs from run to run.
#[test]
fn the_rules_are_those_of_the_golden_file() {
    support::enter();
    block_on(async {
        let network = Network::open(plan(Mode::Routed)).await.unwrap();
        let tenant = with(link(Mode::Routed, 2), |traffic| {
            traffic.outbound = Outbound::Nat;
            traffic.egress = vec!["allow 198.51.100.0/25:443/tcp".parse().unwrap()];
            traffic.peers.all = true;
            traffic.publish = ["8080 -> 80", "127.0.0.1:53 -> 53/udp"]
                .map(|text| text.parse().unwrap())
                .into();
        });
        let netns = network.provision(tenant.clone()).await.unwrap();
        let text = nft("-s list ruleset");
        let lines = text.lines().filter(|line| !line.contains("flags owner"));
        let lines = lines.map(|line| line.split(" # progname").next().unwrap());
        let said = lines.collect::<Vec<_>>().join("\n") + "\n";
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let path = path.join("tests/golden/firewall.nft");
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&path, &said).unwrap();
        }
        assert_eq!(said, std::fs::read_to_string(&path).unwrap());
        end(network, vec![(tenant, netns)]).await;
    });
}
