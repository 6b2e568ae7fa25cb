//! Tenants with addresses of IPv6, alone or beside one of IPv4.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::Instant;

use serde_json::{Value, json};
use tenantd_core::plan::model::{Firewall, LinkPlan, Mode, NetworkPlan};
use tenantd_host::netns::Netns;
use tenantd_host::network::{LinkTarget, Network};

use crate::network::firewall::{AT_ONCE, BOTH, REFUSED, Server, ask, end, refuses_datagram};
use crate::network::host::{
    GATEWAY6, LIMIT, block_on, connect, echo, inside, ip, ip_json, link6, plan6, show,
};
use crate::support;

fn open(mode: Mode) -> NetworkPlan {
    NetworkPlan {
        firewall: Firewall::Off,
        ..plan6(mode)
    }
}

fn address6(link: &LinkPlan) -> IpAddr {
    link.addresses.iter().find(IpAddr::is_ipv6).unwrap()
}

fn server(netns: &Netns, port: u16) -> Server {
    Server::new(inside(netns, || TcpListener::bind(("::", port)).unwrap()))
}

#[test]
fn host_and_tenant_reach_each_other_in_both_families() {
    support::enter();
    for mode in BOTH {
        block_on(async {
            // The firewall would refuse what the tenant begins.
            let network = Network::open(open(mode)).await.unwrap();
            let tenant = link6(mode, 2);
            let netns = network.provision(tenant.clone()).await.unwrap();
            for (address, gateway) in [
                (tenant.addresses.first(), IpAddr::from([10, 77, 0, 1])),
                (address6(&tenant), GATEWAY6.into()),
            ] {
                let listener = inside(&netns, || TcpListener::bind((address, 80)).unwrap());
                echo(listener, |address| {
                    let stream = connect(address);
                    assert_eq!(stream.local_addr().unwrap().ip(), gateway, "{mode:?}");
                    stream
                });
                let listener = TcpListener::bind((gateway, 0)).unwrap();
                echo(listener, |to| {
                    inside(&netns, || {
                        let stream = connect(to);
                        assert_eq!(stream.local_addr().unwrap().ip(), address, "{mode:?}");
                        stream
                    })
                });
            }
            end(network, vec![(tenant, netns)]).await;
            assert_eq!(ip_json("link").len(), 1, "lo alone");
            assert_eq!(
                ip_json("-6 route show table all proto 126"),
                [] as [Value; 0]
            );
        });
    }
}

/// A lost datagram is not sent again.
#[test]
fn the_first_packet_to_an_ipv6_address_arrives() {
    support::enter();
    for mode in BOTH {
        block_on(async {
            let network = Network::open(plan6(mode)).await.unwrap();
            for n in 2..30 {
                let tenant = link6(mode, n);
                let netns = network.provision(tenant.clone()).await.unwrap();
                let address = SocketAddr::from((address6(&tenant), 53));
                let receiver = inside(&netns, || UdpSocket::bind(address).unwrap());
                let sender = UdpSocket::bind((GATEWAY6, 0)).unwrap();
                sender.send_to(b"first", address).unwrap();
                receiver.set_read_timeout(Some(LIMIT)).unwrap();
                let received = receiver.recv(&mut [0; 8]);
                assert_eq!(received.unwrap(), 5, "{mode:?} {n}");
                drop(receiver);
                network.release(tenant, netns.close()).await.unwrap();
            }
            network.close().await.unwrap();
        });
    }
}

