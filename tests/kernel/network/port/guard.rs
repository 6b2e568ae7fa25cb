//! What a tenant sends that it may not, into a bridge of others.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::net::UdpSocket;

use tenantd_core::plan::model::{Firewall, NetworkPlan};
use tenantd_core::plan::traffic::Outbound;
use tenantd_host::network::Network;

use super::lan::{
    CLIENT, CLIENT_MAC, CLIENT6, HOST, HOST6, Lan, ask, at, bridged, plan, server, tenant, v4,
};
use super::one;
use crate::network::firewall::with;
use crate::network::host::{LIMIT, block_on, inside, ip};
use crate::network::macvlan::end;
use crate::network::macvlan::guard::send;

/// How often the client's place is claimed, if the claim is not believed.
const CLAIMS: usize = 3;

/// How many forged datagrams arrive at the client, how many entries of it and of the host follow a forged claim, and
/// whether the bridge believes that the client is at the tenant's port.
fn forged(network: NetworkPlan) -> (usize, usize, bool) {
    let lan = bridged();
    block_on(async {
        let network = Network::open(network).await.unwrap();
        let (link, netns) = one(&network).await;
        let receiver = inside(&lan.client, || UdpSocket::bind(("::", 5000)).unwrap());
        receiver.set_read_timeout(Some(LIMIT)).unwrap();
        let beyond = server(&lan.router, 82);
        believes_next_claim(&lan);
        let bridge = crate::network::host::show("br0");
        let bridge = bridge["address"].as_str().unwrap();
        let mac = link.tenant.mac.to_string();
        // It claims the client's MAC address. The bridge believes the client again as soon as that says something, and
        // its kernel may do so at any time, for example to report the groups that it joined, see RFC 3810.
        let claim = ["ipv4", CLIENT_MAC, bridge, "10.77.0.2", HOST];
        let taken = (0..CLAIMS).any(|_| {
            send(&netns, &claim, true);
            let learnt = ip_bridge("fdb show br br0");
            let mut lines = learnt.lines();
            lines.any(|line| line.contains(CLIENT_MAC) && line.contains("vt-2"))
        });
        // The client is at its place again.
        ask_host(&lan);
        // The router corrects them as soon as they are checked, on a busy machine before all claims are made.
        let believed = RefCell::new(BTreeSet::new());
        let look = || {
            let entries = ["neigh show 10.77.0.1", "neigh show fd00:77::1"];
            let all = entries.map(|entry| [inside(&lan.client, || ip(entry)), ip(entry)]);
            let all = all.iter().flatten().enumerate();
            let forged = all.filter(|(_, it)| it.contains(&mac));
            believed
                .borrow_mut()
                .extend(forged.map(|(number, _)| number));
        };
        for words in [
            ["ipv4", &mac, CLIENT_MAC, "10.77.0.9", CLIENT],
            ["ipv4", "02:00:00:00:00:99", CLIENT_MAC, "10.77.0.2", CLIENT],
            // It claims to be the router, to a neighbour and to the host.
            ["arp", &mac, CLIENT_MAC, "10.77.0.1", CLIENT],
            ["arp", &mac, bridge, "10.77.0.1", HOST],
            ["claim", &mac, CLIENT_MAC, "fd00:77::1", CLIENT6],
            ["claim", &mac, bridge, "fd00:77::1", HOST6],
            ["ipv6", &mac, CLIENT_MAC, "fd00:77::9", CLIENT6],
            ["vlan", &mac, CLIENT_MAC, "10.77.0.2", CLIENT],
        ] {
            send(&netns, &words, true);
            look();
        }
        let own = inside(&netns, || UdpSocket::bind("0.0.0.0:0").unwrap());
        own.send_to(b"last", (CLIENT, 5000)).unwrap();
        let arrived = until_last(&receiver);
        look();
        let believed = believed.into_inner().len();
        drop((receiver, beyond, own));
        end(network, vec![(link, netns)]).await;
        (arrived, believed, taken)
    })
}

/// How many datagrams arrive before the last one.
fn until_last(receiver: &UdpSocket) -> usize {
    let mut arrived = 0;
    loop {
        let mut text = [0; 16];
        let (length, _) = receiver.recv_from(&mut text).unwrap();
        if &text[..length] == b"last" {
            return arrived;
        }
        arrived += 1;
    }
}

/// Client and host know the router, and would believe no other claim within a second otherwise, see arp(7).
fn believes_next_claim(lan: &Lan) {
    let know = |by: &str| {
        for router in [v4("10.77.0.1"), "fd00:77::1".parse().unwrap()] {
            ask(at(router, 82)).unwrap();
        }
        std::fs::write(format!("/proc/sys/net/ipv4/neigh/{by}/locktime"), "0").unwrap();
    };
    inside(&lan.client, || know("eth0"));
    know("br0");
}

/// The client says something to the host.
fn ask_host(lan: &Lan) {
    let host = std::net::TcpListener::bind((HOST, 84)).unwrap();
    inside(&lan.client, || std::net::TcpStream::connect((HOST, 84))).unwrap();
    drop(host);
}

fn ip_bridge(words: &str) -> String {
    let mut command = std::process::Command::new("bridge");
    let said = command.args(words.split(' ')).output().unwrap();
    String::from_utf8(said.stdout).unwrap()
}

#[test]
fn forged_frames_pass_without_the_guard() {
    let open = NetworkPlan {
        firewall: Firewall::Off,
        ..plan()
    };
    assert_eq!(forged(open), (3, 4, true));
}

#[test]
fn forged_frames_do_not_pass_the_guard() {
    assert_eq!(forged(plan()), (0, 0, false));
}

#[test]
fn what_a_tenant_may_not_begin_is_refused_at_once_and_the_host_is_no_exception() {
    let lan = bridged();
    block_on(async {
        let network = Network::open(plan()).await.unwrap();
        let link = with(tenant(2), |traffic| traffic.outbound = Outbound::None);
        let netns = network.provision(link.clone()).await.unwrap();
        let served = server(&netns, 80);
        let outside = [server(&lan.client, 81)];
        let own = std::net::TcpListener::bind((HOST, 83)).unwrap();
        let refused = Err(std::io::ErrorKind::ConnectionRefused);
        for to in [at(v4(CLIENT), 81), at(v4(HOST), 83)] {
            assert_eq!(inside(&netns, || ask(to)), refused);
        }
        assert!(inside(&lan.client, || ask(at(link.addresses.first(), 80))).is_ok());
        // While it runs: what is listed, and no more.
        let listed = with(link.clone(), |traffic| {
            traffic.outbound = Outbound::Routed;
            traffic.egress = vec!["allow 10.77.0.50:81/tcp".parse().unwrap()];
        });
        let again = crate::network::macvlan::changes::again(&netns);
        network.admit(listed, Some(again)).await.unwrap();
        assert!(inside(&netns, || ask(at(v4(CLIENT), 81))).is_ok());
        assert_eq!(inside(&netns, || ask(at(v4(HOST), 83))), refused);
        drop((served, outside, own));
        end(network, vec![(link, netns)]).await;
    });
}
