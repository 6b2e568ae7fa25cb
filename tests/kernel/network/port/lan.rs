//! A host with a bridge `br0` in a network with a router and a client, for tenants that are ports of it.

use tenantd_core::plan::model::{EndPlan, Interface, LinkPlan, MacAddr, Mode, NetworkPlan};
use tenantd_core::plan::traffic::Outbound;

use crate::network::firewall::with;
use crate::network::host::{ip, link6, plan6};
pub use crate::network::macvlan::lan::*;

/// The bridge as a machine, which is the host.
pub const HOST6: &str = "fd00:77::5";

/// The host's card is a port of its bridge, which has the host's address.
pub fn bridged() -> Lan {
    let lan = Lan::new();
    for words in [
        "link add br0 type bridge mcast_snooping 0",
        "link set br0 addrgenmode none",
        &format!("address delete {HOST}/24 dev eth0"),
        "link set eth0 master br0",
        "link set br0 up",
        &format!("address add {HOST}/24 dev br0"),
        &format!("address add {HOST6}/64 dev br0 nodad"),
    ] {
        ip(words);
    }
    crate::support::until("the bridge forwards", || {
        let ports = crate::network::host::ip_json("link show master br0");
        ports.iter().all(|port| port["operstate"] == "UP")
    });
    lan
}

pub fn bridge() -> Option<Interface> {
    Interface::named("br0")
}

pub fn plan() -> NetworkPlan {
    NetworkPlan {
        parent: bridge(),
        mtu: 1500,
        ..plan6(Mode::Port)
    }
}

/// A tenant that may begin connections.
pub fn tenant(n: u16) -> LinkPlan {
    let link = link6(Mode::Port, n);
    let [high, low] = n.to_be_bytes();
    let link = LinkPlan {
        parent: bridge(),
        host: EndPlan {
            mac: MacAddr([0xfe, 0, 0, 1, high, low]),
            ..link.host.clone()
        },
        ..link
    };
    with(link, |traffic| traffic.outbound = Outbound::Routed)
}

/// What the host has of the bridge, but its ports.
pub fn shown() -> String {
    let mut bridge = crate::network::host::show("br0");
    let data = bridge["linkinfo"]["info_data"].as_object_mut().unwrap();
    // Timers run.
    data.retain(|name, _| !name.ends_with("_timer"));
    for counted in [
        "promiscuity",
        "allmulti",
        "operstate",
        "flags",
        "inet6_addr_gen_mode",
    ] {
        bridge.as_object_mut().unwrap().remove(counted);
    }
    format!("{bridge} {}", ip("address show br0 scope global"))
}
