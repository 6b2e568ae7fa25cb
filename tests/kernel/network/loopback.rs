//! Ports that are published on the host's `::1`.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};

use serde_json::Value;
use tenantd_core::plan::model::{LinkPlan, Mode};
use tenantd_core::plan::traffic::{Protocol, Service};
use tenantd_host::network::Network;

use crate::network::firewall::{BOTH, REFUSED, Server, ask, end, send_frame, with};
use crate::network::host::{GATEWAY6, LIMIT, block_on, inside, ip, ip_json, link6, plan6};
use crate::support;

const LOOPBACK: Ipv6Addr = Ipv6Addr::LOCALHOST;

fn publishing(mode: Mode, ports: &[&str]) -> LinkPlan {
    with(link6(mode, 2), |traffic| {
        let ports = ports.iter().map(|text| text.parse().unwrap());
        traffic.publish = ports.collect();
    })
}

fn own(link: &LinkPlan) -> IpAddr {
    link.addresses.iter().find(IpAddr::is_ipv6).unwrap()
}

/// A test host where bridged frames do not pass the rules for packets, see `doctor`.
fn enter() {
    support::enter();
    let bridged = "/proc/sys/net/bridge/bridge-nf-call-ip6tables";
    if std::path::Path::new(bridged).exists() {
        std::fs::write(bridged, "0").unwrap();
    }
}

/// Sends a datagram to the port 53 of `::1`, which leads to the tenant, and has it answered.
fn datagrams_are_answered(receiver: &UdpSocket) {
    let client = UdpSocket::bind((LOOPBACK, 0)).unwrap();
    client.set_read_timeout(Some(LIMIT)).unwrap();
    client.connect((LOOPBACK, 53)).unwrap();
    client.send(b"question").unwrap();
    let mut bytes = [0; 16];
    let (_, from) = receiver.recv_from(&mut bytes).unwrap();
    assert_eq!(from.ip(), GATEWAY6);
    receiver.send_to(b"answer", from).unwrap();
    let length = client.recv(&mut bytes).unwrap();
    assert_eq!(&bytes[..length], b"answer");
}

#[test]
fn a_port_of_the_loopback_address_leads_to_its_tenant() {
    enter();
    for mode in BOTH {
        block_on(async {
            let network = Network::open(plan6(mode)).await.unwrap();
            let tenant = publishing(mode, &["[::1]:8081 -> 80", "[::]:53 -> 53/udp"]);
            let netns = network.provision(tenant.clone()).await.unwrap();
            let at = SocketAddr::new(own(&tenant), 53);
            let receiver = inside(&netns, || UdpSocket::bind(at).unwrap());
            receiver.set_read_timeout(Some(LIMIT)).unwrap();
            let server = Server::new(inside(&netns, || TcpListener::bind(("::", 80)).unwrap()));
            let loopback = || ask((LOOPBACK, 8081));
            assert_eq!(loopback(), Ok(GATEWAY6.to_string()), "{mode:?}");
            datagrams_are_answered(&receiver);
            // Only there, and not from the tenant.
            assert_eq!(ask((GATEWAY6, 8081)), REFUSED, "{mode:?}");
            assert_eq!(inside(&netns, loopback), REFUSED, "{mode:?}");
            // It needs no supervisor, and the next one finds it.
            drop(network);
            assert!(loopback().is_ok(), "{mode:?}");
            let network = Network::open(plan6(mode)).await.unwrap();
            let other = publishing(mode, &["[::1]:8082 -> 80"]);
            network.admit(other.clone(), None).await.unwrap();
            assert_eq!(loopback(), REFUSED, "{mode:?}");
            assert!(ask((LOOPBACK, 8082)).is_ok(), "{mode:?}");
            drop((server, receiver));
            end(network, vec![(other, netns)]).await;
            let left = ip_json("-6 route show table local");
            let left = left.iter().filter(|it| it["dst"] == "::1");
            assert!(left.map(|it| &it["dev"]).all(|dev| dev == "lo"));
        });
    }
}

