//! Tenants that have macvlans of an interface of the host: with a router, a client, and frames on a real switch.

pub mod changes;
pub mod guard;
pub mod lan;
mod many;
mod starts;

use std::io::ErrorKind;
use std::net::{IpAddr, UdpSocket};
use std::time::{Duration, Instant};

use tenantd_core::plan::model::LinkPlan;
use tenantd_core::stage::Stage;
use tenantd_host::netns::Netns;
use tenantd_host::network::{Network, News};

use crate::network::host::{block_on, everything, inside, ip, show};
use lan::{
    BEYOND, CLIENT, CLIENT_MAC, CLIENT6, HOST, Lan, ask, at, both, plan, server, tenant, v4,
};

/// How long a first answer may take.
const FIRST_ANSWER: Duration = Duration::from_millis(50);

pub async fn end(network: Network, tenants: Vec<(LinkPlan, Netns)>) {
    for (link, netns) in tenants {
        network.release(link, netns.close()).await.unwrap();
    }
    network.close().await.unwrap();
}

/// Sends a datagram from one place to another, and one back.
pub fn exchanges_datagrams(from: &Netns, to: &Netns, address: IpAddr) -> bool {
    let receiver = inside(to, || UdpSocket::bind(at(address, 53)).unwrap());
    let any = if address.is_ipv4() {
        "0.0.0.0:0"
    } else {
        "[::]:0"
    };
    let sender = inside(from, || UdpSocket::bind(any).unwrap());
    for socket in [&receiver, &sender] {
        socket
            .set_read_timeout(Some(Duration::from_secs(1)))
            .unwrap();
    }
    sender.send_to(b"x", at(address, 53)).unwrap();
    let Ok((1, back)) = receiver.recv_from(&mut [0; 8]) else {
        return false;
    };
    receiver.send_to(b"y", back).unwrap();
    sender.recv(&mut [0; 8]).is_ok()
}

#[test]
fn a_client_of_the_network_and_a_tenant_reach_each_other() {
    let lan = Lan::new();
    let before = everything();
    block_on(async {
        let network = Network::open(plan()).await.unwrap();
        let link = tenant(2);
        let begun = Instant::now();
        let netns = network.provision(link.clone()).await.unwrap();
        println!("provisioned in {:?}", begun.elapsed());
        let served = server(&netns, 80);
        for (address, client) in both(&link).into_iter().zip([CLIENT, CLIENT6]) {
            let begun = Instant::now();
            let said = inside(&lan.client, || ask(at(address, 80)));
            let first = begun.elapsed();
            println!("first answer of {address} after {first:?}");
            assert_eq!(said, Ok(client.to_owned()));
            assert!(first < FIRST_ANSWER, "{first:?}");
            assert!(exchanges_datagrams(&lan.client, &netns, address));
        }
        drop(served);
        let outside = server(&lan.client, 81);
        let beyond = server(&lan.router, 82);
        for (address, own) in [CLIENT, CLIENT6].into_iter().zip(both(&link)) {
            let client = address.parse().unwrap();
            let said = inside(&netns, || ask(at(client, 81)));
            assert_eq!(said, Ok(own.to_string()));
            assert!(exchanges_datagrams(&netns, &lan.client, client));
        }
        let own = link.addresses.first().to_string();
        assert_eq!(inside(&netns, || ask(at(v4(BEYOND), 82))), Ok(own));
        drop((outside, beyond));
        let eth0 = inside(&netns, || show("eth0"));
        assert_eq!(eth0["linkinfo"]["info_data"]["mode"], "private");
        assert_eq!(eth0["address"], link.tenant.mac.to_string());
        assert_eq!(eth0["mtu"], 1400);
        end(network, vec![(link, netns)]).await;
    });
    assert_eq!(everything(), before);
}

/// What no mode of macvlan can do: this is said by `check` and the guide.
#[test]
fn the_host_and_its_macvlans_do_not_reach_each_other() {
    let _lan = Lan::new();
    block_on(async {
        let network = Network::open(plan()).await.unwrap();
        let link = tenant(2);
        let netns = network.provision(link.clone()).await.unwrap();
        let served = server(&netns, 80);
        ask(at(link.addresses.first(), 80)).unwrap_err();
        inside(&netns, || ask(at(v4(HOST), 22))).unwrap_err();
        // A socket of the tenant's namespace reaches it.
        let socket = tenantd_host::netns::socket_in(&netns, true).unwrap();
        let socket = tokio::net::TcpSocket::from_std_stream(socket);
        socket
            .connect(at(link.addresses.first(), 80))
            .await
            .unwrap();
        drop(served);
        end(network, vec![(link, netns)]).await;
    });
}

