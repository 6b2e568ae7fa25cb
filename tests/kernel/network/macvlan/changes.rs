//! What changes while tenants run: their addresses, their supervisor, the parent, and the mode.

use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use tenantd_core::plan::address::Addresses;
use tenantd_core::plan::model::{LinkPlan, Mode};
use tenantd_core::stage::Stage;
use tenantd_host::netns::Netns;
use tenantd_host::network::{LinkTarget, Network, News, Note};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::end;
use super::lan::{Lan, ask, at, both, plan, server, tenant};
use crate::network::host::{LIMIT, block_on, everything, inside, ip, link6, plan6, show};

/// Another descriptor of a namespace.
pub fn again(netns: &Netns) -> Netns {
    let fd: OwnedFd = netns.as_fd().try_clone_to_owned().unwrap();
    Netns::from_fd(fd).unwrap()
}

fn is_served(lan: &Lan, address: IpAddr) -> bool {
    inside(&lan.client, || ask(at(address, 80))).is_ok()
}

#[test]
fn addresses_come_and_go_while_a_tenant_runs() {
    let lan = Lan::new();
    block_on(async {
        let network = Network::open(plan()).await.unwrap();
        let link = tenant(2);
        let netns = network.provision(link.clone()).await.unwrap();
        let served = server(&netns, 80);
        let more = ["10.77.0.20", "fd00:77::20"].map(|text| text.parse::<IpAddr>().unwrap());
        let all = link.addresses.iter().chain(more);
        let wider = LinkPlan {
            addresses: Addresses::of(all).unwrap(),
            ..link.clone()
        };
        network
            .admit(wider.clone(), Some(again(&netns)))
            .await
            .unwrap();
        assert!(
            wider
                .addresses
                .iter()
                .all(|address| is_served(&lan, address))
        );
        network
            .admit(link.clone(), Some(again(&netns)))
            .await
            .unwrap();
        assert!(
            both(&link)
                .into_iter()
                .all(|address| is_served(&lan, address))
        );
        assert!(!more.into_iter().any(|address| is_served(&lan, address)));
        // One that another machine has meanwhile is not taken.
        ip("-n client address add 10.77.0.20/24 dev eth0");
        let why = network.admit(wider, Some(again(&netns))).await.unwrap_err();
        assert_eq!((why.stage, why.errno), (Stage::Address, libc::EADDRINUSE));
        drop(served);
        end(network, vec![(link, netns)]).await;
    });
}

#[test]
fn the_next_supervisor_finds_the_link_by_its_mark() {
    let lan = Lan::new();
    let before = everything();
    block_on(async {
        let network = Network::open(plan()).await.unwrap();
        let link = tenant(2);
        let netns = Arc::new(network.provision(link.clone()).await.unwrap());
        let served = server(&netns, 80);
        drop(network);
        assert!(is_served(&lan, link.addresses.first()));
        let network = Network::open(plan()).await.unwrap();
        assert!(!network.is_another());
        let target = network.link_target(link.clone(), Arc::clone(&netns));
        let addresses = Some(link.addresses.clone());
        assert_eq!(target.await.unwrap(), LinkTarget::Here { addresses });
        // One of another mode is not this one.
        let other = link6(Mode::Routed, 2);
        let target = network.link_target(other, Arc::clone(&netns));
        assert_eq!(target.await.unwrap(), LinkTarget::Elsewhere);
        network.keep(link.clone()).await.unwrap();
        let netns = Arc::into_inner(netns).unwrap();
        network
            .admit(link.clone(), Some(again(&netns)))
            .await
            .unwrap();
        assert!(
            both(&link)
                .into_iter()
                .all(|address| is_served(&lan, address))
        );
        drop(served);
        end(network, vec![(link, netns)]).await;
    });
    assert_eq!(everything(), before);
}

pub async fn next(notes: &mut UnboundedReceiver<Note>) -> Note {
    let note = tokio::time::timeout(LIMIT, notes.recv()).await;
    note.expect("a note comes").unwrap()
}

