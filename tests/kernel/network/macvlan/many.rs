//! A tenant with many addresses of the network.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::Command;

use tenantd_core::plan::address::Addresses;
use tenantd_core::plan::model::LinkPlan;
use tenantd_host::netns::Netns;
use tenantd_host::network::Network;

use super::lan::{CLIENT_MAC, CLIENT6, Lan, ask, at, plan, server, tenant};
use crate::network::host::{block_on, inside, ip};

/// How many addresses of each family.
const EACH: u16 = 200;

/// Says that the sender's link has an address: TARGET SOURCE MAC DESTINATION DESTINATION_MAC.
const ADVERTISE: &str = r#"
import socket, struct, sys
target, source, mac, destination, to = sys.argv[1:]
pack = lambda text: socket.inet_pton(socket.AF_INET6, text)
bytes_of = lambda text: bytes.fromhex(text.replace(":", ""))
body = struct.pack("!BBHI", 136, 0, 0, 0x60000000) + pack(target) + b"\2\1" + bytes_of(mac)
ends = pack(source) + pack(destination)
data = ends + struct.pack("!II", len(body), 58) + body
total = sum(struct.unpack(f"!{len(data) // 2}H", data))
total = (total >> 16) + (total & 0xFFFF)
check = struct.pack("!H", ~(total + (total >> 16)) & 0xFFFF)
head = struct.pack("!IHBB", 6 << 28, len(body), 58, 255) + ends
frame = bytes_of(to) + bytes_of(mac) + b"\x86\xdd" + head + body[:2] + check + body[4:]
link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
link.bind(("eth0", 0))
try: link.send(frame)
except OSError as error: assert error.errno == 105
"#;

fn many() -> LinkPlan {
    let link = tenant(2);
    let first = link.addresses.first();
    let four = (10..10 + EACH).map(|n| {
        let [_, low] = n.to_be_bytes();
        IpAddr::from(Ipv4Addr::new(10, 77, 0, low))
    });
    let six = (0..EACH).map(|n| IpAddr::from(Ipv6Addr::new(0xfd00, 0x77, 0, 0, 0, 0, 1, n)));
    let others = four.chain(six);
    let others = others.filter(|it| *it != first && !it.to_string().ends_with(".50"));
    LinkPlan {
        addresses: Addresses::new(first, others.collect()),
        ..link
    }
}

fn advertise(netns: &Netns, link: &LinkPlan, target: &str, source: &str) {
    let mac = link.tenant.mac.to_string();
    let mut command = Command::new("python3");
    command.args(["-c", ADVERTISE, target, source, &mac, CLIENT6, CLIENT_MAC]);
    let status = inside(netns, || command.status().unwrap());
    assert!(status.success());
}

#[test]
fn a_tenant_with_hundreds_of_addresses_has_them_and_no_others() {
    let lan = Lan::new();
    block_on(async {
        let network = Network::open(plan()).await.unwrap();
        let link = many();
        let netns = network.provision(link.clone()).await.unwrap();
        let served = server(&netns, 80);
        for address in link.addresses.iter().step_by(37) {
            let said = inside(&lan.client, || ask(at(address, 80)));
            assert!(said.is_ok(), "{address}: {said:?}");
        }
        // What it says of the router's address is not sent, what it says of its own is.
        let beyond = server(&lan.router, 82);
        let router = at("fd00:77::1".parse().unwrap(), 82);
        inside(&lan.client, || ask(router)).unwrap();
        let mac = link.tenant.mac.to_string();
        let known = |address: &str| ip(&format!("-n client neigh show {address}"));
        advertise(&netns, &link, "fd00:77::1", "fd00:77::1:5");
        advertise(&netns, &link, "fd00:77::1:5", "fd00:77::1");
        assert!(!known("fd00:77::1").contains(&mac));
        ip("-n client neigh replace fd00:77::1:5 lladdr 02:00:00:00:00:01 dev eth0 nud stale");
        advertise(&netns, &link, "fd00:77::1:5", "fd00:77::1:6");
        crate::support::until("its own advertisement arrives", || {
            known("fd00:77::1:5").contains(&mac)
        });
        assert!(!known("fd00:77::1").contains(&mac));
        drop((served, beyond));
        network.release(link, netns.close()).await.unwrap();
        network.close().await.unwrap();
    });
}
