//! Tenants with addresses of a network of the host's own interface, with real traffic from a machine in that network.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tenantd_core::plan::address::Addresses;
use tenantd_core::plan::model::{LinkPlan, Mode, NetworkPlan, TrafficPlan, UplinkPlan};
use tenantd_core::plan::traffic::Outbound;
use tenantd_core::stage::Stage;
use tenantd_host::netns::Netns;
use tenantd_host::network::Network;
use tenantd_host::uplink::lacking;

use crate::network::firewall::{Server, end, refuses_datagram, with};
use crate::network::host::{LIMIT, block_on, connect, echo, inside, ip, ip_json, link, plan6};
use crate::support;

/// The MAC address of the machine that has 192.0.2.60 and 2001:db8::60.
const FAR: &str = "02:09:09:09:09:09";

/// How soon others get the first answer.
const SOON: Duration = Duration::from_millis(50);

pub const TENANT4: &str = "192.0.2.50";
pub const TENANT6: &str = "2001:db8::50";

/// The network of an office on the interface `up0` of the host, which is 192.0.2.1 there. Its machines are a client, and one
/// in a namespace of its own, `far`. Returns the namespace of the client.
pub fn office() -> Netns {
    support::enter();
    for words in [
        "netns add client",
        "netns add far",
        "-n client link add br0 type bridge mcast_snooping 0",
        "link add up0 type veth peer name port0 netns client",
        &format!("-n far link add eth0 address {FAR} type veth peer name port1 netns client"),
        "-n client link set port0 master br0 up",
        "-n client link set port1 master br0 up",
        "-n client link set br0 up",
        "-n client link set lo up",
        "-n far link set eth0 up",
        "link set up0 up",
        "address add 192.0.2.1/24 dev up0",
        "address add 2001:db8::1/64 dev up0 nodad",
        "-n client address add 192.0.2.9/24 dev br0",
        "-n client address add 2001:db8::9/64 dev br0 nodad",
        "-n far address add 192.0.2.60/24 dev eth0",
        "-n far address add 2001:db8::60/64 dev eth0 nodad",
    ] {
        ip(words);
    }
    let client = named("client");
    // The ports of the bridge forward, and both can ask for neighbours in IPv6, by a link-local address.
    let has_local = |words: &str| {
        let found = ip_json(words);
        let mut all = found[0]["addr_info"].as_array().unwrap().iter();
        all.any(|it| it["scope"] == "link" && it["tentative"].is_null())
    };
    support::until("the office's network is there", || {
        has_local("-n client address show br0") && has_local("address show up0")
    });
    client
}

pub fn named(name: &str) -> Netns {
    let netns = File::open(format!("/run/netns/{name}")).unwrap();
    Netns::from_fd(OwnedFd::from(netns)).unwrap()
}

pub fn uplinked(set: bool) -> NetworkPlan {
    NetworkPlan {
        uplink: Some(UplinkPlan {
            name: "up0".to_owned(),
            set,
        }),
        ..plan6(Mode::Routed)
    }
}

/// Tenant number `n`, with these addresses of the office's network.
pub fn member(n: u16, addresses: &[&str]) -> LinkPlan {
    let all: Vec<IpAddr> = addresses.iter().map(|it| it.parse().unwrap()).collect();
    let link = link(Mode::Routed, n);
    let first = link.addresses.first();
    let traffic = TrafficPlan {
        by_uplink: all.clone(),
        ..TrafficPlan::clone(&link.traffic)
    };
    LinkPlan {
        addresses: Addresses::new(first, all),
        traffic: Arc::new(traffic),
        ..link
    }
}

pub fn again(netns: &Netns) -> Option<Netns> {
    let fd = netns.as_fd().try_clone_to_owned().unwrap();
    Some(Netns::from_fd(fd).unwrap())
}

fn servers(netns: &Netns, addresses: &[&str]) -> Vec<Server> {
    let all = addresses.iter();
    all.map(|address| {
        let to: SocketAddr = (address.parse::<IpAddr>().unwrap(), 80).into();
        Server::new(inside(netns, || TcpListener::bind(to).unwrap()))
    })
    .collect()
}

/// How long a client needs to connect.
pub fn connects(client: &Netns, address: &str) -> Result<Duration, ErrorKind> {
    let to = SocketAddr::new(address.parse().unwrap(), 80);
    inside(client, || {
        let begun = Instant::now();
        let stream = TcpStream::connect_timeout(&to, LIMIT).map_err(|error| error.kind())?;
        drop(stream);
        Ok(begun.elapsed())
    })
}

/// Whether nobody answers for an address: the client finds no neighbour.
pub fn is_nobodys(client: &Netns, address: &str) -> bool {
    let found = connects(client, address);
    found == Err(ErrorKind::HostUnreachable)
}

/// The same for several, at the same time: the client waits three seconds for each.
pub fn are_nobodys(client: &Netns, addresses: &[&str]) {
    thread::scope(|scope| {
        for address in addresses {
            scope.spawn(move || assert!(is_nobodys(client, address), "{address}"));
        }
    });
}

