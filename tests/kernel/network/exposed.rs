//! Ports on which a program listens at its loopback addresses only, and which the tenant exposes.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Command;

use tenantd_core::plan::model::{LinkPlan, Mode};
use tenantd_core::plan::traffic::{Exposed, Protocol};
use tenantd_host::netns::Netns;
use tenantd_host::network::Network;

use crate::network::firewall::{BOTH, REFUSED, Server, ask, end, nft, with};
use crate::network::host::{
    GATEWAY, GATEWAY6, LIMIT, block_on, echo, inside, ip_json, link6, plan6,
};
use crate::support;

fn exposing(link: LinkPlan, ports: &[(u16, Protocol)]) -> LinkPlan {
    with(link, |traffic| {
        let ports = ports.iter();
        let ports = ports.map(|(port, protocol)| Exposed {
            port: *port,
            protocol: *protocol,
        });
        traffic.exposed = ports.collect();
    })
}

const TCP: [(u16, Protocol); 1] = [(5432, Protocol::Tcp)];

/// Servers on the loopback addresses of both families.
fn servers(netns: &Netns, port: u16) -> [Server; 2] {
    let addresses = [
        IpAddr::from(Ipv4Addr::LOCALHOST),
        Ipv6Addr::LOCALHOST.into(),
    ];
    addresses.map(|address| {
        Server::new(inside(netns, || {
            TcpListener::bind((address, port)).unwrap()
        }))
    })
}

fn at(link: &LinkPlan, port: u16) -> Vec<SocketAddr> {
    let addresses = link.addresses.iter();
    addresses.map(|it| SocketAddr::new(it, port)).collect()
}

fn duplicate(netns: &Netns) -> Netns {
    use std::os::fd::AsFd;
    Netns::from_fd(netns.as_fd().try_clone_to_owned().unwrap()).unwrap()
}

/// Bridged packets do not pass the rules for packets, see `doctor`.
fn unbridge() {
    let bridged =
        ["iptables", "ip6tables"].map(|it| format!("/proc/sys/net/bridge/bridge-nf-call-{it}"));
    for path in bridged
        .iter()
        .filter(|path| std::path::Path::new(path).exists())
    {
        std::fs::write(path, "0").unwrap();
    }
}

/// The same with port 5432 published.
fn publishing(link: LinkPlan) -> LinkPlan {
    with(link, |traffic| {
        let ports = ["5000 -> 5432", "[::]:5000 -> 5432"];
        traffic.publish = ports.map(|text| text.parse().unwrap()).into();
    })
}

/// The port 5000 of the host leads to the exposed port, by each of its addresses.
fn published_port_answers(mode: Mode) {
    for to in [
        SocketAddr::from((GATEWAY, 5000)),
        (Ipv4Addr::LOCALHOST, 5000).into(),
        (GATEWAY6, 5000).into(),
        (Ipv6Addr::LOCALHOST, 5000).into(),
    ] {
        assert!(ask(to).is_ok(), "{mode:?}: published: {to}");
    }
}

