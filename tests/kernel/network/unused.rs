//! Addresses of the subnet that no tenant has now, and addresses that go from one tenant to another.

use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use tenantd_core::plan::model::Mode;
use tenantd_host::network::Network;

use crate::network::host::{
    LIMIT, block_on, connect, inside, ip, ip_json, link, link6, plan, plan6,
};
use crate::support;

const BOTH: [Mode; 2] = [Mode::Routed, Mode::Bridge];

/// Far less than the second that a lost packet takes.
const AT_ONCE: Duration = Duration::from_millis(300);

/// The error of a connection, which must come at once.
fn refused(address: IpAddr) -> i32 {
    let begun = Instant::now();
    let error = TcpStream::connect_timeout(&SocketAddr::from((address, 80)), LIMIT).unwrap_err();
    assert!(begun.elapsed() < AT_ONCE, "{:?}", begun.elapsed());
    error.raw_os_error().unwrap()
}

/// A way out for what the host does not route elsewhere. Nobody is there.
fn uplink() {
    ip("link add up0 type veth peer name far0");
    ip("link set far0 up");
    ip("link set up0 up");
    ip("addr add 192.0.2.1/24 dev up0");
    ip("route add default via 192.0.2.2 dev up0");
}

/// What the route for unused addresses is, for `ip route`, and the error of a connection to one.
fn unused(mode: Mode) -> (&'static str, i32) {
    match mode {
        Mode::Routed => ("unreachable 10.77.0.0/24", libc::EHOSTUNREACH),
        // The hub answers ARP for what is routed to it, and the firewall refuses it.
        Mode::Bridge | Mode::Macvlan | Mode::Port => {
            ("10.77.0.0/24 dev td-wiki", libc::ECONNREFUSED)
        }
    }
}

fn routes() -> usize {
    ip_json("route show table all proto 126").len()
}

#[test]
fn an_address_without_a_tenant_is_refused_at_once() {
    support::enter();
    uplink();
    for mode in BOTH {
        block_on(async {
            let network = Network::open(plan(mode)).await.unwrap();
            let (tenant, (route, error)) = (link(mode, 2), unused(mode));
            let address = tenant.addresses.first();
            for _ in 0..2 {
                assert_eq!(refused(address), error, "{mode:?}");
                let netns = network.provision(tenant.clone()).await.unwrap();
                let server = inside(&netns, || TcpListener::bind((address, 80)).unwrap());
                connect(SocketAddr::from((address, 80)));
                drop(server);
                network.forget(tenant.clone()).await.unwrap();
                network
                    .release(tenant.clone(), netns.close())
                    .await
                    .unwrap();
            }
            assert_eq!(refused(address), error, "{mode:?}");
            assert_eq!(
                ip_json("neigh show nud all 10.77.0.2"),
                [] as [serde_json::Value; 0]
            );
            // Something takes it: it is put back.
            ip(&format!("route del {route} metric 4294967295"));
            support::until("the route is there again", || routes() == 1);
            // A supervisor that dies leaves it, and one that ends removes it.
            drop(network);
            let network = Network::open(plan(mode)).await.unwrap();
            assert_eq!((routes(), refused(address)), (1, error));
            network.close().await.unwrap();
            assert_eq!(routes(), 0);
        });
    }
}

#[test]
fn two_tenants_that_swap_their_addresses_are_reached_at_once() {
    support::enter();
    for mode in BOTH {
        block_on(async {
            let network = Network::open(plan(mode)).await.unwrap();
            let (mut one, mut other) = (link(mode, 2), link(mode, 3));
            for _ in 0..2 {
                let mut made = Vec::new();
                for tenant in [&one, &other] {
                    let netns = network.provision(tenant.clone()).await.unwrap();
                    let at = SocketAddr::from((tenant.addresses.first(), 80));
                    let server = inside(&netns, || TcpListener::bind(at).unwrap());
                    let begun = Instant::now();
                    connect(at);
                    assert!(begun.elapsed() < AT_ONCE, "{mode:?}: {:?}", begun.elapsed());
                    made.push((tenant.clone(), netns, server));
                }
                for (tenant, netns, server) in made {
                    drop(server);
                    network.forget(tenant.clone()).await.unwrap();
                    network.release(tenant, netns.close()).await.unwrap();
                }
                std::mem::swap(&mut one.addresses, &mut other.addresses);
            }
            network.close().await.unwrap();
        });
    }
}

