//! Sets up the tenant's side of a link: one batch of requests in one send, through a socket that
//! was opened inside the namespace.
//!
//! The kernel has carried out every request and queued every reply when the send returns. So
//! nothing here blocks, and no async runtime is needed.

mod address;

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use ipnetwork::IpNetwork;
use nix::sys::socket::{setsockopt, sockopt::RcvBufForce};
use rtnetlink::packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkMessage,
    NetlinkPayload,
};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::link::LinkMessage;
use rtnetlink::packet_route::neighbour::{NeighbourAttribute, NeighbourState};
use rtnetlink::packet_route::route::{RouteScope, RouteType};
use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use rtnetlink::{LinkUnspec, RouteMessageBuilder};
use rustix::net::netdevice::name_to_index;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::timeout;

use tenantd_core::plan::model::{LinkPlan, Mode, NetworkPlan};
use tenantd_core::stage::{Failure, Stage};

use super::family::{alone, destination, neighbour, route_to, via, whole};
use super::ipv6::{has_ipv6, no_ipv6_address, runs_ipv6};
use super::loopback::exposing;
use super::refusal::{answered, broken};
use address::{add_address, add_local};

/// The loopback interface's index, the same in every namespace.
const LOOPBACK: u32 = 1;

/// The multicast group of routes of IPv6, see rtnetlink(7).
const ROUTES6: u32 = 11;

/// How many bytes of answers wait at most: those to a batch for hundreds of addresses, and what the kernel tells of their
/// routes. It is a limit, and takes no memory.
const ANSWERS_MAX: usize = 16 << 20;

/// How long an IPv6 address is waited for. It takes about a millisecond.
const USABLE_WITHIN: Duration = Duration::from_secs(5);

/// A route socket in a tenant's namespace. It is dropped once the link is set up, because it holds
/// 72 KiB of buffers.
pub(super) struct TenantSocket(Socket);

/// One request of a batch, with the stage and object of its failure.
pub(super) struct Step {
    pub(super) stage: Stage,
    pub(super) object: String,
    pub(super) flags: u16,
    pub(super) message: RouteNetlinkMessage,
}

impl TenantSocket {
    /// Opens a socket in the namespace of the calling thread, for a tenant with these addresses.
    pub(super) fn open(link: &LinkPlan) -> Result<Self, Failure> {
        Self::opener(link)()
    }

    /// What opens it on another thread.
    pub(super) fn opener(link: &LinkPlan) -> impl FnOnce() -> Result<Self, Failure> + Send + use<> {
        let has_ipv6 = has_ipv6(link);
        let open = move || {
            let mut socket = Socket::new(NETLINK_ROUTE)?;
            setsockopt(&socket, RcvBufForce, &ANSWERS_MAX)?;
            socket.set_non_blocking(true)?;
            socket.set_cap_ack(true)?;
            socket.set_ext_ack(true)?;
            socket.bind_auto()?;
            if has_ipv6 {
                socket.add_membership(ROUTES6)?;
            }
            socket.connect(&SocketAddr::new(0, 0))?;
            Ok(Self(socket))
        };
        move || open().map_err(|error| broken(Stage::Netns, "", &error))
    }

    /// Sets the link up, without an address.
    pub(super) fn raise(&self, network: &NetworkPlan, link: &LinkPlan) -> Result<(), Failure> {
        let eth0 = self.find(link.tenant.name.as_str())?;
        let mut steps = silent(network, eth0);
        steps.push(up("eth0", eth0));
        self.request(&steps, &mut BTreeSet::new())
    }

    /// Sets up the tenant's side: `lo`, the addresses, the link, then the routes. Waits until the addresses are usable.
    pub(super) async fn set_up(
        self,
        network: &NetworkPlan,
        link: &LinkPlan,
    ) -> Result<(), Failure> {
        let eth0 = self.find(link.tenant.name.as_str())?;
        let steps = steps(network, link, eth0);
        self.carry_out(&steps, link.addresses.iter()).await
    }

    /// The same for a tenant that has its link: what is there stays, and what is missing is added.
    pub(super) async fn set_up_again(
        self,
        network: &NetworkPlan,
        link: &LinkPlan,
    ) -> Result<(), Failure> {
        let eth0 = self.find(link.tenant.name.as_str())?;
        let mut steps = steps(network, link, eth0);
        for step in &mut steps {
            if step.flags & NLM_F_EXCL != 0 {
                step.flags = NLM_F_CREATE | NLM_F_REPLACE;
            }
        }
        self.carry_out(&steps, std::iter::empty()).await
    }