#[test]
fn a_parent_that_goes_is_noticed() {
    let lan = Lan::new();
    block_on(async {
        let (noted, mut notes) = unbounded_channel();
        let network = Network::open_noting(plan(), noted).await.unwrap();
        let link = tenant(2);
        let netns = network.provision(link.clone()).await.unwrap();
        let served = server(&netns, 80);
        for (down, up, why) in [
            ("link set eth0 down", "link set eth0 up", "it is down"),
            (
                "-n router link set p0 down",
                "-n router link set p0 up",
                "it has no carrier",
            ),
        ] {
            ip(down);
            let note = next(&mut notes).await;
            let News::Drift(Some(said)) = note.news else {
                panic!("{note:?}");
            };
            assert!(said.to_string().contains(why), "{said}");
            ip(up);
            let mut news = next(&mut notes).await.news;
            // A link that is up has a carrier a moment later.
            while let News::Drift(Some(_)) = news {
                news = next(&mut notes).await.news;
            }
            assert_eq!(news, News::Drift(None));
            crate::support::until("the client is answered", || {
                both(&link)
                    .into_iter()
                    .all(|address| is_served(&lan, address))
            });
        }
        // The end with the mark carries nothing.
        ip("link set vt-2 up");
        let note = next(&mut notes).await;
        let mended = News::Mended(vec!["the state down of vt-2".to_owned()]);
        assert_eq!((note.mark.as_str(), note.news), ("tenantd:wiki/t2", mended));
        ip("address add 10.77.0.2/32 dev lo");
        let News::Drift(Some(said)) = next(&mut notes).await.news else {
            panic!("the host has the address");
        };
        assert!(
            said.to_string().contains("the host has this address on lo"),
            "{said}"
        );
        ip("address delete 10.77.0.2/32 dev lo");
        assert_eq!(next(&mut notes).await.news, News::Drift(None));
        drop(served);
        end(network, vec![(link, netns)]).await;
    });
}

#[test]
fn a_parent_that_is_deleted_takes_the_links_with_it() {
    let lan = Lan::new();
    block_on(async {
        let (noted, mut notes) = unbounded_channel();
        let network = Network::open_noting(plan(), noted).await.unwrap();
        let link = tenant(2);
        let netns = network.provision(link.clone()).await.unwrap();
        ip("link delete eth0");
        let mut all = vec![next(&mut notes).await.news, next(&mut notes).await.news];
        all.sort_by_key(|news| matches!(news, News::Lost(_)));
        assert!(matches!(all[0], News::Drift(Some(_))), "{all:?}");
        let News::Lost(said) = &all[1] else {
            panic!("{all:?}");
        };
        assert!(said.to_string().contains("with its parent"), "{said}");
        // It comes again, with another index.
        network.forget(link.clone()).await.unwrap();
        network.release(link.clone(), netns.close()).await.unwrap();
        ip("link add eth0 type veth peer name p0 netns router");
        ip("-n router link set p0 master sw up");
        ip("link set eth0 up");
        while next(&mut notes).await.news != News::Drift(None) {}
        let netns = network.provision(link.clone()).await.unwrap();
        let served = server(&netns, 80);
        crate::support::until("the client is answered", || {
            is_served(&lan, link.addresses.first())
        });
        drop(served);
        end(network, vec![(link, netns)]).await;
    });
}

#[test]
fn the_mode_changes_once_all_tenants_are_released() {
    let lan = Lan::new();
    ip("address flush dev eth0");
    let before = everything();
    block_on(async {
        let routed = plan6(Mode::Routed);
        let network = Network::open(routed.clone()).await.unwrap();
        let one = link6(Mode::Routed, 2);
        let first = network.provision(one.clone()).await.unwrap();
        network.exchange(plan());
        network.release(one, first.close()).await.unwrap();
        let two = tenant(2);
        let second = network.provision(two.clone()).await.unwrap();
        let served = server(&second, 80);
        assert!(
            both(&two)
                .into_iter()
                .all(|address| is_served(&lan, address))
        );
        assert_eq!(crate::network::firewall::nft("list tables"), "");
        assert_eq!(show("vt-2")["operstate"], "DOWN");
        drop(served);
        network.exchange(routed.clone());
        network.release(two, second.close()).await.unwrap();
        let one = link6(Mode::Routed, 2);
        let first = network.provision(one.clone()).await.unwrap();
        let served = server(&first, 80);
        assert!(ask(at(one.addresses.first(), 80)).is_ok());
        drop(served);
        // The manifest was changed while no supervisor ran.
        drop(network);
        let network = Network::open(plan()).await.unwrap();
        assert!(network.is_another());
        network.release(one, first.close()).await.unwrap();
        end(network, vec![]).await;
    });
    assert_eq!(everything(), before);
}
