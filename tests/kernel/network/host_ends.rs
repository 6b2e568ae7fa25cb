//! Which host ends have IPv6: the kernel looks through the host's table of IPv6 at each change of a link.

use std::fs::{self, File};
use std::net::{IpAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};

use tenantd_core::plan::address::Addresses;
use tenantd_core::plan::model::LinkPlan;
use tenantd_host::netns::Netns;
use tenantd_host::network::Network;

use crate::network::firewall::{BOTH, end};
use crate::network::host::{block_on, connect, echo, inside, link, link6, plan, plan6};
use crate::support;

/// Another descriptor of a namespace.
fn again(netns: &Netns) -> Option<Netns> {
    let fd: OwnedFd = netns.as_fd().try_clone_to_owned().unwrap();
    Some(Netns::from_fd(File::from(fd).into()).unwrap())
}

fn setting(link: &LinkPlan) -> String {
    let end = link.host.name.as_str();
    format!("/proc/sys/net/ipv6/conf/{end}/disable_ipv6")
}

fn has_ipv6(link: &LinkPlan) -> bool {
    fs::read_to_string(setting(link)).unwrap().trim() == "0"
}

/// The routes of IPv6 in all tables of the host, by a link whose name begins so.
fn routes(link: &str) -> usize {
    let all = fs::read_to_string("/proc/thread-self/net/ipv6_route").unwrap();
    let links = all
        .lines()
        .filter_map(|line| line.split_whitespace().last());
    links.filter(|name| name.starts_with(link)).count()
}

fn is_served(netns: &Netns, address: IpAddr) {
    let listener = inside(netns, || TcpListener::bind((address, 80)).unwrap());
    echo(listener, connect);
}

fn are_served(netns: &Netns, link: &LinkPlan) {
    link.addresses.iter().for_each(|it| is_served(netns, it));
}

#[test]
fn a_host_end_has_ipv6_if_its_tenant_has_an_ipv6_address() {
    support::enter();
    for mode in BOTH {
        block_on(async {
            let network = Network::open(plan6(mode)).await.unwrap();
            let tenants = [link(mode, 2), link6(mode, 3)];
            let mut made = Vec::new();
            for tenant in tenants {
                let netns = network.provision(tenant.clone()).await.unwrap();
                are_served(&netns, &tenant);
                made.push((tenant, netns));
            }
            assert!(!has_ipv6(&made[0].0), "{mode:?}");
            assert!(has_ipv6(&made[1].0), "{mode:?}");
            end(network, made).await;
        });
    }
}

/// Also where the application has no IPv6 subnet.
#[test]
fn the_table_of_ipv6_does_not_grow_with_the_tenants() {
    support::enter();
    for mode in BOTH {
        block_on(async {
            let network = Network::open(plan(mode)).await.unwrap();
            let mut made = Vec::new();
            for n in 2..7 {
                let tenant = link(mode, n);
                let netns = network.provision(tenant.clone()).await.unwrap();
                are_served(&netns, &tenant);
                made.push((tenant, netns));
            }
            assert_eq!(routes("vt-"), 0, "{mode:?}");
            end(network, made).await;
        });
    }
}

#[test]
fn a_host_end_gets_and_loses_ipv6_with_the_addresses_of_a_running_tenant() {
    support::enter();
    for mode in BOTH {
        block_on(async {
            let network = Network::open(plan6(mode)).await.unwrap();
            let (four, both) = (link(mode, 2), link6(mode, 2));
            let mut six = both.clone();
            six.addresses = Addresses::of(both.addresses.iter().filter(IpAddr::is_ipv6)).unwrap();
            let netns = network.provision(four.clone()).await.unwrap();
            for planned in [&both, &four, &six, &four] {
                let admitted = network.admit(planned.clone(), again(&netns));
                admitted.await.unwrap();
                are_served(&netns, planned);
                let is_wanted = planned.addresses.iter().any(|it| it.is_ipv6());
                assert_eq!(has_ipv6(planned), is_wanted, "{mode:?}: {planned:?}");
            }
            assert_eq!(routes("vt-"), 0, "{mode:?}");
            end(network, vec![(four, netns)]).await;
        });
    }
}

/// An earlier version left IPv6 on for all host ends.
#[test]
fn the_next_supervisor_turns_off_what_an_earlier_one_left_on() {
    support::enter();
    for mode in BOTH {
        block_on(async {
            let network = Network::open(plan6(mode)).await.unwrap();
            let (four, both) = (link(mode, 2), link6(mode, 3));
            let first = network.provision(four.clone()).await.unwrap();
            let second = network.provision(both.clone()).await.unwrap();
            drop(network);
            fs::write(setting(&four), "0").unwrap();
            assert_ne!(routes("vt-2"), 0, "{mode:?}");
            let network = Network::open(plan6(mode)).await.unwrap();
            for (tenant, netns) in [(&four, &first), (&both, &second)] {
                let admitted = network.admit(tenant.clone(), again(netns));
                admitted.await.unwrap();
                are_served(netns, tenant);
            }
            assert!(!has_ipv6(&four), "{mode:?}");
            assert!(has_ipv6(&both), "{mode:?}");
            assert_eq!(routes("vt-2"), 0, "{mode:?}");
            end(network, vec![(four, first), (both, second)]).await;
        });
    }
}