    /// Removes addresses and adds others, and the way to the gateways of their families. Waits until they are usable.
    pub(super) async fn change(
        self,
        network: &NetworkPlan,
        link: &LinkPlan,
        gone: &[IpAddr],
        new: &[IpAddr],
    ) -> Result<(), Failure> {
        let eth0 = self.find(link.tenant.name.as_str())?;
        let mut steps = Vec::new();
        for address in gone {
            let mut step = add_address((network, link), *address, eth0);
            if let RouteNetlinkMessage::NewAddress(message) = step.message {
                step.message = RouteNetlinkMessage::DelAddress(message);
                step.flags = 0;
                steps.push(step);
            }
        }
        let added = new.iter();
        steps.extend(added.map(|address| add_address((network, link), *address, eth0)));
        steps.extend(add_local((network, link), eth0).map(|step| Step {
            flags: NLM_F_CREATE | NLM_F_REPLACE,
            ..step
        }));
        for gateway in network.gateways() {
            if new
                .iter()
                .any(|address| address.is_ipv4() == gateway.is_ipv4())
            {
                let way = towards(network, link, gateway, eth0).into_iter();
                steps.extend(way.map(|step| Step {
                    flags: NLM_F_CREATE | NLM_F_REPLACE,
                    ..step
                }));
            }
        }
        self.carry_out(&steps, new.iter().copied()).await
    }

    /// Has the kernel take what is for a loopback address after its translation, if the tenant exposes ports.
    pub(super) async fn expose(self, link: &LinkPlan) -> Result<(), Failure> {
        let eth0 = self.find(link.tenant.name.as_str())?;
        let steps = exposing(link, eth0);
        self.carry_out(&steps, std::iter::empty()).await
    }

    async fn carry_out(
        self,
        steps: &[Step],
        new: impl Iterator<Item = IpAddr>,
    ) -> Result<(), Failure> {
        let mut unusable: BTreeSet<Ipv6Addr> = new.filter_map(ipv6).collect();
        self.request(steps, &mut unusable)?;
        if unusable.is_empty() {
            return Ok(());
        }
        let all: Vec<String> = unusable.iter().map(ToString::to_string).collect();
        let object = format!("{} (in the tenant)", all.join(", "));
        match timeout(USABLE_WITHIN, self.usable(steps, unusable)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Failure::errno(Stage::Address, object, libc::ETIMEDOUT)
                .with("the kernel has not made an IPv6 address usable")),
        }
    }

    /// Sends the steps in one batch, and reads the answers.
    fn request(&self, steps: &[Step], unusable: &mut BTreeSet<Ipv6Addr>) -> Result<(), Failure> {
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
            answers += read_answers(steps, &self.receive()?, unusable)?;
        }
        Ok(())
    }

    /// Waits until the kernel has made all IPv6 addresses usable. It completes each by a work queue, also without
    /// duplicate address detection: until then packets to it are lost.
    async fn usable(self, steps: &[Step], mut unusable: BTreeSet<Ipv6Addr>) -> Result<(), Failure> {
        let fail = |error: io::Error| broken(Stage::Address, "(in the tenant)", &error);
        #[expect(
            deprecated,
            reason = "its successor is unsafe for the sake of types that may change their \
                      descriptor; a Socket keeps its own open until it is dropped"
        )]
        let socket = AsyncFd::with_interest(self.0, Interest::READABLE).map_err(fail)?;
        while !unusable.is_empty() {
            let mut ready = socket.readable().await.map_err(fail)?;
            match ready.try_io(|socket| socket.get_ref().recv_from_full()) {
                Ok(Ok((datagram, _))) => {
                    read_answers(steps, &datagram, &mut unusable)?;
                }
                Ok(Err(error)) => return Err(fail(error)),
                Err(_would_block) => {}
            }
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

fn ipv6(address: IpAddr) -> Option<Ipv6Addr> {
    match address {
        IpAddr::V4(_) => None,
        IpAddr::V6(address) => Some(address),
    }
}

fn parse(bytes: &[u8]) -> Result<NetlinkMessage<RouteNetlinkMessage>, Failure> {
    NetlinkMessage::deserialize(bytes)
        .map_err(|error| Failure::detail(Stage::Link, "(in the tenant)", error.to_string()))
}

/// Counts the replies in a datagram. The first error reply becomes the failure. Removes addresses that the kernel has
/// made usable: it has made the route for what is sent to them.
fn read_answers(
    steps: &[Step],
    datagram: &[u8],
    unusable: &mut BTreeSet<Ipv6Addr>,
) -> Result<usize, Failure> {
    let mut answers = 0;
    let mut rest = datagram;
    while !rest.is_empty() {
        let message = parse(rest)?;
        match &message.payload {
            NetlinkPayload::Error(answer) => {
                answers += 1;
                if answer.code.is_some() {
                    let number = message.header.sequence_number as usize;
                    let step = &steps[number.clamp(1, steps.len()) - 1];
                    return Err(answered(step.stage, step.object.as_str(), answer));
                }
            }
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewRoute(route))
                if route.header.kind == RouteType::Local =>
            {
                if let Some(IpAddr::V6(address)) = destination(route).map(|it| it.ip()) {
                    unusable.remove(&address);
                }
            }
            _ => {}
        }
        let length = (message.header.length as usize).next_multiple_of(4);
        rest = rest.get(length.max(4)..).unwrap_or_default();
    }
    Ok(answers)
}

