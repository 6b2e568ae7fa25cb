//! The firewall with IPv6: what it refuses, and what the manifest allows, by TCP and UDP.

use std::fs;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};

use tenantd_core::plan::model::{LinkPlan, Mode};
use tenantd_core::plan::traffic::{Outbound, Protocol, Service};
use tenantd_host::netns::Netns;
use tenantd_host::network::Network;

use crate::network::firewall::{BOTH, REFUSED, Server, ask, end, refuses_datagram, with};
use crate::network::host::{GATEWAY6, LIMIT, block_on, inside, ip, link6, plan6};
use crate::network::outside::{connections, outside};
use crate::support;

const OUTSIDE6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 5, 0, 0, 0, 0, 2);
const UPLINK6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 5, 0, 0, 0, 0, 1);
const OTHER6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 5, 0, 0, 0, 0, 7);

/// The other machine, with IPv6 addresses on both sides.
fn outside6() -> Netns {
    let outside = outside();
    fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "1").unwrap();
    for words in [
        "address add 2001:db8:5::1/64 dev up0 nodad",
        "address add 2001:db8:5::7/64 dev up0 nodad",
        // The kernel prefers the newest one as the source.
        "address change 2001:db8:5::7/64 dev up0 preferred_lft 0",
        "-n outside address add 2001:db8:5::2/64 dev eth0 nodad",
        "-n outside route add fd00:77::/64 via 2001:db8:5::1",
    ] {
        ip(words);
    }
    // The first packet waits for the addresses.
    support::until("the other machine answers", || {
        inside(&outside, || UdpSocket::bind((OUTSIDE6, 0)).is_ok()) && ask((OUTSIDE6, 9)) == REFUSED
    });
    outside
}

fn own(link: &LinkPlan) -> IpAddr {
    link.addresses.iter().find(IpAddr::is_ipv6).unwrap()
}

fn server(netns: &Netns, port: u16) -> Server {
    Server::new(inside(netns, || TcpListener::bind(("::", port)).unwrap()))
}

/// The address from which a datagram to a server of `netns` arrives there.
fn seen(server: &Netns, at: SocketAddr, client: &Netns, to: SocketAddr) -> IpAddr {
    let receiver = inside(server, || UdpSocket::bind(at).unwrap());
    receiver.set_read_timeout(Some(LIMIT)).unwrap();
    inside(client, || {
        let socket = UdpSocket::bind("[::]:0").unwrap();
        socket.send_to(b"x", to).unwrap();
    });
    receiver.recv_from(&mut [0; 8]).unwrap().1.ip()
}

#[test]
fn peers_and_services_of_the_host_are_reached_only_if_they_are_listed() {
    support::enter();
    for mode in BOTH {
        block_on(async {
            let _host = Server::new(TcpListener::bind(("::", 5432)).unwrap());
            let network = Network::open(plan6(mode)).await.unwrap();
            let [one, two] = [2, 3].map(|n| link6(mode, n));
            let first = network.provision(one.clone()).await.unwrap();
            let second = network.provision(two.clone()).await.unwrap();
            let servers = [&first, &second].map(|netns| server(netns, 80));
            let peer = SocketAddr::new(own(&two), 80);
            let back = SocketAddr::new(own(&one), 80);
            let host = SocketAddr::from((GATEWAY6, 5432));
            for to in [peer, host] {
                assert_eq!(inside(&first, || ask(to)), REFUSED, "{mode:?}");
                assert!(inside(&first, || refuses_datagram(to)), "{mode:?}");
            }
            let allowed = with(one.clone(), |traffic| {
                let name = "t3".parse().unwrap();
                traffic.peers.named.insert(name, two.addresses.clone());
                let (port, protocol) = (5432, Protocol::Tcp);
                traffic.host_services.push(Service { port, protocol });
            });
            network.admit(allowed, None).await.unwrap();
            let said = Ok(own(&one).to_string());
            assert_eq!(inside(&first, || ask(peer)), said, "{mode:?}");
            assert_eq!(inside(&first, || ask(host)), said, "{mode:?}");
            assert!(inside(&first, || refuses_datagram(host)), "{mode:?}");
            assert_eq!(inside(&second, || ask(back)), REFUSED, "{mode:?}");
            assert_eq!(
                seen(
                    &second,
                    SocketAddr::new(own(&two), 53),
                    &first,
                    SocketAddr::new(own(&two), 53)
                ),
                own(&one)
            );
            let all = with(two.clone(), |traffic| traffic.peers.all = true);
            network.admit(all, None).await.unwrap();
            assert_eq!(
                inside(&second, || ask(back)),
                Ok(own(&two).to_string()),
                "{mode:?}"
            );
            drop(servers);
            end(network, vec![(one, first), (two, second)]).await;
        });
    }
}