/// A datagram there and back.
fn answers_datagrams(client: &Netns, netns: &Netns, address: &str) {
    let to = SocketAddr::new(address.parse().unwrap(), 53);
    let server = inside(netns, || UdpSocket::bind(to).unwrap());
    server.set_read_timeout(Some(LIMIT)).unwrap();
    let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let asker = inside(client, || UdpSocket::bind(any).unwrap());
    asker.set_read_timeout(Some(LIMIT)).unwrap();
    asker.send_to(b"x", to).unwrap();
    let (_, from) = server.recv_from(&mut [0; 8]).unwrap();
    server.send_to(b"y", from).unwrap();
    let (_, back) = asker.recv_from(&mut [0; 8]).unwrap();
    assert_eq!(back, to);
}

#[test]
fn others_reach_a_tenant_by_its_address_of_their_network_and_nobody_once_it_is_gone() {
    let client = office();
    block_on(async {
        let network = Network::open(uplinked(true)).await.unwrap();
        let tenant = member(2, &[TENANT4, TENANT6]);
        // Asks before the tenant is there, all the time.
        let early = [TENANT4, TENANT6].map(|address| {
            let client = again(&client).unwrap();
            thread::spawn(move || {
                while connects(&client, address)
                    .is_err_and(|kind| kind != ErrorKind::ConnectionRefused)
                {}
                Instant::now()
            })
        });
        let netns = network.provision(tenant.clone()).await.unwrap();
        let ready = Instant::now();
        for thread in early {
            let answered = thread.join().unwrap().saturating_duration_since(ready);
            println!("who asked before is answered {answered:?} after ready");
            assert!(answered < SOON, "{answered:?}");
        }
        let servers = servers(&netns, &[TENANT4, TENANT6]);
        for address in [TENANT4, TENANT6] {
            for _ in 0..5 {
                ip("-n client neigh flush all");
                let took = connects(&client, address).unwrap();
                println!("{address} answers a first question in {took:?}");
                assert!(took < SOON, "{address}: {took:?}");
            }
            answers_datagrams(&client, &netns, address);
        }
        // What is not allowed is refused: the port of another protocol answers at once, and the tenant reaches nobody.
        let asks = SocketAddr::new(TENANT4.parse().unwrap(), 81);
        let kind = inside(&client, || {
            TcpStream::connect_timeout(&asks, LIMIT).unwrap_err()
        });
        assert_eq!(kind.kind(), ErrorKind::ConnectionRefused);
        let out = || refuses_datagram("192.0.2.9:53".parse().unwrap());
        assert!(inside(&netns, out));
        // The host itself, and nobody for an address of the network that no tenant has.
        echo(
            inside(&netns, || TcpListener::bind((TENANT4, 82)).unwrap()),
            connect,
        );
        are_nobodys(&client, &["192.0.2.51", "2001:db8::51"]);
        drop(servers);
        let closed = netns.close();
        network.release(tenant, closed).await.unwrap();
        ip("-n client neigh flush all");
        are_nobodys(&client, &[TENANT4, TENANT6]);
        end(network, Vec::new()).await;
    });
    assert_eq!(ip("neigh show proxy"), "");
}

#[test]
fn settings_of_the_uplink_are_changed_only_if_the_plan_says_so() {
    let client = office();
    let missing = |ipv6| {
        let all = lacking("up0", true, ipv6).into_iter();
        all.map(|it| it.path.replace("net/", ""))
            .collect::<Vec<_>>()
    };
    let all = [
        "ipv4/conf/up0/forwarding",
        "ipv6/conf/up0/accept_ra",
        "ipv6/conf/up0/force_forwarding",
        "ipv6/conf/up0/forwarding",
        "ipv6/conf/up0/proxy_ndp",
    ];
    block_on(async {
        let network = Network::open(uplinked(false)).await.unwrap();
        let tenant = member(2, &[TENANT4, TENANT6]);
        let netns = network.provision(tenant.clone()).await.unwrap();
        let servers = servers(&netns, &[TENANT4, TENANT6]);
        assert_eq!(missing(true), all);
        are_nobodys(&client, &[TENANT4, TENANT6]);
        // As `check` says it.
        for setting in lacking("up0", true, true) {
            fs::write(format!("/proc/sys/{}", setting.path), setting.value).unwrap();
        }
        assert_eq!(missing(true), [""; 0]);
        for address in [TENANT4, TENANT6] {
            connects(&client, address).unwrap();
        }
        drop(servers);
        end(network, vec![(tenant, netns)]).await;
        // Those of a family that no tenant has an address of stay.
        for path in all {
            let value = if path.contains("accept_ra") { "1" } else { "0" };
            fs::write(format!("/proc/sys/net/{path}"), value).unwrap();
        }
        let network = Network::open(uplinked(true)).await.unwrap();
        let tenant = member(2, &[TENANT4]);
        let netns = network.provision(tenant.clone()).await.unwrap();
        assert_eq!(missing(true), all[1..]);
        end(network, vec![(tenant, netns)]).await;
    });
}

