//! The admission of a tenant whose host end is as planned changes nothing: the kernel would tell of each change to all who
//! listen, and look through the numbers of all network namespaces for it.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};

use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use tenantd_host::netns::Netns;
use tenantd_host::network::Network;

use crate::network::firewall::{BOTH, end};
use crate::network::host::{block_on, ip, link, plan, show};
use crate::support;

/// `RTMGRP_LINK`, see rtnetlink(7).
const LINKS: u32 = 1;

/// What the kernel tells of links from now on.
struct Told(Socket);

impl Told {
    fn new() -> Self {
        let mut socket = Socket::new(NETLINK_ROUTE).unwrap();
        socket.bind(&SocketAddr::new(0, LINKS)).unwrap();
        socket.set_non_blocking(true).unwrap();
        Self(socket)
    }

    /// How many messages there were. The kernel has sent each before the change has ended.
    fn count(&self) -> usize {
        std::iter::from_fn(|| self.0.recv_from_full().ok()).count()
    }
}

fn again(netns: &Netns) -> Option<Netns> {
    let fd: OwnedFd = netns.as_fd().try_clone_to_owned().unwrap();
    Some(Netns::from_fd(fd).unwrap())
}

#[test]
fn an_admission_as_planned_changes_no_link_and_another_one_what_differs() {
    support::enter();
    for mode in BOTH {
        block_on(async {
            let network = Network::open(plan(mode)).await.unwrap();
            let tenant = link(mode, 2);
            let netns = network.provision(tenant.clone()).await.unwrap();
            drop(network);
            let network = Network::open(plan(mode)).await.unwrap();
            let admit = || network.admit(tenant.clone(), again(&netns));
            let told = Told::new();
            admit().await.unwrap();
            assert_eq!(told.count(), 0, "{mode:?}");
            let group = show("vt-2")["group"].clone();
            let setting = "/proc/sys/net/ipv4/conf/vt-2/forwarding";
            for what in ["its group", "its forwarding"] {
                match what {
                    "its group" => drop(ip("link set vt-2 group 7")),
                    _ => fs::write(setting, "0").unwrap(),
                }
                admit().await.unwrap();
                assert_eq!(show("vt-2")["group"], group, "{mode:?}: {what}");
                let forwarding = fs::read_to_string(setting).unwrap();
                assert_eq!(forwarding.trim(), "1", "{mode:?}: {what}");
            }
            end(network, vec![(tenant, netns)]).await;
        });
    }
}
