//! What a process can do in the network, as a neighbour or to one.

use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddress, UnixStream};
use std::time::Duration;

use rustix::net::{AddressFamily, Protocol, SocketType, ipproto, socket};

use super::super::aim::Aim;
use super::super::way::{Against, Attempted, Gain, Guard, Shut, Way};
use super::{called, way};
use tenantd_host::launch::attempt::Call;

/// How long a connection may take.
const LIMIT: Duration = Duration::from_secs(1);

/// The ways.
pub(super) fn ways() -> Vec<Way> {
    let abstracts = [Guard::Network, Guard::Signals];
    let mut all: Vec<Way> = [Against::Neighbour, Against::Supervisor]
        .into_iter()
        .map(|against| {
            let named = ("connect to its abstract socket", Gain::Impersonate);
            way(against, named, &abstracts, abstract_socket)
        })
        .collect();
    all.extend(of_neighbour());
    let mut gateway = way(
        Against::Host,
        ("connect to a port of the gateway", Gain::Read),
        &[Guard::Firewall],
        |aim| {
            let no_gateway = || Shut::Untried("the host has no gateway's address".to_owned());
            let address = aim.gateway.ok_or_else(no_gateway)?;
            connect(SocketAddr::new(address.into(), aim.to.port))
        },
    );
    gateway.needs_gateway = true;
    all.push(gateway);
    all
}

fn of_neighbour() -> Vec<Way> {
    let named = |name, guards: &[Guard], attempt| {
        way(
            Against::Neighbour,
            (name, Gain::Impersonate),
            guards,
            attempt,
        )
    };
    let of_link = [Guard::Firewall, Guard::Isolated];
    let [raw, admin] = ["net_raw", "net_admin"].map(Guard::Lacks);
    vec![
        named("connect to a port of it", &of_link, |aim| {
            let address = aim.to.addresses.first().ok_or(no_address())?;
            connect(SocketAddr::new(*address, aim.to.port))
        }),
        named("bind to its address", &[Guard::Network], |aim| {
            let address = aim.to.addresses.first().ok_or(no_address())?;
            Ok(UdpSocket::bind(SocketAddr::new(*address, 0)).map(drop)?)
        }),
        named("take its address (SIOCSIFADDR)", &[admin], |_| {
            let socket = UdpSocket::bind("127.0.0.1:0")?;
            called(Call::SetAddress(socket.as_fd()))
        }),
        named("change ARP entries (SIOCSARP)", &[admin], |_| {
            let socket = UdpSocket::bind("127.0.0.1:0")?;
            called(Call::SetNeighbour(socket.as_fd()))
        }),
        named("send frames (AF_PACKET)", &[Guard::Calls, raw], |_| {
            raw_socket(AddressFamily::PACKET, None)
        }),
        named("send forged IP packets (SOCK_RAW)", &[raw], |_| {
            raw_socket(AddressFamily::INET, Some(ipproto::RAW))
        }),
        named("send forged NDP messages (ICMPv6)", &[raw], |_| {
            raw_socket(AddressFamily::INET6, Some(ipproto::ICMPV6))
        }),
    ]
}

fn no_address() -> Shut {
    Shut::Untried("it has no address".to_owned())
}

fn abstract_socket(aim: &Aim) -> Attempted {
    let address = UnixAddress::from_abstract_name(&aim.to.id)?;
    Ok(UnixStream::connect_addr(&address).map(drop)?)
}

fn connect(address: SocketAddr) -> Attempted {
    match TcpStream::connect_timeout(&address, LIMIT) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::TimedOut => super::refused("ETIMEDOUT"),
        Err(error) => Err(error.into()),
    }
}

fn raw_socket(family: AddressFamily, protocol: Option<Protocol>) -> Attempted {
    Ok(socket(family, SocketType::RAW, protocol).map(drop)?)
}