#[test]
fn a_client_that_asked_before_gets_its_answer_at_once() {
    support::enter();
    for mode in BOTH {
        block_on(async {
            let network = Network::open(plan(mode)).await.unwrap();
            let tenant = link(mode, 2);
            let at = SocketAddr::from((tenant.addresses.first(), 53));
            let client = UdpSocket::bind("0.0.0.0:0").unwrap();
            for _ in 0..3 {
                assert!(client.send_to(b"early", at).is_err());
            }
            let netns = network.provision(tenant.clone()).await.unwrap();
            let server = inside(&netns, || UdpSocket::bind(at).unwrap());
            server.set_read_timeout(Some(AT_ONCE)).unwrap();
            client.send_to(b"late", at).unwrap();
            assert_eq!(server.recv(&mut [0; 8]).unwrap(), 4, "{mode:?}");
            drop(server);
            network.forget(tenant.clone()).await.unwrap();
            network.release(tenant, netns.close()).await.unwrap();
            network.close().await.unwrap();
        });
    }
}

/// A machine on the bridge has another MAC address for the tenant's.
#[test]
fn a_tenant_on_a_bridge_announces_its_addresses() {
    support::enter();
    block_on(async {
        let network = Network::open(plan6(Mode::Bridge)).await.unwrap();
        ip("netns add lan");
        ip("link add lan0 master td-wiki up type veth peer name lan1 netns lan");
        ip("-n lan link set lan1 up");
        ip("-n lan addr add 10.77.0.200/24 dev lan1");
        ip("-n lan addr add fd00:77::200/64 dev lan1 nodad");
        for address in ["10.77.0.2", "fd00:77::2"] {
            let entry = format!("{address} lladdr 02:09:09:09:09:09 dev lan1 nud stale");
            ip(&format!("-n lan neigh add {entry}"));
        }
        support::until("the port of the LAN forwards", || {
            ip("link show lan0").contains("state UP")
        });
        let tenant = link6(Mode::Bridge, 2);
        let netns = network.provision(tenant.clone()).await.unwrap();
        support::until("the machine has the new MAC address", || {
            let has = |address| ip(&format!("-n lan neigh show {address}"));
            let all = ["10.77.0.2", "fd00:77::2"].map(has);
            all.iter().all(|entry| entry.contains("02:00:00:02:00:02"))
        });
        network.forget(tenant.clone()).await.unwrap();
        network.release(tenant, netns.close()).await.unwrap();
        ip("link del lan0");
        ip("netns del lan");
        network.close().await.unwrap();
    });
}

/// A supervisor that died has left the tenant's route on the hub.
#[test]
fn a_route_on_the_hub_that_is_left_is_used_again() {
    support::enter();
    block_on(async {
        let network = Network::open(plan(Mode::Bridge)).await.unwrap();
        ip("route add 10.77.0.2 dev td-wiki scope link src 10.77.0.1");
        ip("neigh add 10.77.0.2 dev td-wiki lladdr 02:09:09:09:09:09 nud permanent");
        let tenant = link(Mode::Bridge, 2);
        let netns = network.provision(tenant.clone()).await.unwrap();
        let at = SocketAddr::from((tenant.addresses.first(), 80));
        let server = inside(&netns, || TcpListener::bind(at).unwrap());
        connect(at);
        drop(server);
        network.forget(tenant.clone()).await.unwrap();
        network.release(tenant, netns.close()).await.unwrap();
        network.close().await.unwrap();
    });
}
