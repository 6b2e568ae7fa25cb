//! A host in a network with a router and a client, for tenants that have macvlans of the host's `eth0`.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use tenantd_core::plan::model::{EndPlan, Interface, LinkPlan, MacAddr, Mode, NetworkPlan};
use tenantd_core::plan::traffic::Outbound;
use tenantd_host::netns::Netns;

use crate::network::firewall::{AT_ONCE, Server, with};
use crate::network::host::{LIMIT, inside, ip, ip_json, link6, plan6};
use crate::support;

/// The host's own address, the client's, and one beyond the router.
pub const HOST: &str = "10.77.0.5";
pub const CLIENT: &str = "10.77.0.50";
pub const CLIENT6: &str = "fd00:77::50";
pub const CLIENT_MAC: &str = "02:09:09:09:09:09";
pub const BEYOND: &str = "198.51.100.1";

/// The namespaces of the router, with the switch of the network in it, and of the client.
pub struct Lan {
    pub router: Netns,
    pub client: Netns,
}

pub fn opened(name: &str) -> Netns {
    let file = File::open(format!("/run/netns/{name}")).unwrap();
    Netns::from_fd(OwnedFd::from(file)).unwrap()
}

impl Lan {
    pub fn new() -> Self {
        support::enter();
        for words in [
            "netns add router",
            "netns add client",
            "-n router link add sw type bridge mcast_snooping 0",
            "link add eth0 address 02:08:08:08:08:08 type veth peer name p0 netns router",
            "-n router link set p0 master sw up",
            &format!(
                "-n client link add eth0 address {CLIENT_MAC} type veth peer name p1 netns router"
            ),
            "-n router link set p1 master sw up",
            "-n router link set sw up",
            "-n router link set lo up",
            "-n client link set eth0 up",
            // It would get an address of its own a moment later.
            "link set eth0 addrgenmode none",
            "link set eth0 up",
            &format!("address add {HOST}/24 dev eth0"),
            "-n router address add 10.77.0.1/24 dev sw",
            "-n router address add fd00:77::1/64 dev sw nodad",
            &format!("-n router address add {BEYOND}/32 dev lo"),
            &format!("-n client address add {CLIENT}/24 dev eth0"),
            &format!("-n client address add {CLIENT6}/64 dev eth0 nodad"),
        ] {
            ip(words);
        }
        support::until("the switch forwards", || {
            let ports = ip_json("-n router link show master sw");
            ports.iter().all(|port| port["operstate"] == "UP")
        });
        Self {
            router: opened("router"),
            client: opened("client"),
        }
    }
}

pub fn parent() -> Option<Interface> {
    Interface::named("eth0")
}

pub fn plan() -> NetworkPlan {
    NetworkPlan {
        parent: parent(),
        ..plan6(Mode::Macvlan)
    }
}

/// A tenant that may begin connections.
pub fn tenant(n: u16) -> LinkPlan {
    let link = link6(Mode::Macvlan, n);
    let [high, low] = n.to_be_bytes();
    let mut names = link.names.as_ref().clone();
    names.is_macvlan = true;
    let link = LinkPlan {
        parent: parent(),
        host: EndPlan {
            mac: MacAddr([0x0e, 0, 0, 1, high, low]),
            ..link.host.clone()
        },
        names: Arc::new(names),
        ..link
    };
    with(link, |traffic| traffic.outbound = Outbound::Routed)
}

pub fn address6(link: &LinkPlan) -> IpAddr {
    link.addresses.iter().find(IpAddr::is_ipv6).unwrap()
}

pub fn both(link: &LinkPlan) -> [IpAddr; 2] {
    [link.addresses.first(), address6(link)]
}

/// A server of both families.
pub fn server(netns: &Netns, port: u16) -> Server {
    Server::new(inside(netns, || TcpListener::bind(("::", port)).unwrap()))
}

/// What a server says, or why it cannot be reached. The address of a client of IPv4 has its form of IPv6.
pub fn ask(to: SocketAddr) -> Result<String, ErrorKind> {
    let mut stream = TcpStream::connect_timeout(&to, AT_ONCE).map_err(|error| error.kind())?;
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let mut said = String::new();
    stream
        .read_to_string(&mut said)
        .map_err(|error| error.kind())?;
    Ok(said.trim_start_matches("::ffff:").to_owned())
}

pub fn v4(text: &str) -> IpAddr {
    text.parse::<Ipv4Addr>().unwrap().into()
}

pub fn at(address: IpAddr, port: u16) -> SocketAddr {
    SocketAddr::new(address, port)
}
