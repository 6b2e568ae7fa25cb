//! The firewall towards another machine: what a tenant reaches there, and what is published to it.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};

use tenantd_core::plan::model::Mode;
use tenantd_core::plan::traffic::Outbound;
use tenantd_host::netns::Netns;
use tenantd_host::network::Network;

use crate::network::firewall::{
    BOTH, REFUSED, Server, address, ask, end, nft, refuses_datagram, with,
};
use crate::network::host::{GATEWAY, LIMIT, block_on, inside, ip, link, plan};
use crate::support;

/// A network namespace beside the host, as another machine: it has 192.0.2.2, and the host 192.0.2.1.
pub fn outside() -> Netns {
    for words in [
        "netns add outside",
        "link add up0 type veth peer name eth0 netns outside",
        "address add 192.0.2.1/24 dev up0",
        "link set up0 up",
        "-n outside address add 192.0.2.2/24 dev eth0",
        "-n outside link set eth0 up",
        "-n outside route add 10.77.0.0/24 via 192.0.2.1",
    ] {
        ip(words);
    }
    std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
    let netns = std::fs::File::open("/run/netns/outside").unwrap();
    Netns::from_fd(netns.into()).unwrap()
}

pub const OUTSIDE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
pub const UPLINK: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

#[test]
fn a_tenant_reaches_others_as_its_outbound_says() {
    support::enter();
    let outside = outside();
    let _servers = [80, 81].map(|port| Server::inside(&outside, port));
    for mode in BOTH {
        block_on(async {
            let network = Network::open(plan(mode)).await.unwrap();
            let tenant = link(mode, 2);
            let own = address(&tenant);
            let netns = network.provision(tenant.clone()).await.unwrap();
            let server = Server::inside(&netns, 80);
            let out = |port| inside(&netns, || ask((OUTSIDE, port)));
            let back = || inside(&outside, || ask(SocketAddr::new(own, 80)));
            assert_eq!((out(80), back()), (REFUSED, REFUSED), "{mode:?}");
            assert!(inside(&netns, || refuses_datagram((OUTSIDE, 53).into())));
            let change = |outbound, egress: &[&str]| {
                let egress = egress.iter().map(|rule| rule.parse().unwrap()).collect();
                with(tenant.clone(), |traffic| {
                    (traffic.outbound, traffic.egress) = (outbound, egress);
                })
            };
            network
                .admit(change(Outbound::Nat, &[]), None)
                .await
                .unwrap();
            assert_eq!(
                (out(80), back()),
                (Ok(UPLINK.to_string()), REFUSED),
                "{mode:?}"
            );
            let routed = change(Outbound::Routed, &["allow 192.0.2.0/24:80/tcp"]);
            network.admit(routed, None).await.unwrap();
            assert_eq!(
                (out(80), out(81)),
                (Ok(own.to_string()), REFUSED),
                "{mode:?}"
            );
            assert_eq!(back(), Ok(OUTSIDE.to_string()), "{mode:?}");
            let denied = change(Outbound::Nat, &["deny any:80-80", "allow any"]);
            network.admit(denied, None).await.unwrap();
            assert_eq!(
                (out(80), out(81)),
                (REFUSED, Ok(UPLINK.to_string())),
                "{mode:?}"
            );
            let lists = nft("list table inet tenantd_wiki")
                .matches("chain list_")
                .count();
            assert_eq!(lists, 1, "the former list is gone");
            network.admit(tenant.clone(), None).await.unwrap();
            assert_eq!(out(81), REFUSED, "{mode:?}");
            drop(server);
            end(network, vec![(tenant, netns)]).await;
        });
    }
}