fn steps(network: &NetworkPlan, link: &LinkPlan, eth0: u32) -> Vec<Step> {
    let mut steps = vec![up("lo", LOOPBACK)];
    steps.extend(silent(network, eth0));
    let addresses = link.addresses.iter();
    steps.extend(addresses.map(|address| add_address((network, link), address, eth0)));
    steps.extend(add_local((network, link), eth0));
    steps.push(up("eth0", eth0));
    for gateway in gateways(network, link) {
        steps.extend(towards(network, link, gateway, eth0));
    }
    steps.extend(exposing(link, eth0));
    steps
}

/// Keeps the link from getting an IPv6 address: it would, once it is up.
fn silent(network: &NetworkPlan, eth0: u32) -> Vec<Step> {
    match runs_ipv6(network.mtu) {
        true => {
            let silent = LinkUnspec::new_with_index(eth0).append_extra_attribute(no_ipv6_address());
            vec![change("eth0", silent.build())]
        }
        false => Vec::new(),
    }
}

/// The host's addresses of the families that the tenant has addresses of.
fn gateways(network: &NetworkPlan, link: &LinkPlan) -> Vec<IpAddr> {
    let all = network.gateways();
    let has = |gateway: &IpAddr| {
        link.addresses
            .iter()
            .any(|it| it.is_ipv4() == gateway.is_ipv4())
    };
    all.filter(has).collect()
}

/// The way to a gateway, and to all others through it.
fn towards(network: &NetworkPlan, link: &LinkPlan, gateway: IpAddr, eth0: u32) -> Vec<Step> {
    let mut steps = Vec::new();
    // With a permanent entry the tenant sends no requests for MAC addresses, so the host's settings for them do not
    // matter.
    let mac = match (network.mode, gateway) {
        (Mode::Routed, _) => Some(link.host.mac),
        (Mode::Bridge, IpAddr::V6(_)) => Some(network.hub.mac),
        (Mode::Bridge, IpAddr::V4(_)) | (Mode::Macvlan | Mode::Port, _) => None,
    };
    if let Some(mac) = mac {
        let mut entry = neighbour(eth0, gateway);
        entry.header.state = NeighbourState::Permanent;
        let mac = NeighbourAttribute::LinkLayerAddress(mac.0.to_vec());
        entry.attributes.push(mac);
        steps.push(Step {
            stage: Stage::Route,
            object: format!("{gateway} (its neighbour entry)"),
            flags: NLM_F_CREATE | NLM_F_REPLACE,
            message: RouteNetlinkMessage::NewNeighbour(entry),
        });
        let to = format!("{gateway}/{}", whole(gateway));
        let direct = route_to(alone(gateway)).output_interface(eth0);
        steps.push(route(&to, direct.scope(RouteScope::Link)));
    }
    let everything = match gateway {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let mut by_default = route_to(IpNetwork::new(everything, 0).unwrap_or(alone(everything)));
    by_default.get_mut().attributes.push(via(gateway));
    let by_default = by_default.output_interface(eth0);
    steps.push(route(&format!("default via {gateway}"), by_default));
    steps
}

fn up(name: &str, index: u32) -> Step {
    change(name, LinkUnspec::new_with_index(index).up().build())
}

fn change(object: &str, message: LinkMessage) -> Step {
    Step {
        stage: Stage::Link,
        object: format!("{object} (in the tenant)"),
        flags: 0,
        message: RouteNetlinkMessage::NewLink(message),
    }
}

fn route(object: &str, route: RouteMessageBuilder<IpAddr>) -> Step {
    Step {
        stage: Stage::Route,
        object: format!("{object} (in the tenant)"),
        flags: NLM_F_CREATE | NLM_F_EXCL,
        message: RouteNetlinkMessage::NewRoute(route.build()),
    }
}