#[test]
fn others_are_reached_as_outbound_says_and_see_the_address_that_it_says() {
    support::enter();
    let outside = outside6();
    let _servers = [80, 81].map(|port| server(&outside, port));
    for mode in BOTH {
        block_on(async {
            let network = Network::open(plan6(mode)).await.unwrap();
            let tenant = link6(mode, 2);
            let netns = network.provision(tenant.clone()).await.unwrap();
            let server = server(&netns, 80);
            let out = |port| inside(&netns, || ask((OUTSIDE6, port)));
            let back = || inside(&outside, || ask(SocketAddr::new(own(&tenant), 80)));
            assert_eq!((out(80), back()), (REFUSED, REFUSED), "{mode:?}");
            assert!(inside(&netns, || refuses_datagram((OUTSIDE6, 53).into())));
            let change = |outbound, egress: &[&str], from: Option<Ipv6Addr>| {
                let egress = egress.iter().map(|rule| rule.parse().unwrap()).collect();
                with(tenant.clone(), |traffic| {
                    (traffic.outbound, traffic.egress) = (outbound, egress);
                    // One of IPv4 concerns IPv4 alone.
                    traffic.sources = vec!["192.0.2.1".parse().unwrap()];
                    traffic.sources.extend(from.map(IpAddr::V6));
                })
            };
            network
                .admit(change(Outbound::Nat, &[], None), None)
                .await
                .unwrap();
            assert_eq!(out(80), Ok(UPLINK6.to_string()), "{mode:?}");
            assert_eq!(back(), REFUSED, "{mode:?}");
            network
                .admit(change(Outbound::Nat, &[], Some(OTHER6)), None)
                .await
                .unwrap();
            assert_eq!(out(80), Ok(OTHER6.to_string()), "{mode:?}");
            let at = SocketAddr::from((OUTSIDE6, 53));
            assert_eq!(
                seen(&outside, at, &netns, at),
                IpAddr::V6(OTHER6),
                "{mode:?}"
            );
            let listed = change(Outbound::Routed, &["allow [2001:db8:5::/64]:80/tcp"], None);
            network.admit(listed, None).await.unwrap();
            assert_eq!(
                (out(80), out(81)),
                (Ok(own(&tenant).to_string()), REFUSED),
                "{mode:?}"
            );
            assert_eq!(back(), Ok(OUTSIDE6.to_string()), "{mode:?}");
            // Without a route.
            let nowhere = Ipv6Addr::new(0x2001, 0xdb8, 6, 0, 0, 0, 0, 2);
            for _ in 0..20 {
                assert_eq!(inside(&netns, || ask((nowhere, 80))), REFUSED, "{mode:?}");
            }
            drop(server);
            end(network, vec![(tenant, netns)]).await;
        });
    }
}

/// Has the host connect to the other machine. Returns the address of that.
fn server6_connection(outside: &Netns) -> String {
    let _server = server(outside, 81);
    assert!(ask((OUTSIDE6, 81)).is_ok());
    OUTSIDE6.to_string()
}

#[test]
fn a_port_of_ipv6_leads_to_its_tenant_and_its_connections_end_with_it() {
    support::enter();
    let outside = outside6();
    let bridged = "/proc/sys/net/bridge/bridge-nf-call-ip6tables";
    if std::path::Path::new(bridged).exists() {
        fs::write(bridged, "0").unwrap();
    }
    for mode in BOTH {
        block_on(async {
            let network = Network::open(plan6(mode)).await.unwrap();
            let tenant = with(link6(mode, 2), |traffic| {
                traffic.publish = [
                    "[::]:8080 -> 80",
                    "[2001:db8:5::1]:53 -> 53/udp",
                    "8080 -> 80",
                ]
                .map(|text| text.parse().unwrap())
                .into();
            });
            let other = link6(mode, 3);
            let netns = network.provision(tenant.clone()).await.unwrap();
            let neighbour = network.provision(other.clone()).await.unwrap();
            let server = server(&netns, 80);
            let at_uplink = || ask((UPLINK6, 8080));
            assert_eq!(
                inside(&outside, at_uplink),
                Ok(OUTSIDE6.to_string()),
                "{mode:?}"
            );
            assert!(at_uplink().is_ok(), "{mode:?}");
            for from in [&neighbour, &netns] {
                assert!(inside(from, at_uplink).is_ok(), "{mode:?}");
            }
            let by_loopback = ask((Ipv6Addr::LOCALHOST, 8080));
            assert_eq!(by_loopback, Ok(GATEWAY6.to_string()), "{mode:?}");
            let at = SocketAddr::new(own(&tenant), 53);
            let to = SocketAddr::from((UPLINK6, 53));
            assert_eq!(
                seen(&netns, at, &outside, to),
                IpAddr::V6(OUTSIDE6),
                "{mode:?}"
            );
            for address in ["[::]:8080", "0.0.0.0:8080"] {
                assert!(TcpListener::bind(address).is_err(), "{address}");
            }
            let of = own(&tenant).to_string();
            let outer = server6_connection(&outside);
            assert!(connections(&of, "ipv6") > 0, "{mode:?}");
            drop(server);
            network
                .release(tenant.clone(), netns.close())
                .await
                .unwrap();
            assert_eq!(connections(&of, "ipv6"), 0, "{mode:?}");
            // Those of others stay.
            assert!(connections(&outer, "ipv6") > 0, "{mode:?}");
            end(network, vec![(other, neighbour)]).await;
        });
    }
}

#[test]
fn a_published_port_of_ipv6_is_held_apart_from_that_of_ipv4() {
    support::enter();
    block_on(async {
        let network = Network::open(plan6(Mode::Bridge)).await.unwrap();
        let taken = TcpListener::bind("[::1]:9090").unwrap();
        let publish = |text: &str| {
            with(link6(Mode::Bridge, 2), |traffic| {
                traffic.publish = vec![text.parse().unwrap()];
            })
        };
        let netns = network.provision(publish("9090 -> 80")).await.unwrap();
        let why = network
            .admit(publish("[::]:9090 -> 80"), None)
            .await
            .unwrap_err();
        let name = fs::read_to_string("/proc/self/comm").unwrap();
        let holder = format!("{} (pid {})", name.trim_end(), std::process::id());
        assert!(why.to_string().contains(&holder), "{why}");
        drop(taken);
        network
            .admit(publish("[::]:9090 -> 80"), None)
            .await
            .unwrap();
        end(network, vec![(publish("9090 -> 80"), netns)]).await;
    });
}