#[test]
fn an_exposed_port_is_reached_as_other_ports_are() {
    support::enter();
    unbridge();
    for mode in BOTH {
        block_on(async {
            let network = Network::open(plan6(mode)).await.unwrap();
            let (one, two) = (link6(mode, 2), link6(mode, 3));
            let one = publishing(one);
            let netns = network.provision(one.clone()).await.unwrap();
            let peer = with(two, |traffic| traffic.peers.all = true);
            let neighbour = network.provision(peer.clone()).await.unwrap();
            let servers = servers(&netns, 5432);
            for to in at(&one, 5432) {
                assert_eq!(ask(to), REFUSED, "{mode:?}: not yet");
            }
            // Live, as a reload does it.
            let exposed = exposing(one.clone(), &TCP);
            let admitted = network.admit(exposed.clone(), Some(duplicate(&netns)));
            admitted.await.unwrap();
            let gateways = [IpAddr::from(GATEWAY), GATEWAY6.into()];
            for (to, gateway) in at(&one, 5432).into_iter().zip(gateways) {
                assert_eq!(ask(to), Ok(gateway.to_string()), "{mode:?}: the host");
            }
            let others = peer.addresses.iter();
            for (to, other) in at(&one, 5432).into_iter().zip(others) {
                let said = inside(&neighbour, || ask(to));
                assert_eq!(said, Ok(other.to_string()), "{mode:?}: a peer");
            }
            for to in at(&one, 5432) {
                let said = inside(&netns, || ask(to));
                assert_eq!(said, Ok(to.ip().to_string()), "{mode:?}: itself");
            }
            published_port_answers(mode);
            assert!(
                inside(&neighbour, || ask((GATEWAY, 5000))).is_ok(),
                "{mode:?}"
            );
            // One without the right gets no further than before.
            let alone = with(peer.clone(), |traffic| traffic.peers.all = false);
            network.admit(alone, None).await.unwrap();
            for to in at(&one, 5432) {
                assert_eq!(inside(&neighbour, || ask(to)), REFUSED, "{mode:?}");
            }
            // The table needs no supervisor, and the next one takes the port away.
            drop(network);
            assert!(ask(at(&one, 5432)[0]).is_ok(), "{mode:?}");
            let network = Network::open(plan6(mode)).await.unwrap();
            let admitted = network.admit(one.clone(), Some(duplicate(&netns)));
            admitted.await.unwrap();
            for to in at(&one, 5432) {
                assert_eq!(ask(to), REFUSED, "{mode:?}: no longer");
            }
            drop(servers);
            end(network, vec![(exposed, netns), (peer, neighbour)]).await;
        });
    }
}

#[test]
fn a_connection_by_an_exposed_port_outlives_its_change() {
    support::enter();
    block_on(async {
        let network = Network::open(plan6(Mode::Routed)).await.unwrap();
        let tenant = exposing(link6(Mode::Routed, 2), &TCP);
        let netns = network.provision(tenant.clone()).await.unwrap();
        for address in [
            IpAddr::from(Ipv4Addr::LOCALHOST),
            Ipv6Addr::LOCALHOST.into(),
        ] {
            let own = tenant.addresses.iter();
            let mut own = own.filter(|it| it.is_ipv4() == address.is_ipv4());
            let to = SocketAddr::new(own.next().unwrap(), 5432);
            let listener = inside(&netns, || TcpListener::bind((address, 5432)).unwrap());
            let mut streams = Vec::new();
            echo(listener, |_| {
                let stream = TcpStream::connect_timeout(&to, LIMIT).unwrap();
                streams.push(stream.try_clone().unwrap());
                let none = exposing(tenant.clone(), &[]);
                let changed = std::thread::scope(|scope| {
                    let change = network.admit(none, Some(duplicate(&netns)));
                    scope.spawn(|| block_on(change)).join().unwrap()
                });
                changed.unwrap();
                stream
            });
            let again = network.admit(tenant.clone(), Some(duplicate(&netns)));
            again.await.unwrap();
        }
        end(network, vec![(tenant, netns)]).await;
    });
}

#[test]
fn datagrams_reach_an_exposed_port_and_are_answered() {
    support::enter();
    block_on(async {
        let network = Network::open(plan6(Mode::Routed)).await.unwrap();
        let tenant = exposing(link6(Mode::Routed, 2), &[(53, Protocol::Udp)]);
        let netns = network.provision(tenant.clone()).await.unwrap();
        for to in at(&tenant, 53) {
            let loopback = match to {
                SocketAddr::V4(_) => IpAddr::from(Ipv4Addr::LOCALHOST),
                SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
            };
            let server = inside(&netns, || UdpSocket::bind((loopback, 53)).unwrap());
            let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            let client = UdpSocket::bind(any).unwrap();
            for socket in [&server, &client] {
                socket.set_read_timeout(Some(LIMIT)).unwrap();
            }
            client.connect(to).unwrap();
            client.send(b"question").unwrap();
            let (_, from) = server.recv_from(&mut [0; 16]).unwrap();
            server.send_to(b"answer", from).unwrap();
            let mut bytes = [0; 16];
            let length = client.recv(&mut bytes).unwrap();
            assert_eq!(&bytes[..length], b"answer");
        }
        end(network, vec![(tenant, netns)]).await;
    });
}