#[test]
fn others_see_a_tenant_by_the_address_of_outbound_from() {
    support::enter();
    let outside = outside();
    ip("address add 192.0.2.7/24 dev up0");
    let _server = Server::inside(&outside, 80);
    let datagrams = inside(&outside, || UdpSocket::bind((OUTSIDE, 53)).unwrap());
    datagrams.set_read_timeout(Some(LIMIT)).unwrap();
    for mode in BOTH {
        block_on(async {
            let network = Network::open(plan(mode)).await.unwrap();
            let tenant = with(link(mode, 2), |traffic| traffic.outbound = Outbound::Nat);
            let netns = network.provision(tenant.clone()).await.unwrap();
            let out = || inside(&netns, || ask((OUTSIDE, 80)));
            assert_eq!(out(), Ok(UPLINK.to_string()), "{mode:?}");
            let other = Ipv4Addr::new(192, 0, 2, 7);
            let from = with(tenant.clone(), |traffic| {
                traffic.sources = vec![other.into()];
            });
            network.admit(from, None).await.unwrap();
            assert_eq!(out(), Ok(other.to_string()), "{mode:?}");
            inside(&netns, || {
                let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
                socket.send_to(b"x", (OUTSIDE, 53)).unwrap();
            });
            let (_, seen) = datagrams.recv_from(&mut [0; 8]).unwrap();
            assert_eq!(seen.ip(), other, "{mode:?}");
            network.admit(tenant.clone(), None).await.unwrap();
            assert_eq!(out(), Ok(UPLINK.to_string()), "{mode:?}");
            end(network, vec![(tenant, netns)]).await;
        });
    }
}

#[test]
fn without_a_route_a_packet_that_is_not_allowed_is_refused_at_once() {
    support::enter();
    std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
    for mode in BOTH {
        block_on(async {
            let network = Network::open(plan(mode)).await.unwrap();
            let tenant = link(mode, 2);
            let netns = network.provision(tenant.clone()).await.unwrap();
            // More than the kernel sends errors of ICMP in a second.
            for _ in 0..20 {
                assert_eq!(inside(&netns, || ask((OUTSIDE, 80))), REFUSED, "{mode:?}");
            }
            assert!(inside(&netns, || refuses_datagram((OUTSIDE, 53).into())));
            let listed = with(tenant.clone(), |traffic| {
                traffic.outbound = Outbound::Nat;
                traffic.egress = vec!["allow 192.0.2.0/24:81/tcp".parse().unwrap()];
            });
            network.admit(listed, None).await.unwrap();
            for _ in 0..20 {
                assert_eq!(inside(&netns, || ask((OUTSIDE, 80))), REFUSED, "{mode:?}");
            }
            end(network, vec![(tenant, netns)]).await;
        });
    }
}

#[test]
fn a_published_port_leads_to_its_tenant_from_everywhere() {
    support::enter();
    let outside = outside();
    // A frame between ports of one bridge would not be translated otherwise.
    let bridged = "/proc/sys/net/bridge/bridge-nf-call-iptables";
    if std::path::Path::new(bridged).exists() {
        std::fs::write(bridged, "0").unwrap();
    }
    for mode in BOTH {
        block_on(async {
            let network = Network::open(plan(mode)).await.unwrap();
            let published = |text: &str| {
                with(link(mode, 2), |traffic| {
                    traffic.publish.push(text.parse().unwrap());
                })
            };
            let (tenant, other) = (published("8080 -> 80"), link(mode, 3));
            let netns = network.provision(tenant.clone()).await.unwrap();
            let neighbour = network.provision(other.clone()).await.unwrap();
            let server = Server::inside(&netns, 80);
            let at_uplink = || ask((UPLINK, 8080));
            assert_eq!(
                inside(&outside, at_uplink),
                Ok(OUTSIDE.to_string()),
                "{mode:?}"
            );
            assert!(at_uplink().is_ok(), "{mode:?}");
            let loopback = || ask((Ipv4Addr::LOCALHOST, 8080));
            assert_eq!(loopback(), Ok(GATEWAY.to_string()), "{mode:?}");
            for from in [&neighbour, &netns] {
                assert!(inside(from, at_uplink).is_ok(), "{mode:?}");
            }
            let taken = TcpListener::bind(("0.0.0.0", 8080)).unwrap_err();
            assert_eq!(taken.kind(), ErrorKind::AddrInUse);
            // A port that a process of the host has is refused, and nothing changes.
            let _process = TcpListener::bind(("0.0.0.0", 9090)).unwrap();
            let why = network
                .admit(published("9090 -> 80"), None)
                .await
                .unwrap_err();
            assert_eq!(
                (why.errno, why.object.as_str()),
                (libc::EADDRINUSE, "port 9090/tcp")
            );
            assert!(at_uplink().is_ok(), "{mode:?}");
            network
                .admit(published("192.0.2.1:8081 -> 80"), None)
                .await
                .unwrap();
            assert_eq!(inside(&outside, at_uplink), REFUSED, "{mode:?}");
            let said = inside(&outside, || ask((UPLINK, 8081)));
            assert_eq!(said, Ok(OUTSIDE.to_string()), "{mode:?}");
            drop(server);
            end(network, vec![(tenant, netns), (other, neighbour)]).await;
        });
    }
}