#[test]
fn a_tenant_may_have_ipv6_alone_and_several_addresses() {
    support::enter();
    for mode in BOTH {
        block_on(async {
            let network = Network::open(plan6(mode)).await.unwrap();
            let mut tenant = link6(mode, 2);
            let all = ["fd00:77::2", "fd00:77::20", "fd00:77::ffff:2"];
            let all = all.map(|text| text.parse::<IpAddr>().unwrap());
            tenant.addresses = tenantd_core::plan::address::Addresses::of(all).unwrap();
            let netns = Arc::new(network.provision(tenant.clone()).await.unwrap());
            for address in all {
                let bind = || TcpListener::bind((address, 80)).unwrap();
                echo(inside(&netns, bind), connect);
            }
            inside(&netns, || {
                let none: [Value; 0] = [];
                assert_eq!(ip_json("-4 address show dev eth0"), none, "{mode:?}");
                assert_eq!(ip_json("-4 route show"), none, "{mode:?}");
            });
            let target = network.link_target(tenant.clone(), Arc::clone(&netns));
            let addresses = Some(tenant.addresses.clone());
            assert_eq!(target.await.unwrap(), LinkTarget::Here { addresses });
            let netns = Arc::into_inner(netns).unwrap();
            end(network, vec![(tenant, netns)]).await;
        });
    }
}

#[test]
fn a_link_with_ipv6_is_as_planned() {
    support::enter();
    // A host that turns IPv6 off, and would take what a router says.
    for (setting, value) in [("disable_ipv6", "1"), ("accept_ra", "1")] {
        let file = format!("/proc/sys/net/ipv6/conf/default/{setting}");
        std::fs::write(file, value).unwrap();
    }
    for mode in BOTH {
        block_on(async {
            let network = Network::open(plan6(mode)).await.unwrap();
            let tenant = link6(mode, 2);
            let netns = network.provision(tenant.clone()).await.unwrap();
            let (way, mac) = match mode {
                Mode::Routed => ("vt-2", "02:00:00:01:00:02"),
                Mode::Bridge | Mode::Macvlan | Mode::Port => ("td-wiki", "02:00:00:00:00:01"),
            };
            let route = ip_json("-6 route show fd00:77::2").remove(0);
            assert_eq!(route["dev"], way);
            let entry = ip_json("-6 neigh show fd00:77::2").remove(0);
            assert_eq!(entry["lladdr"], "02:00:00:02:00:02");
            assert_eq!(entry["state"], json!(["PERMANENT"]));
            let hub = ip_json("-6 address show dev td-wiki").remove(0);
            assert_eq!(hub["addr_info"][0]["local"], "fd00:77::1");
            assert_eq!(hub["addr_info"].as_array().unwrap().len(), 1);
            let read = |link: &str, setting: &str| {
                let file = format!("/proc/sys/net/ipv6/conf/{link}/{setting}");
                std::fs::read_to_string(file).unwrap().trim().to_owned()
            };
            for link in ["td-wiki", "vt-2"] {
                assert_eq!(read(link, "accept_ra"), "0", "{link}");
                assert_eq!(read(link, "force_forwarding"), "1", "{link}");
            }
            assert_eq!(read("all", "forwarding"), "0", "the host's");
            inside(&netns, || {
                let shown = ip_json("-6 address show dev eth0").remove(0);
                let addresses = shown["addr_info"].as_array().unwrap();
                assert_eq!(addresses.len(), 1, "no link-local one: {addresses:?}");
                assert_eq!(addresses[0]["prefixlen"], 128);
                assert_eq!(addresses[0]["nodad"], true);
                let default = ip_json("-6 route show default").remove(0);
                assert_eq!(default["gateway"], "fd00:77::1");
                let entry = ip_json("-6 neigh show fd00:77::1").remove(0);
                assert_eq!(entry["lladdr"], mac);
                assert_eq!(entry["state"], json!(["PERMANENT"]));
                assert_eq!(read("eth0", "accept_ra"), "0");
                assert_eq!(read("eth0", "autoconf"), "0");
                assert_eq!(read("all", "forwarding"), "0");
            });
            end(network, vec![(tenant, netns)]).await;
        });
    }
}