/// Datagrams of the host for the loopback address of a tenant arrive there, unless they are dropped.
fn arrives(tenant: &LinkPlan, netns: &Netns) -> bool {
    let receiver = inside(netns, || UdpSocket::bind(("0.0.0.0", 5000)).unwrap());
    receiver.set_read_timeout(Some(LIMIT)).unwrap();
    let (from, to) = (tenant.host.mac.to_string(), tenant.tenant.mac.to_string());
    let own = tenant.addresses.first().to_string();
    let frames = [
        ("10.77.0.1", "127.0.0.1"),
        ("127.0.0.1", &own),
        ("10.77.0.1", &own),
    ];
    for (source, destination) in frames {
        let script = include_str!("frame.py").replace("eth0", tenant.host.name.as_str());
        let mut command = Command::new("python3");
        command.args(["-c", &script, "ipv4", &from, &to, source, destination]);
        assert!(command.status().unwrap().success());
    }
    // Frames of one link stay in order, so this is the last one.
    let mut arrived = 0;
    loop {
        let (_, from) = receiver.recv_from(&mut [0; 16]).unwrap();
        arrived += 1;
        receiver.set_nonblocking(true).unwrap();
        let more = receiver.peek_from(&mut [0; 16]).is_ok();
        receiver.set_nonblocking(false).unwrap();
        if from.ip() == IpAddr::from(GATEWAY) && !more {
            return arrived > 1;
        }
    }
}

#[test]
fn nothing_else_of_a_tenants_loopback_addresses_is_reached() {
    support::enter();
    block_on(async {
        let network = Network::open(plan6(Mode::Routed)).await.unwrap();
        let tenant = exposing(link6(Mode::Routed, 2), &TCP);
        let netns = network.provision(tenant.clone()).await.unwrap();
        let servers = servers(&netns, 5433);
        for to in at(&tenant, 5433) {
            assert_eq!(ask(to), REFUSED, "another port");
        }
        assert!(!arrives(&tenant, &netns));
        // The kernel refuses a connection from a loopback address without an exposed port; so does the table.
        let from_loopback = inside(&netns, || {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            socket
                .send_to(b"x", (GATEWAY, 9))
                .map_err(|error| error.kind())
        });
        assert_eq!(from_loopback, Err(ErrorKind::PermissionDenied));
        // Shown to be open without the chains.
        inside(&netns, || nft("delete table inet tenantd"));
        assert!(arrives(&tenant, &netns));
        drop(servers);
        end(network, vec![(tenant, netns)]).await;
    });
}

#[test]
fn without_exposed_ports_a_tenant_has_no_table_and_no_route() {
    support::enter();
    block_on(async {
        let network = Network::open(plan6(Mode::Routed)).await.unwrap();
        let tenant = link6(Mode::Routed, 2);
        let netns = network.provision(tenant.clone()).await.unwrap();
        let admitted = network.admit(tenant.clone(), Some(duplicate(&netns)));
        admitted.await.unwrap();
        let (tables, routes) = inside(&netns, || {
            let routes = ip_json("-6 route show table local");
            (nft("list tables"), routes)
        });
        assert_eq!(tables, "");
        let of_loopback = routes.iter().filter(|it| it["dst"] == "::1");
        assert_eq!(of_loopback.count(), 1, "that of lo");
        end(network, vec![(tenant, netns)]).await;
    });
}