/// The entries of conntrack that name an address, of the test host.
pub fn connections(of: &str, family: &str) -> usize {
    let output = std::process::Command::new("conntrack")
        .args(["-L", "-f", family])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let word = format!("={of} ");
    let named = text.lines().filter(|line| line.contains(&word));
    // Shown if the test fails.
    named.inspect(|line| eprintln!("{line}")).count()
}

#[test]
fn the_connections_of_a_released_tenant_are_forgotten_and_no_others() {
    support::enter();
    let outside = outside();
    let _server = Server::inside(&outside, 80);
    block_on(async {
        let network = Network::open(plan(Mode::Routed)).await.unwrap();
        let tenants = [2, 3].map(|n| {
            with(link(Mode::Routed, n), |traffic| {
                traffic.outbound = Outbound::Nat;
                traffic.publish = vec![format!("808{n} -> 80").parse().unwrap()];
            })
        });
        let [one, two] = tenants;
        let first = network.provision(one.clone()).await.unwrap();
        let second = network.provision(two.clone()).await.unwrap();
        for (netns, port) in [(&first, 8082), (&second, 8083)] {
            let server = Server::inside(netns, 80);
            assert!(inside(netns, || ask((OUTSIDE, 80))).is_ok());
            assert!(inside(&outside, || ask((UPLINK, port))).is_ok());
            drop(server);
        }
        for of in ["10.77.0.2", "10.77.0.3"] {
            assert_eq!(connections(of, "ipv4"), 2, "one out, one in: {of}");
        }
        network.release(one, first.close()).await.unwrap();
        assert_eq!(
            (
                connections("10.77.0.2", "ipv4"),
                connections("10.77.0.3", "ipv4")
            ),
            (0, 2)
        );
        end(network, vec![(two, second)]).await;
    });
}

/// The chains of Docker refuse after ours what they do not know. Its chain for users has the lines of the guide.
#[test]
fn beside_docker_its_chain_for_users_needs_our_links() {
    support::enter();
    let outside = outside();
    let _server = Server::inside(&outside, 80);
    block_on(async {
        let network = Network::open(plan(Mode::Routed)).await.unwrap();
        let tenant = with(link(Mode::Routed, 2), |traffic| {
            traffic.outbound = Outbound::Nat;
            traffic.publish.push("8080 -> 80".parse().unwrap());
        });
        let netns = network.provision(tenant.clone()).await.unwrap();
        let server = Server::inside(&netns, 80);
        let out = || inside(&netns, || ask((OUTSIDE, 80)));
        let back = || inside(&outside, || ask((UPLINK, 8080)));
        assert!(out().is_ok() && back().is_ok());
        nft("add table ip filter");
        nft("add chain ip filter FORWARD { type filter hook forward priority 0 ; policy drop ; }");
        nft("add chain ip filter DOCKER-USER");
        nft("add rule ip filter FORWARD jump DOCKER-USER");
        let lost = Err(ErrorKind::TimedOut);
        assert_eq!((out(), back()), (lost.clone(), lost));
        assert!(ask(SocketAddr::new(address(&tenant), 80)).is_ok());
        for group in ["iifgroup", "oifgroup"] {
            let ours = format!("meta {group} and 0xffff0000 == 0x7e4a0000 accept");
            nft(&format!("insert rule ip filter DOCKER-USER {ours}"));
        }
        assert!(out().is_ok() && back().is_ok());
        nft("delete table ip filter");
        drop(server);
        end(network, vec![(tenant, netns)]).await;
    });
}