#[test]
fn nothing_but_the_host_reaches_a_tenant_in_ipv6() {
    support::enter();
    for mode in BOTH {
        block_on(async {
            let network = Network::open(plan6(mode)).await.unwrap();
            let (one, two) = (link6(mode, 2), link6(mode, 3));
            let first = network.provision(one.clone()).await.unwrap();
            let second = network.provision(two.clone()).await.unwrap();
            let to = address6(&two);
            let servers = [
                server(&second, 80),
                Server::new(TcpListener::bind(("::", 81)).unwrap()),
            ];
            // Of the host.
            assert_eq!(ask((to, 80)).unwrap(), GATEWAY6.to_string(), "{mode:?}");
            // Of another tenant, of a tenant to the host, and of a tenant to others.
            inside(&first, || {
                for (to, port) in [
                    (to, 80),
                    (GATEWAY6.into(), 81),
                    ("fd00:77::99".parse().unwrap(), 80),
                ] {
                    let begun = Instant::now();
                    assert_eq!(ask((to, port)), REFUSED, "{mode:?} {to}");
                    assert!(
                        begun.elapsed() < AT_ONCE,
                        "{mode:?} {to}: {:?}",
                        begun.elapsed()
                    );
                }
                assert!(refuses_datagram((to, 5000).into()), "{mode:?}");
            });
            drop(servers);
            end(network, vec![(one, first), (two, second)]).await;
        });
    }
}

#[test]
fn an_ipv6_address_without_a_tenant_is_refused_at_once() {
    support::enter();
    ip("link add up0 type veth peer name far0");
    ip("link set far0 up");
    ip("link set up0 up");
    ip("-6 address add 2001:db8::1/64 dev up0 nodad");
    ip("-6 route add default via 2001:db8::2 dev up0");
    for mode in BOTH {
        block_on(async {
            let network = Network::open(plan6(mode)).await.unwrap();
            let tenant = link6(mode, 2);
            let to = SocketAddr::from((address6(&tenant), 80));
            let refused = || {
                let begun = Instant::now();
                TcpStream::connect_timeout(&to, LIMIT).unwrap_err();
                assert!(begun.elapsed() < AT_ONCE, "{mode:?}: {:?}", begun.elapsed());
            };
            for _ in 0..2 {
                refused();
                let netns = network.provision(tenant.clone()).await.unwrap();
                let listener = inside(&netns, || TcpListener::bind(to).unwrap());
                connect(to);
                drop(listener);
                network.forget(tenant.clone()).await.unwrap();
                let released = network.release(tenant.clone(), netns.close());
                released.await.unwrap();
            }
            refused();
            assert_eq!(
                ip_json("-6 neigh show nud all fd00:77::2"),
                [] as [Value; 0]
            );
            ip("-6 route del unreachable fd00:77::/64 metric 4294967295");
            support::until("the route is there again", || {
                ip_json("-6 route show proto 126").len() == 1
            });
            network.close().await.unwrap();
        });
    }
}

/// Without the firewall the forged datagram arrives, so it is the guard that drops it.
#[test]
fn forged_addresses_of_ipv6_are_dropped() {
    support::enter();
    for mode in BOTH {
        for firewall in [Firewall::Off, Firewall::On] {
            block_on(async {
                let network = NetworkPlan {
                    firewall,
                    ..plan6(mode)
                };
                let network = Network::open(network).await.unwrap();
                let tenant = link6(mode, 2);
                let netns = network.provision(tenant.clone()).await.unwrap();
                let host = UdpSocket::bind((GATEWAY6, 5000)).unwrap();
                let forged: Ipv6Addr = "fd00:77::66".parse().unwrap();
                inside(&netns, || {
                    ip("-6 address add fd00:77::66/128 dev eth0 nodad");
                    let from = UdpSocket::bind((forged, 0)).unwrap();
                    from.send_to(b"forged", (GATEWAY6, 5000)).unwrap();
                });
                let passes = firewall == Firewall::Off;
                let limit = if passes { LIMIT } else { AT_ONCE / 5 };
                host.set_read_timeout(Some(limit)).unwrap();
                assert_eq!(
                    host.recv(&mut [0; 8]).is_ok(),
                    passes,
                    "{mode:?} {firewall}"
                );
                if !passes {
                    let counted =
                        crate::network::firewall::nft("list counters table netdev tenantd_wiki");
                    assert!(!counted.contains("packets 0 "), "{counted}");
                }
                assert_eq!(show("vt-2")["ifalias"], tenant.mark);
                end(network, vec![(tenant, netns)]).await;
            });
        }
    }
}
