//! Who is behind a router of the uplink's network.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use tenantd_core::plan::address::Addresses;
use tenantd_core::plan::traffic::Outbound;
use tenantd_host::network::Network;

use crate::network::firewall::{Server, ask, end, with};
use crate::network::host::{LIMIT, block_on, inside, ip};
use crate::network::uplink::{TENANT4, member, named, office, uplinked};

/// A machine of another network, behind a router of the office's.
#[test]
fn who_is_behind_the_router_of_the_network_reaches_a_tenant_and_is_reached() {
    let _client = office();
    for words in [
        "-n far link set lo up",
        "-n far address add 198.51.100.7/32 dev lo",
        "route add default via 192.0.2.60",
    ] {
        ip(words);
    }
    let behind: IpAddr = "198.51.100.7".parse().unwrap();
    let far = named("far");
    let _server = Server::inside(&far, 80);
    block_on(async {
        let network = Network::open(uplinked(true)).await.unwrap();
        let mut tenant = member(2, &[TENANT4]);
        tenant.addresses = Addresses::new(TENANT4.parse().unwrap(), Vec::new());
        let tenant = with(tenant, |traffic| traffic.outbound = Outbound::Routed);
        let netns = network.provision(tenant.clone()).await.unwrap();
        let to = SocketAddr::new(behind, 80);
        let said = inside(&netns, || ask(to));
        assert_eq!(said, Ok(TENANT4.to_owned()));
        let server = inside(&netns, || UdpSocket::bind((TENANT4, 53)).unwrap());
        server.set_read_timeout(Some(LIMIT)).unwrap();
        let asker = inside(&far, || UdpSocket::bind((behind, 0)).unwrap());
        asker.set_read_timeout(Some(LIMIT)).unwrap();
        asker.send_to(b"x", (TENANT4, 53)).unwrap();
        let (_, from) = server.recv_from(&mut [0; 8]).unwrap();
        assert_eq!(from.ip(), behind);
        server.send_to(b"y", from).unwrap();
        asker.recv_from(&mut [0; 8]).unwrap();
        // It keeps the namespace.
        drop(server);
        end(network, vec![(tenant, netns)]).await;
    });
}
