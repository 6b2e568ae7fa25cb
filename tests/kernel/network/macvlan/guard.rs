//! What a tenant sends that it may not: the firewall is in its own namespace.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::process::Command;

use tenantd_core::plan::model::{Firewall, NetworkPlan};
use tenantd_core::plan::traffic::Outbound;
use tenantd_host::netns::Netns;
use tenantd_host::network::Network;

use super::end;
use super::lan::{CLIENT, CLIENT_MAC, CLIENT6, Lan, ask, at, both, plan, server, tenant};
use crate::network::firewall::with;
use crate::network::host::{LIMIT, block_on, inside, ip};

/// Sends a frame by a packet socket; with `past_queues`, by one that passes no queue of the link.
pub fn send(netns: &Netns, words: &[&str], past_queues: bool) {
    // A frame that is dropped is ENOBUFS.
    let mut send =
        "try: link.send(frame)\nexcept OSError as error: assert error.errno == 105".to_owned();
    if past_queues {
        // SOL_PACKET, PACKET_QDISC_BYPASS.
        send.insert_str(0, "link.setsockopt(263, 20, 1)\n");
    }
    let script = include_str!("../frame.py").replace("link.send(frame)", &send);
    let mut command = Command::new("python3");
    command.args(["-c", &script]).args(words);
    let status = inside(netns, || command.status().unwrap());
    assert!(status.success(), "{words:?}");
}

/// How many forged datagrams arrive at the client, and whether it believes a forged claim.
fn forged(network: NetworkPlan, past_queues: bool) -> (usize, bool) {
    let lan = Lan::new();
    block_on(async {
        let network = Network::open(network).await.unwrap();
        let link = tenant(2);
        let netns = network.provision(link.clone()).await.unwrap();
        let receiver = inside(&lan.client, || UdpSocket::bind(("0.0.0.0", 5000)).unwrap());
        receiver.set_read_timeout(Some(LIMIT)).unwrap();
        // The client knows the router.
        let beyond = server(&lan.router, 82);
        let router = at("10.77.0.1".parse().unwrap(), 82);
        inside(&lan.client, || ask(router)).unwrap();
        // The client would believe no other claim within a second, see arp(7).
        inside(&lan.client, || {
            std::fs::write("/proc/sys/net/ipv4/neigh/eth0/locktime", "0").unwrap();
        });
        let mac = link.tenant.mac.to_string();
        // The router corrects the entry once the client uses it.
        let mut believed = false;
        let mut look =
            || believed |= inside(&lan.client, || ip("neigh show 10.77.0.1")).contains(&mac);
        for words in [
            ["ipv4", &mac, CLIENT_MAC, "10.77.0.9", CLIENT],
            ["ipv4", &mac, CLIENT_MAC, "198.51.100.9", CLIENT],
            ["ipv4", "02:00:00:00:00:99", CLIENT_MAC, "10.77.0.2", CLIENT],
            // It claims to be the router.
            ["arp", &mac, CLIENT_MAC, "10.77.0.1", CLIENT],
        ] {
            send(&netns, &words, past_queues);
            look();
        }
        // Frames of one link stay in order, so this is the last one.
        send(
            &netns,
            &["ipv4", &mac, CLIENT_MAC, "10.77.0.3", CLIENT],
            past_queues,
        );
        let own = inside(&netns, || UdpSocket::bind("0.0.0.0:0").unwrap());
        own.send_to(b"last", (CLIENT, 5000)).unwrap();
        let mut arrived = 0;
        loop {
            let mut text = [0; 16];
            let (length, _) = receiver.recv_from(&mut text).unwrap();
            if &text[..length] == b"last" {
                break;
            }
            arrived += 1;
        }
        look();
        drop((receiver, beyond, own));
        end(network, vec![(link, netns)]).await;
        (arrived, believed)
    })
}

fn open() -> NetworkPlan {
    NetworkPlan {
        firewall: Firewall::Off,
        ..plan()
    }
}

#[test]
fn forged_frames_pass_without_the_guard() {
    assert_eq!(forged(open(), false), (4, true));
}

#[test]
fn forged_frames_do_not_pass_the_guard() {
    assert_eq!(forged(plan(), false), (0, false));
}

#[test]
fn forged_frames_pass_the_queues_of_a_link_without_the_guard() {
    assert_eq!(forged(open(), true), (4, true));
}

#[test]
fn forged_frames_that_pass_no_queue_do_not_pass_the_guard() {
    assert_eq!(forged(plan(), true), (0, false));
}

/// Sends a datagram. What the tenant's own firewall refuses, the kernel tells the sender at once.
fn datagram(to: SocketAddr) -> Result<usize, ErrorKind> {
    let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let sent = UdpSocket::bind(any).unwrap().send_to(b"x", to);
    sent.map_err(|error| error.kind())
}

#[test]
fn a_tenant_that_may_begin_nothing_answers_and_is_refused_at_once() {
    let lan = Lan::new();
    block_on(async {
        let network = Network::open(plan()).await.unwrap();
        let link = with(tenant(2), |traffic| traffic.outbound = Outbound::None);
        let netns = network.provision(link.clone()).await.unwrap();
        let served = server(&netns, 80);
        let outside = server(&lan.client, 81);
        let targets = [CLIENT, CLIENT6].map(|text| at(text.parse().unwrap(), 81));
        let refused = Err(ErrorKind::ConnectionRefused);
        for (own, to) in both(&link).into_iter().zip(targets) {
            assert!(inside(&lan.client, || ask(at(own, 80))).is_ok());
            assert_eq!(inside(&netns, || ask(to)), refused);
            assert_eq!(
                inside(&netns, || datagram(to)),
                Err(ErrorKind::PermissionDenied)
            );
            // It reaches itself.
            assert!(inside(&netns, || ask(at(own, 80))).is_ok());
        }
        // While it runs, and back.
        let again = || Some(super::changes::again(&netns));
        let listed = with(link.clone(), |traffic| {
            traffic.outbound = Outbound::Routed;
            traffic.egress = vec!["allow 10.77.0.50:81/tcp".parse().unwrap()];
        });
        network.admit(listed, again()).await.unwrap();
        assert!(inside(&netns, || ask(targets[0])).is_ok());
        assert_eq!(inside(&netns, || ask(targets[1])), refused);
        network.admit(tenant(2), again()).await.unwrap();
        assert!(inside(&netns, || ask(targets[1])).is_ok());
        network.admit(link.clone(), again()).await.unwrap();
        assert_eq!(inside(&netns, || ask(targets[0])), refused);
        drop((served, outside));
        end(network, vec![(link, netns)]).await;
    });
}