#[test]
fn an_address_that_another_machine_has_fails_that_start_and_delays_no_other() {
    let client = office();
    block_on(async {
        let network = Network::open(uplinked(true)).await.unwrap();
        for taken in ["192.0.2.60", "2001:db8::60"] {
            let why = network.provision(member(2, &[taken])).await.unwrap_err();
            assert_eq!((why.stage, why.errno), (Stage::Address, libc::EADDRINUSE));
            let said = why.to_string();
            assert!(
                said.contains(&format!("the machine with the MAC address {FAR}")),
                "{said}"
            );
        }
        assert_eq!(ip("neigh show proxy"), "", "nothing is left of them");
        // More than are provisioned at the same time ask together, and a tenant without such an address asks nobody.
        let begun = Instant::now();
        let plain = link(Mode::Routed, 2);
        let many = (3..10).map(|n| member(n, &[&format!("192.0.2.{}", 100 + n)]));
        let many: Vec<LinkPlan> = many.collect();
        let all = join_all(many.iter().map(|tenant| network.provision(tenant.clone())));
        let first = async {
            let netns = network.provision(plain.clone()).await.unwrap();
            (netns, begun.elapsed())
        };
        let (made, (netns, alone)) = tokio::join!(all, first);
        let together = begun.elapsed();
        println!("a tenant without the uplink: {alone:?}, seven with it: {together:?}");
        // However busy the machine is.
        assert!(alone * 2 < together, "{alone:?}, {together:?}");
        assert!(together < Duration::from_millis(1500), "{together:?}");
        let mut tenants: Vec<_> = many
            .into_iter()
            .zip(made.into_iter().map(Result::unwrap))
            .collect();
        tenants.push((plain, netns));
        // A live addition asks as well, and the tenant keeps what it has.
        let (tenant, netns) = &tenants[0];
        let has = tenant.addresses.others()[0].to_string();
        let more = member(3, &[&has, "192.0.2.60"]);
        let why = network.admit(more, again(netns)).await.unwrap_err();
        assert!(why.to_string().contains(FAR), "{why}");
        let server = servers(netns, &[&has]);
        connects(&client, &has).unwrap();
        drop(server);
        // It is free once the other machine has it no longer.
        ip("-n far address flush dev eth0");
        let other = member(30, &["192.0.2.60", "2001:db8::60"]);
        let netns = network.provision(other.clone()).await.unwrap();
        tenants.push((other, netns));
        end(network, tenants).await;
    });
}

#[test]
fn an_address_moves_between_tenants_and_the_client_follows() {
    let client = office();
    block_on(async {
        let network = Network::open(uplinked(true)).await.unwrap();
        let both = [TENANT4, TENANT6];
        let (one, two) = (member(2, &both), member(3, &[]));
        let first = network.provision(one.clone()).await.unwrap();
        let second = network.provision(two.clone()).await.unwrap();
        let server = servers(&first, &both);
        for address in both {
            connects(&client, address).unwrap();
        }
        drop(server);
        // In one reload: the order of both requests does not matter.
        let (without, with_both) = (member(2, &[]), member(3, &both));
        let taken = network.admit(with_both.clone(), again(&second));
        let given = network.admit(without.clone(), again(&first));
        let (taken, given) = tokio::join!(taken, given);
        taken.unwrap();
        given.unwrap();
        let server = servers(&second, &both);
        for address in both {
            let took = connects(&client, address).unwrap();
            assert!(took < SOON, "{address}: {took:?}");
        }
        drop(server);
        // The release of the former one takes nothing away.
        network.release(without, first.close()).await.unwrap();
        assert_eq!(ip("neigh show proxy").lines().count(), 2);
        let gone = member(3, &[TENANT6]);
        network.admit(gone.clone(), again(&second)).await.unwrap();
        ip("-n client neigh flush all");
        assert!(is_nobodys(&client, TENANT4));
        end(network, vec![(gone, second)]).await;
    });
    assert_eq!(ip("neigh show proxy"), "");
}

#[test]
fn a_tenant_reaches_others_by_that_address_as_its_outbound_says() {
    let client = office();
    let _server = Server::inside(&client, 80);
    block_on(async {
        let network = Network::open(uplinked(true)).await.unwrap();
        // Its first address is the one of the office.
        let mut tenant = member(2, &[TENANT4]);
        tenant.addresses = Addresses::new(TENANT4.parse().unwrap(), Vec::new());
        let tenant = with(tenant, |traffic| traffic.outbound = Outbound::Routed);
        let netns = network.provision(tenant.clone()).await.unwrap();
        let to: SocketAddr = "192.0.2.9:80".parse().unwrap();
        let said = inside(&netns, || crate::network::firewall::ask(to));
        assert_eq!(said, Ok(TENANT4.to_owned()));
        end(network, vec![(tenant, netns)]).await;
    });
}
