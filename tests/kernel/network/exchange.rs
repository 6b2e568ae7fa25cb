//! A network that is exchanged for another one, once its tenants are released.

use std::net::{Ipv4Addr, SocketAddr};

use tenantd_core::plan::model::{Firewall, LinkPlan, Mode, NetworkPlan};
use tenantd_core::stage::Stage;
use tenantd_host::network::{Network, Question};

use crate::network::firewall::{Server, ask, end, nft};
use crate::network::host::{block_on, everything, ip, link, plan};
use crate::support;

const OTHER: Ipv4Addr = Ipv4Addr::new(10, 78, 0, 1);

fn other(mode: Mode) -> NetworkPlan {
    NetworkPlan {
        subnet: "10.78.0.0/24".parse().unwrap(),
        gateway: OTHER,
        ..plan(mode)
    }
}

fn moved(link: LinkPlan) -> LinkPlan {
    LinkPlan {
        addresses: Ipv4Addr::new(10, 78, 0, 9).into(),
        ..link
    }
}

#[test]
fn a_provision_waits_until_the_tenants_of_the_former_network_are_released() {
    support::enter();
    let before = everything();
    for (from, to) in [
        (Mode::Routed, Mode::Routed),
        (Mode::Routed, Mode::Bridge),
        (Mode::Bridge, Mode::Routed),
    ] {
        block_on(async {
            let network = Network::open(plan(from)).await.unwrap();
            let (one, two) = (link(from, 2), moved(link(to, 3)));
            let first = network.provision(one.clone()).await.unwrap();
            let server = Server::inside(&first, 80);
            let early = network.generation();
            network.exchange(other(to));
            let mut next = Box::pin(network.provision(two.clone()));
            // What was planned before is not for the next one.
            let late = link(from, 4);
            let third = network.provision_in(late.clone(), (early, Question::Ask));
            let third = tokio::select! {
                biased;
                next = &mut next => panic!("it does not wait: {next:?}"),
                third = third => third.unwrap(),
            };
            assert!(ask((Ipv4Addr::new(10, 77, 0, 2), 80)).is_ok(), "{from:?}");
            drop(server);
            network.release(late, third.close()).await.unwrap();
            network.release(one, first.close()).await.unwrap();
            let second = next.await.unwrap();
            let server = Server::inside(&second, 80);
            let said = ask(SocketAddr::new(two.addresses.first(), 80));
            assert_eq!(said, Ok(OTHER.to_string()), "{to:?}");
            drop(server);
            let late = network
                .provision_in(link(from, 4), (early, Question::Ask))
                .await
                .unwrap_err();
            assert_eq!(late.stage, Stage::Link);
            let all = ip("route show table all") + &ip("address show");
            assert!(!all.contains("10.77."), "{all}");
            end(network, vec![(two, second)]).await;
            assert_eq!(everything(), before, "{from:?} to {to:?}");
        });
    }
}

#[test]
fn a_network_that_cannot_be_made_is_tried_again_by_the_next_provision() {
    support::enter();
    let before = everything();
    block_on(async {
        let network = Network::open(plan(Mode::Routed)).await.unwrap();
        ip("link add other type bridge");
        ip("address add 10.78.0.1/32 dev other");
        network.exchange(NetworkPlan {
            firewall: Firewall::Off,
            ..other(Mode::Routed)
        });
        let two = moved(link(Mode::Routed, 3));
        let why = network.provision(two.clone()).await.unwrap_err();
        assert_eq!((why.stage, why.errno), (Stage::Address, libc::EADDRINUSE));
        // The former one is there again, with all that belongs to it.
        assert!(ip("address show dev td-wiki").contains("10.77.0.1/32"));
        assert!(nft("list tables").contains("tenantd_wiki"));
        ip("link delete other");
        let second = network.provision(two.clone()).await.unwrap();
        let server = Server::inside(&second, 80);
        assert!(ask(SocketAddr::new(two.addresses.first(), 80)).is_ok());
        drop(server);
        end(network, vec![(two, second)]).await;
        assert_eq!(everything(), before);
    });
}
