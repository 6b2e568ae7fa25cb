//! Sets up the tenant's side of a link: one batch of requests in one send, through a socket that
//! was opened inside the namespace.
//!
//! The kernel has carried out every request and queued every reply when the send returns. So
//! nothing here blocks, and no async runtime is needed.

use std::net::{IpAddr, Ipv4Addr};

use rtnetlink::packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkMessage,
    NetlinkPayload,
};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};
use rtnetlink::packet_route::route::RouteScope;
use rtnetlink::packet_route::{AddressFamily, link::LinkMessage};
use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use rtnetlink::{AddressMessageBuilder, LinkUnspec, RouteMessageBuilder};
use rustix::net::netdevice::name_to_index;

use tenantd_core::plan::address::Addresses;
use tenantd_core::plan::model::{LinkPlan, Mode, NetworkPlan};
use tenantd_core::stage::{Failure, Stage};

use super::link::{no_ipv6_address, runs_ipv6};
use super::refusal::{answered, broken};

/// The loopback interface's index, the same in every namespace.
const LOOPBACK: u32 = 1;

/// A route socket in a tenant's namespace. It is dropped once the link is set up, because it holds
/// 72 KiB of buffers.
pub(super) struct TenantSocket(Socket);

/// One request of a batch, with the stage and object of its failure.
struct Step {
    stage: Stage,
    object: String,
    flags: u16,
    message: RouteNetlinkMessage,
}

impl TenantSocket {
    /// Opens a socket in the namespace of the calling thread.
    pub(super) fn open() -> Result<Self, Failure> {
        let open = || {
            let socket = Socket::new(NETLINK_ROUTE)?;
            socket.set_non_blocking(true)?;
            socket.set_cap_ack(true)?;
            socket.set_ext_ack(true)?;
            socket.connect(&SocketAddr::new(0, 0))?;
            Ok(Self(socket))
        };
        open().map_err(|error| broken(Stage::Netns, "", &error))
    }

    /// Sets up the tenant's side: `lo`, the addresses, the link, then the routes.
    pub(super) fn set_up(
        self,
        network: &NetworkPlan,
        link: &LinkPlan,
        addresses: &[Ipv4Addr],
    ) -> Result<(), Failure> {
        let eth0 = self.find(link.tenant.name.as_str())?;
        let steps = steps(network, link, addresses, eth0);
        let mut batch = Vec::new();
        for (step, sequence) in steps.iter().zip(1..) {
            let mut message = NetlinkMessage::from(step.message.clone());
            message.header.flags = NLM_F_REQUEST | NLM_F_ACK | step.flags;
            message.header.sequence_number = sequence;
            message.finalize();
            let start = batch.len();
            batch.resize(start + message.buffer_len(), 0);
            message.serialize(&mut batch[start..]);
        }
        self.send(&batch)?;
        let mut answers = 0;
        while answers < steps.len() {
            answers += read_answers(&steps, &self.receive()?)?;
        }
        Ok(())
    }

    /// Looks up the index of a link. It cannot be predicted: modules such as `sit` add links to
    /// every new namespace, and the kernel does not honour a requested index here. Uses an ioctl,
    /// see netdevice(7), because a netlink reply would contain all attributes of the link.
    fn find(&self, name: &str) -> Result<u32, Failure> {
        name_to_index(&self.0, name)
            .map_err(|errno| Failure::errno(Stage::Link, name, errno.raw_os_error()))
    }

    fn send(&self, requests: &[u8]) -> Result<(), Failure> {
        let sent = self.0.send(requests, 0);
        sent.map(drop)
            .map_err(|error| broken(Stage::Link, "(in the tenant)", &error))
    }

    fn receive(&self) -> Result<Vec<u8>, Failure> {
        match self.0.recv_from_full() {
            Ok((datagram, _)) => Ok(datagram),
            Err(error) => Err(broken(Stage::Link, "(in the tenant)", &error)),
        }
    }
}

/// The addresses of a tenant as IPv4 addresses.
///
/// # Errors
/// If one of them is IPv6, which tenantd cannot provision yet.
pub(super) fn ipv4(addresses: &Addresses) -> Result<Vec<Ipv4Addr>, Failure> {
    let each = addresses.iter().map(|address| match address {
        IpAddr::V4(address) => Ok(address),
        IpAddr::V6(address) => {
            let why = "tenantd cannot provision IPv6 addresses yet";
            Err(Failure::detail(Stage::Address, address.to_string(), why))
        }
    });
    each.collect()
}

