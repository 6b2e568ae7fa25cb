//! The configuration of a provisioned tenant's network, and which hosts reach each other.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tenantd_core::plan::address::Addresses;
use tenantd_core::plan::model::{Firewall, Mode, NetworkPlan};
use tenantd_host::network::{LinkTarget, Network};

use crate::network::host::{
    GATEWAY, LIMIT, block_on, connect, echo, inside, ip, ip_json, link, plan, show,
};
use crate::support;

const BOTH: [Mode; 2] = [Mode::Routed, Mode::Bridge];

#[test]
fn host_and_tenant_reach_each_other() {
    support::enter();
    // The strictest host: it filters by path, and answers ARP only for the receiving link's
    // address.
    std::fs::write("/proc/sys/net/ipv4/conf/default/rp_filter", "1").unwrap();
    std::fs::write("/proc/sys/net/ipv4/conf/all/arp_ignore", "2").unwrap();
    for mode in BOTH {
        block_on(async {
            // The firewall would refuse what the tenant begins.
            let open = NetworkPlan {
                firewall: Firewall::Off,
                ..plan(mode)
            };
            let network = Network::open(open).await.unwrap();
            let tenant = link(mode, 2);
            let netns = network.provision(tenant.clone()).await.unwrap();
            // A fixed, privileged port: all ports are free in a tenant.
            let listener = inside(&netns, || {
                TcpListener::bind((tenant.addresses.first(), 80)).unwrap()
            });
            echo(listener, |address| {
                let stream = connect(address);
                assert_eq!(stream.local_addr().unwrap().ip(), GATEWAY, "{mode:?}");
                stream
            });
            let listener = TcpListener::bind((GATEWAY, 0)).unwrap();
            echo(listener, |address| inside(&netns, || connect(address)));
            let local = inside(&netns, || {
                TcpListener::bind((Ipv4Addr::LOCALHOST, 80)).unwrap()
            });
            echo(local, |address| inside(&netns, || connect(address)));
            network.release(tenant, netns.close()).await.unwrap();
            network.close().await.unwrap();
        });
    }
}

#[test]
fn each_address_of_a_tenant_is_reached() {
    support::enter();
    for mode in BOTH {
        block_on(async {
            let network = Network::open(plan(mode)).await.unwrap();
            let mut tenant = link(mode, 2);
            let others = ["10.77.0.20", "10.77.0.21"].map(|text| text.parse().unwrap());
            tenant.addresses = Addresses::new(tenant.addresses.first(), others.into());
            let netns = Arc::new(network.provision(tenant.clone()).await.unwrap());
            for address in tenant.addresses.iter() {
                let bind = || TcpListener::bind((address, 80)).unwrap();
                echo(inside(&netns, bind), connect);
            }
            let target = network
                .link_target(tenant.clone(), Arc::clone(&netns))
                .await;
            let addresses = Some(tenant.addresses.clone());
            assert_eq!(target.unwrap(), LinkTarget::Here { addresses });
            // With another plan, it has one of the planned addresses and an unplanned one.
            let mut planned = tenant.clone();
            planned.addresses = Addresses::new("10.77.0.99".parse().unwrap(), vec![others[1]]);
            let target = network.link_target(planned, Arc::clone(&netns)).await;
            let found = Addresses::new(others[1], vec![tenant.addresses.first()]);
            let addresses = Some(found);
            assert_eq!(target.unwrap(), LinkTarget::Here { addresses });
            let netns = Arc::into_inner(netns).unwrap();
            network.release(tenant, netns.close()).await.unwrap();
            network.close().await.unwrap();
        });
    }
}

#[test]
fn the_first_packet_arrives() {
    support::enter();
    for mode in BOTH {
        block_on(async {
            let network = Network::open(plan(mode)).await.unwrap();
            for n in 2..12 {
                let tenant = link(mode, n);
                let netns = network.provision(tenant.clone()).await.unwrap();
                let address = SocketAddr::from((tenant.addresses.first(), 53));
                let receiver = inside(&netns, || UdpSocket::bind(address).unwrap());
                // A lost datagram is not sent again.
                let sender = UdpSocket::bind((GATEWAY, 0)).unwrap();
                sender.send_to(b"first", address).unwrap();
                receiver.set_read_timeout(Some(LIMIT)).unwrap();
                assert_eq!(receiver.recv(&mut [0; 8]).unwrap(), 5, "{mode:?}");
                drop(receiver);
                network.release(tenant, netns.close()).await.unwrap();
            }
            network.close().await.unwrap();
        });
    }
}