#[test]
fn all_bytes_of_a_connection_by_the_loopback_address_arrive() {
    enter();
    block_on(async {
        let network = Network::open(plan6(Mode::Routed)).await.unwrap();
        let tenant = publishing(Mode::Routed, &["[::1]:8081 -> 80"]);
        let netns = network.provision(tenant.clone()).await.unwrap();
        let listener = inside(&netns, || TcpListener::bind(("::", 80)).unwrap());
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut all = Vec::new();
            stream.read_to_end(&mut all).unwrap();
            stream.write_all(&all).unwrap();
        });
        let mut stream = TcpStream::connect((LOOPBACK, 8081)).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        let sent: Vec<u8> = (0..4_000_000_u32).map(|n| (n % 251) as u8).collect();
        stream.write_all(&sent).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut back = Vec::new();
        stream.read_to_end(&mut back).unwrap();
        assert!(back == sent);
        server.join().unwrap();
        end(network, vec![(tenant, netns)]).await;
    });
}

#[test]
fn a_tenant_sends_nothing_to_the_loopback_address_of_the_host() {
    enter();
    for mode in BOTH {
        block_on(async {
            let network = Network::open(plan6(mode)).await.unwrap();
            let tenant = with(publishing(mode, &["[::1]:8081 -> 80"]), |traffic| {
                let (port, protocol) = (5000, Protocol::Udp);
                traffic.host_services.push(Service { port, protocol });
            });
            let netns = network.provision(tenant.clone()).await.unwrap();
            let receiver = UdpSocket::bind("[::]:5000").unwrap();
            receiver.set_read_timeout(Some(LIMIT)).unwrap();
            let hub = ip_json("link show td-wiki").remove(0);
            let to = match mode {
                Mode::Routed => tenant.host.mac.to_string(),
                Mode::Bridge | Mode::Macvlan | Mode::Port => {
                    hub["address"].as_str().unwrap().to_owned()
                }
            };
            let (mac, own) = (tenant.tenant.mac.to_string(), own(&tenant).to_string());
            let gateway = GATEWAY6.to_string();
            for (from, at) in [(&own[..], "::1"), ("::1", "::1"), ("::1", &gateway)] {
                send_frame(&netns, &["ipv6", &mac, &to, from, at]);
            }
            // Frames of one link stay in order, so this is the last one, and the first that arrives.
            send_frame(&netns, &["ipv6", &mac, &to, &own, &gateway]);
            let (_, from) = receiver.recv_from(&mut [0; 16]).unwrap();
            assert_eq!(from.ip().to_string(), own, "{mode:?}");
            receiver.set_nonblocking(true).unwrap();
            assert!(receiver.recv_from(&mut [0; 16]).is_err(), "{mode:?}");
            drop(receiver);
            end(network, vec![(tenant, netns)]).await;
        });
    }
}

#[test]
fn the_route_is_put_back() {
    enter();
    for (mode, device) in [(Mode::Routed, "vt-2"), (Mode::Bridge, "td-wiki")] {
        block_on(async {
            let network = Network::open(plan6(mode)).await.unwrap();
            let tenant = publishing(mode, &["[::1]:8081 -> 80"]);
            let netns = network.provision(tenant.clone()).await.unwrap();
            let is_there = || {
                let routes = ip_json("-6 route show table local");
                let is_it = |it: &Value| it["dev"] == device && it["dst"] == "::1";
                routes.iter().any(is_it)
            };
            let delete = format!("-6 route del local ::1 dev {device} table local");
            for fault in [delete, format!("link set {device} down")] {
                let server = Server::new(inside(&netns, || TcpListener::bind(("::", 80)).unwrap()));
                ip(&fault);
                support::until("the port leads to the tenant again", || {
                    is_there() && ask((LOOPBACK, 8081)).is_ok()
                });
                drop(server);
            }
            end(network, vec![(tenant, netns)]).await;
        });
    }
}