fn parse(bytes: &[u8]) -> Result<NetlinkMessage<RouteNetlinkMessage>, Failure> {
    NetlinkMessage::deserialize(bytes)
        .map_err(|error| Failure::detail(Stage::Link, "(in the tenant)", error.to_string()))
}

/// Counts the replies in a datagram. The first error reply becomes the failure.
fn read_answers(steps: &[Step], datagram: &[u8]) -> Result<usize, Failure> {
    let mut answers = 0;
    let mut rest = datagram;
    while !rest.is_empty() {
        let message = parse(rest)?;
        if let NetlinkPayload::Error(answer) = &message.payload {
            answers += 1;
            if answer.code.is_some() {
                let number = message.header.sequence_number as usize;
                let step = &steps[number.clamp(1, steps.len()) - 1];
                return Err(answered(step.stage, step.object.as_str(), answer));
            }
        }
        let length = (message.header.length as usize).next_multiple_of(4);
        rest = rest.get(length.max(4)..).unwrap_or_default();
    }
    Ok(answers)
}

fn steps(network: &NetworkPlan, link: &LinkPlan, addresses: &[Ipv4Addr], eth0: u32) -> Vec<Step> {
    let gateway = network.gateway;
    let mut steps = vec![change(
        "lo",
        LinkUnspec::new_with_index(LOOPBACK).up().build(),
    )];
    if runs_ipv6(network.mtu) {
        // Before the link is up, because it would get an address at once.
        let silent = LinkUnspec::new_with_index(eth0).append_extra_attribute(no_ipv6_address());
        steps.push(change("eth0", silent.build()));
    }
    steps.extend(addresses.iter().map(|address| {
        Step {
            stage: Stage::Address,
            object: format!("{address}/{}", link.prefix),
            flags: NLM_F_CREATE | NLM_F_EXCL,
            message: RouteNetlinkMessage::NewAddress(
                AddressMessageBuilder::<Ipv4Addr>::new()
                    .index(eth0)
                    .address(*address, link.prefix)
                    .build(),
            ),
        }
    }));
    steps.push(change(
        "eth0",
        LinkUnspec::new_with_index(eth0).up().build(),
    ));
    if network.mode == Mode::Routed {
        // With a permanent entry the tenant sends no ARP requests, so the host's ARP settings do
        // not matter.
        steps.push(Step {
            stage: Stage::Route,
            object: format!("{gateway} (its neighbour entry)"),
            flags: NLM_F_CREATE | NLM_F_REPLACE,
            message: RouteNetlinkMessage::NewNeighbour(neighbour(eth0, gateway, link.host.mac.0)),
        });
        steps.push(route(
            &format!("{gateway}/32"),
            RouteMessageBuilder::<Ipv4Addr>::new()
                .destination_prefix(gateway, 32)
                .output_interface(eth0)
                .scope(RouteScope::Link),
        ));
    }
    steps.push(route(
        &format!("default via {gateway}"),
        RouteMessageBuilder::<Ipv4Addr>::new()
            .gateway(gateway)
            .output_interface(eth0),
    ));
    steps
}

fn change(object: &str, message: LinkMessage) -> Step {
    Step {
        stage: Stage::Link,
        object: format!("{object} (in the tenant)"),
        flags: 0,
        message: RouteNetlinkMessage::NewLink(message),
    }
}

fn route(object: &str, route: RouteMessageBuilder<Ipv4Addr>) -> Step {
    Step {
        stage: Stage::Route,
        object: format!("{object} (in the tenant)"),
        flags: NLM_F_CREATE | NLM_F_EXCL,
        message: RouteNetlinkMessage::NewRoute(route.build()),
    }
}

fn neighbour(index: u32, address: Ipv4Addr, mac: [u8; 6]) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Inet;
    message.header.ifindex = index;
    message.header.state = NeighbourState::Permanent;
    message.attributes = vec![
        NeighbourAttribute::Destination(NeighbourAddress::Inet(address)),
        NeighbourAttribute::LinkLayerAddress(mac.to_vec()),
    ];
    message
}