#[test]
fn tenants_do_not_reach_each_other() {
    let lan = Lan::new();
    block_on(async {
        let network = Network::open(plan()).await.unwrap();
        let [one, two] = [2, 3].map(tenant);
        let first = network.provision(one.clone()).await.unwrap();
        let second = network.provision(two.clone()).await.unwrap();
        let served = server(&second, 80);
        for address in both(&two) {
            let said = inside(&first, || ask(at(address, 80)));
            assert!(
                matches!(said, Err(ErrorKind::TimedOut | ErrorKind::HostUnreachable)),
                "{said:?}"
            );
            assert!(!exchanges_datagrams(&first, &second, address));
            assert!(inside(&lan.client, || ask(at(address, 80))).is_ok());
        }
        drop(served);
        end(network, vec![(one, first), (two, second)]).await;
    });
}

#[test]
fn an_address_that_another_machine_has_is_not_taken() {
    let _lan = Lan::new();
    ip("-n client address add 10.77.0.2/24 dev eth0");
    let before = everything();
    block_on(async {
        let network = Network::open(plan()).await.unwrap();
        let link = tenant(2);
        let why = network.provision(link.clone()).await.unwrap_err();
        assert_eq!((why.stage, why.errno), (Stage::Address, libc::EADDRINUSE));
        assert!(why.to_string().contains(CLIENT_MAC), "{why}");
        assert_eq!(everything(), before);
        ip("-n client address delete 10.77.0.2/24 dev eth0");
        let netns = network.provision(link.clone()).await.unwrap();
        end(network, vec![(link, netns)]).await;
    });
}

#[test]
fn another_macvlan_with_the_same_mac_address_is_told() {
    let _lan = Lan::new();
    ip("link add other link eth0 address 02:00:00:02:00:02 type macvlan mode bridge");
    ip("link set other up");
    block_on(async {
        let network = Network::open(plan()).await.unwrap();
        let why = network.provision(tenant(2)).await.unwrap_err();
        assert_eq!((why.stage, why.errno), (Stage::Link, libc::EADDRINUSE));
        let said = why.to_string();
        assert!(
            said.contains("another link of eth0 has the MAC address 02:00:00:02:00:02"),
            "{said}"
        );
        end(network, vec![]).await;
    });
}

#[test]
fn a_parent_that_is_missing_or_down_is_told() {
    let _lan = Lan::new();
    block_on(async {
        ip("link set eth0 down");
        let (noted, mut notes) = tokio::sync::mpsc::unbounded_channel();
        let network = Network::open_noting(plan(), noted).await.unwrap();
        let news = changes::next(&mut notes).await.news;
        assert!(matches!(news, News::Drift(Some(_))), "{news:?}");
        let why = network.provision(tenant(2)).await.unwrap_err();
        assert!(why.to_string().contains("`ip link set eth0 up`"), "{why}");
        ip("link delete eth0");
        let why = network.provision(tenant(2)).await.unwrap_err();
        assert_eq!((why.stage, why.errno), (Stage::Link, libc::ENODEV));
        end(network, vec![]).await;
    });
}

/// A client that has an old MAC address for an address is told the new one.
#[test]
fn a_start_is_announced() {
    let lan = Lan::new();
    for (family, address) in [("-4", "10.77.0.2"), ("-6", "fd00:77::2")] {
        ip(&format!(
            "-n client {family} neigh replace {address} lladdr 02:0f:0f:0f:0f:0f dev eth0 nud reachable"
        ));
    }
    block_on(async {
        let network = Network::open(plan()).await.unwrap();
        let link = tenant(2);
        let netns = network.provision(link.clone()).await.unwrap();
        let served = server(&netns, 80);
        for address in both(&link) {
            let begun = Instant::now();
            assert!(inside(&lan.client, || ask(at(address, 80))).is_ok());
            assert!(begun.elapsed() < FIRST_ANSWER, "{:?}", begun.elapsed());
        }
        drop(served);
        end(network, vec![(link, netns)]).await;
    });
}
