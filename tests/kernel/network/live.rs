//! Addresses that a tenant gets and loses while it runs.

use std::fs::File;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};

use serde_json::Value;
use tenantd_core::plan::address::Addresses;
use tenantd_core::plan::model::{LinkPlan, Mode};
use tenantd_host::netns::Netns;
use tenantd_host::network::Network;

use crate::network::firewall::BOTH;
use crate::network::host::{
    LIMIT, block_on, connect, echo, inside, ip, ip_json, link, link6, plan6,
};
use crate::network::load::Load;
use crate::support;

/// Another descriptor of a namespace.
fn again(netns: &Netns) -> Option<Netns> {
    let fd: OwnedFd = netns.as_fd().try_clone_to_owned().unwrap();
    Some(Netns::from_fd(File::from(fd).into()).unwrap())
}

fn with(link: &LinkPlan, others: &[&str]) -> LinkPlan {
    let others = others.iter().map(|text| text.parse().unwrap());
    LinkPlan {
        addresses: Addresses::new(link.addresses.first(), others.collect()),
        ..link.clone()
    }
}

fn is_served(netns: &Netns, address: IpAddr) {
    echo(
        inside(netns, || TcpListener::bind((address, 80)).unwrap()),
        connect,
    );
}

fn is_refused(address: IpAddr) {
    TcpStream::connect_timeout(&SocketAddr::new(address, 80), LIMIT).unwrap_err();
}

#[test]
fn addresses_come_and_go_without_an_interruption() {
    support::enter();
    for mode in BOTH {
        block_on(async {
            let network = Network::open(plan6(mode)).await.unwrap();
            let tenant = link(mode, 2);
            let netns = network.provision(tenant.clone()).await.unwrap();
            let load = Load::on(&netns, tenant.addresses.first());
            let more = with(&tenant, &["10.77.0.20", "fd00:77::2", "fd00:77::20"]);
            network.admit(more.clone(), again(&netns)).await.unwrap();
            more.addresses
                .iter()
                .for_each(|address| is_served(&netns, address));
            // Some go, one comes.
            let other = with(&tenant, &["fd00:77::20", "10.77.0.21"]);
            network.admit(other.clone(), again(&netns)).await.unwrap();
            other
                .addresses
                .iter()
                .for_each(|address| is_served(&netns, address));
            for gone in ["10.77.0.20", "fd00:77::2"] {
                is_refused(gone.parse().unwrap());
            }
            // What is there is watched, and what is gone is not put back.
            ip("-6 route del fd00:77::20");
            support::until("the route is there again", || {
                !ip_json("-6 route show fd00:77::20").is_empty()
            });
            assert_eq!(
                ip_json("route show 10.77.0.20"),
                [] as [Value; 0],
                "{mode:?}"
            );
            // The next supervisor takes away what its plan does not have.
            drop(network);
            let network = Network::open(plan6(mode)).await.unwrap();
            network.admit(tenant.clone(), again(&netns)).await.unwrap();
            network.keep(tenant.clone()).await.unwrap();
            inside(&netns, || {
                assert_eq!(ip_json("-6 address show dev eth0"), [] as [Value; 0]);
                assert_eq!(
                    ip_json("-4 address show dev eth0")[0]["addr_info"]
                        .as_array()
                        .unwrap()
                        .len(),
                    1
                );
            });
            let longest = load.end();
            assert!(longest.as_millis() < 250, "{mode:?}: {longest:?}");
            network.forget(tenant.clone()).await.unwrap();
            network.release(tenant, netns.close()).await.unwrap();
            network.close().await.unwrap();
            assert_eq!(ip_json("link").len(), 1, "lo alone");
        });
    }
}

#[test]
fn two_tenants_swap_addresses_while_they_run() {
    support::enter();
    for mode in BOTH {
        block_on(async {
            let network = Network::open(plan6(mode)).await.unwrap();
            let (one, two) = (link6(mode, 2), link6(mode, 3));
            let first = network.provision(one.clone()).await.unwrap();
            let second = network.provision(two.clone()).await.unwrap();
            let (mine, other) = (with(&one, &["fd00:77::3"]), with(&two, &["fd00:77::2"]));
            let both = tokio::join!(
                network.admit(mine.clone(), again(&first)),
                network.admit(other.clone(), again(&second)),
            );
            assert_eq!(both, (Ok(()), Ok(())));
            is_served(&first, "fd00:77::3".parse().unwrap());
            is_served(&second, "fd00:77::2".parse().unwrap());
            // A new tenant takes one that a running one loses.
            let new = with(&link(mode, 4), &["fd00:77::3"]);
            let (lost, made) = tokio::join!(
                network.admit(with(&one, &[]), again(&first)),
                network.provision(new.clone()),
            );
            lost.unwrap();
            let third = made.unwrap();
            is_served(&third, "fd00:77::3".parse().unwrap());
            for (link, netns) in [(one, first), (other, second), (new, third)] {
                network.forget(link.clone()).await.unwrap();
                network.release(link, netns.close()).await.unwrap();
            }
            network.close().await.unwrap();
            assert_eq!(ip_json("link").len(), 1, "lo alone");
        });
    }
}

/// The first IPv4 address of a link is the one that the others of its network depend on, unless the kernel promotes them.
#[test]
fn the_loss_of_the_first_ipv4_address_takes_no_other_along() {
    support::enter();
    block_on(async {
        let network = Network::open(plan6(Mode::Bridge)).await.unwrap();
        let tenant = link(Mode::Bridge, 2);
        let all = |texts: &[&str]| {
            let all = texts.iter().map(|text| text.parse().unwrap());
            LinkPlan {
                addresses: Addresses::of(all).unwrap(),
                ..tenant.clone()
            }
        };
        let before = all(&["fd00:77::2", "10.77.0.2", "10.77.0.20"]);
        let netns = network.provision(before).await.unwrap();
        let after = all(&["fd00:77::2", "10.77.0.20"]);
        network.admit(after.clone(), again(&netns)).await.unwrap();
        is_served(&netns, "10.77.0.20".parse().unwrap());
        network.forget(after.clone()).await.unwrap();
        network.release(after, netns.close()).await.unwrap();
        network.close().await.unwrap();
    });
}