#[test]
fn a_provision_is_as_planned_and_can_be_repeated() {
    support::enter();
    std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
    for mode in BOTH {
        block_on(async {
            let network = Network::open(plan(mode)).await.unwrap();
            let tenant = link(mode, 2);
            for _ in 0..2 {
                let netns = network.provision(tenant.clone()).await.unwrap();
                let end = show("vt-2");
                assert_eq!(end["ifalias"], "tenantd:wiki/t2");
                assert_eq!(end["address"], "02:00:00:01:00:02");
                assert_eq!(end["mtu"], 1400);
                assert_eq!(end["inet6_addr_gen_mode"], "none");
                assert_eq!(end["num_tx_queues"], 1);
                assert_eq!(
                    ip_json("-6 address show dev vt-2"),
                    [] as [serde_json::Value; 0]
                );
                inside(&netns, || {
                    let end = show("eth0");
                    assert_eq!(end["address"], "02:00:00:02:00:02");
                    assert_eq!(end["mtu"], 1400);
                    assert_eq!(end["inet6_addr_gen_mode"], "none");
                    assert_eq!(ip_json("link").len(), 2, "eth0 and lo alone");
                    let read = |name: &str| std::fs::read_to_string(name).unwrap();
                    assert_eq!(read("/proc/sys/net/ipv4/ip_forward").trim(), "0");
                    let default = ip_json("route show default").remove(0);
                    assert_eq!(default["gateway"], "10.77.0.1");
                    if mode == Mode::Routed {
                        let neighbour = ip_json("neigh show 10.77.0.1").remove(0);
                        assert_eq!(neighbour["lladdr"], "02:00:00:01:00:02");
                        assert_eq!(neighbour["state"], json!(["PERMANENT"]));
                    }
                });
                network
                    .release(tenant.clone(), netns.close())
                    .await
                    .unwrap();
            }
            network.close().await.unwrap();
        });
    }
}

#[test]
fn the_hub_is_marked_reused_and_repaired() {
    support::enter();
    for (mode, prefix) in [(Mode::Routed, 32), (Mode::Bridge, 24)] {
        block_on(async {
            let first = Network::open(plan(mode)).await.unwrap();
            let hub = show("td-wiki");
            assert_eq!(hub["ifalias"], "tenantd:wiki");
            assert_eq!(hub["address"], "02:00:00:00:00:01");
            assert_eq!(hub["mtu"], 1400);
            assert_eq!(hub["linkinfo"]["info_data"]["stp_state"], 0);
            let index = hub["ifindex"].clone();
            drop(first);
            ip("address add 10.78.0.9/16 dev td-wiki");
            ip("link set td-wiki mtu 1300 down");
            let second = Network::open(plan(mode)).await.unwrap();
            let hub = ip_json("address show dev td-wiki").remove(0);
            assert_eq!(hub["ifindex"], index, "it is the same link");
            assert_eq!(hub["mtu"], 1400);
            assert!(hub["flags"].as_array().unwrap().contains(&json!("UP")));
            let addresses = hub["addr_info"].as_array().unwrap();
            assert_eq!(addresses.len(), 1, "{addresses:?}");
            assert_eq!(addresses[0]["local"], "10.77.0.1");
            assert_eq!(addresses[0]["prefixlen"], prefix);
            second.close().await.unwrap();
            assert_eq!(ip_json("link").len(), 1, "lo alone");
        });
    }
}

#[test]
fn the_hub_is_kept_while_a_tenant_uses_it() {
    support::enter();
    for mode in BOTH {
        block_on(async {
            let network = Network::open(plan(mode)).await.unwrap();
            let netns = network.provision(link(mode, 2)).await.unwrap();
            network.close().await.unwrap();
            assert_eq!(show("td-wiki")["ifalias"], "tenantd:wiki");
            let network = Network::open(plan(mode)).await.unwrap();
            network.release(link(mode, 2), netns.close()).await.unwrap();
            network.close().await.unwrap();
            assert_eq!(ip_json("link").len(), 1, "lo alone");
        });
    }
}

#[test]
fn tenants_do_not_reach_each_other() {
    support::enter();
    for mode in BOTH {
        block_on(async {
            let network = Network::open(plan(mode)).await.unwrap();
            let one = network.provision(link(mode, 2)).await.unwrap();
            let two = network.provision(link(mode, 3)).await.unwrap();
            let target = SocketAddr::from((link(mode, 3).addresses.first(), 5000));
            let mac = link(mode, 3).tenant.mac;
            // Even if the sender knows the other's MAC address and has a route to it.
            let sender = inside(&one, || {
                if mode == Mode::Bridge {
                    ip(&format!("neigh replace 10.77.0.3 lladdr {mac} dev eth0"));
                }
                UdpSocket::bind(("0.0.0.0", 0)).unwrap()
            });
            let receiver = inside(&two, || UdpSocket::bind(target).unwrap());
            sender.send_to(b"over the wall", target).unwrap();
            // A later datagram of the host arrives, and none before it.
            let host = UdpSocket::bind((GATEWAY, 0)).unwrap();
            host.send_to(b"from the host", target).unwrap();
            receiver.set_read_timeout(Some(LIMIT)).unwrap();
            let mut message = [0; 32];
            let (length, from) = receiver.recv_from(&mut message).unwrap();
            assert_eq!(&message[..length], b"from the host");
            assert_eq!(from.ip(), GATEWAY);
            let wall = inside(&one, || {
                TcpStream::connect_timeout(&target, Duration::from_millis(200)).is_err()
            });
            assert!(wall, "{mode:?}");
            if mode == Mode::Bridge {
                let port = &show("vt-2")["linkinfo"]["info_slave_data"];
                assert_eq!(port["isolated"], true);
            }
            // A socket keeps its namespace alive.
            drop((sender, receiver));
            for (n, netns) in [(2, one), (3, two)] {
                network.release(link(mode, n), netns.close()).await.unwrap();
            }
            network.close().await.unwrap();
        });
    }
}
