//! What other programs of the host take from the uplink, and what a supervisor that died has left there.

use std::time::Duration;

use tenantd_host::netns::Netns;
use tenantd_host::network::{Network, News, Note, residue};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::network::firewall::{end, nft};
use crate::network::host::{LIMIT, block_on, ip};
use crate::network::uplink::{
    TENANT4, TENANT6, again, are_nobodys, connects, is_nobodys, member, office, uplinked,
};
use crate::support;

/// The note in which this was mended; others may come before.
async fn mended(notes: &mut UnboundedReceiver<Note>, what: &str) {
    let found = async {
        while let Some(note) = notes.recv().await {
            if let News::Mended(parts) = &note.news
                && parts.iter().any(|part| part == what)
            {
                return;
            }
        }
    };
    let waited = tokio::time::timeout(LIMIT, found).await;
    waited.unwrap_or_else(|_| panic!("{what} is not mended"));
}

/// Waits for a drift, and returns it.
async fn drift(notes: &mut UnboundedReceiver<Note>) -> Option<String> {
    loop {
        let note = tokio::time::timeout(LIMIT, notes.recv()).await;
        let note = note.expect("a note comes").unwrap();
        if let News::Drift(why) = note.news {
            return why.map(|why| why.to_string());
        }
    }
}

/// What nobody listens for is refused by the tenant: it is reached.
fn is_reached(client: &Netns, address: &str) {
    let found = connects(client, address);
    assert_eq!(
        found,
        Err(std::io::ErrorKind::ConnectionRefused),
        "{address}"
    );
}

#[test]
fn what_is_taken_from_the_uplink_is_put_back() {
    let client = office();
    block_on(async {
        let (noted, mut notes) = unbounded_channel();
        let network = Network::open_noting(uplinked(true), noted).await.unwrap();
        let tenant = member(2, &[TENANT4, TENANT6]);
        let netns = network.provision(tenant.clone()).await.unwrap();
        let both = [TENANT4, TENANT6];
        both.iter().for_each(|it| is_reached(&client, it));
        for (faults, back) in [
            (
                "link set up0 down; link set up0 up",
                "address add 2001:db8::1/64 dev up0 nodad",
            ),
            (
                "-4 address flush dev up0",
                "address add 192.0.2.1/24 dev up0",
            ),
        ] {
            faults.split("; ").for_each(|words| drop(ip(words)));
            mended(&mut notes, &format!("the proxy entry of {TENANT4} on up0")).await;
            let all = ip("neigh show proxy");
            assert!(both.iter().all(|it| all.contains(it)), "{faults}: {all}");
            ip(back);
            ip("-n client neigh flush all");
            both.iter().for_each(|it| is_reached(&client, it));
        }
        // The kernel does not tell of this: it is found by `verify`, and mended on request.
        ip(&format!("neigh del proxy {TENANT4} dev up0"));
        ip("-n client neigh flush all");
        assert!(is_nobodys(&client, TENANT4));
        network
            .repair(tenant.clone(), again(&netns).unwrap())
            .await
            .unwrap();
        ip("-n client neigh flush all");
        is_reached(&client, TENANT4);
        end(network, vec![(tenant, netns)]).await;
    });
}

#[test]
fn an_uplink_that_is_deleted_is_drift_until_it_is_there_again() {
    let client = office();
    block_on(async {
        let (noted, mut notes) = unbounded_channel();
        let network = Network::open_noting(uplinked(true), noted).await.unwrap();
        let tenant = member(2, &[TENANT4]);
        let netns = network.provision(tenant.clone()).await.unwrap();
        is_reached(&client, TENANT4);
        ip("link del up0");
        let why = drift(&mut notes).await.expect("it differs");
        assert!(why.contains("the host has no such interface"), "{why}");
        ip("link add up0 type veth peer name port0 netns client");
        assert_eq!(drift(&mut notes).await, None);
        mended(&mut notes, &format!("the proxy entry of {TENANT4} on up0")).await;
        ip("-n client link set port0 master br0 up");
        ip("address add 192.0.2.1/24 dev up0");
        ip("link set up0 up");
        support::until("the client is answered", || {
            ip("-n client neigh flush all");
            connects(&client, TENANT4).is_err_and(|it| it == std::io::ErrorKind::ConnectionRefused)
        });
        let chain = nft("list chain netdev tenantd_wiki asked_up0");
        assert!(chain.contains("up0"), "{chain}");
        for _ in 0..3 {
            ip("-n client neigh flush all");
            let begun = std::time::Instant::now();
            is_reached(&client, TENANT4);
            // Not after the kernel's own delay.
            assert!(
                begun.elapsed() < Duration::from_millis(80),
                "{:?}",
                begun.elapsed()
            );
        }
        end(network, vec![(tenant, netns)]).await;
    });
}

#[test]
fn what_a_supervisor_that_died_has_left_is_kept_for_tenants_that_live_and_removed_for_others() {
    let client = office();
    // Another program's, for an address that nobody has.
    ip("neigh add proxy 192.0.2.77 dev up0");
    block_on(async {
        let network = Network::open(uplinked(true)).await.unwrap();
        let (lives, dies) = (member(2, &[TENANT4]), member(3, &["192.0.2.51", TENANT6]));
        let netns = network.provision(lives.clone()).await.unwrap();
        let gone = network.provision(dies.clone()).await.unwrap();
        drop(network);
        drop(gone);
        support::until("its link is gone", || !ip("link show").contains("vt-3"));
        assert_eq!(ip("neigh show proxy").lines().count(), 4);
        is_reached(&client, TENANT4);
        let (noted, mut notes) = unbounded_channel();
        let network = Network::open_noting(uplinked(true), noted).await.unwrap();
        let left = ip("neigh show proxy");
        assert!(
            left.contains("192.0.2.77") && left.contains(TENANT4),
            "{left}"
        );
        assert_eq!(left.lines().count(), 2, "{left}");
        are_nobodys(&client, &["192.0.2.51", TENANT6]);
        // An adoption puts back what is missing, and asks nobody.
        ip(&format!("neigh del proxy {TENANT4} dev up0"));
        let begun = std::time::Instant::now();
        network.keep(lives.clone()).await.unwrap();
        mended(&mut notes, &format!("the proxy entry of {TENANT4} on up0")).await;
        assert!(
            begun.elapsed() < Duration::from_millis(250),
            "{:?}",
            begun.elapsed()
        );
        is_reached(&client, TENANT4);
        let marks = [lives.mark.clone()];
        network.retain(marks.into()).await.unwrap();
        end(network, vec![(lives, netns)]).await;
    });
    assert_eq!(ip("neigh show proxy").trim(), "192.0.2.77 dev up0 proxy");
}

#[test]
fn gc_removes_the_entries_of_tenants_that_are_gone() {
    let client = office();
    block_on(async {
        let network = Network::open(uplinked(true)).await.unwrap();
        let tenant = member(2, &[TENANT4, TENANT6]);
        let netns = network.provision(tenant).await.unwrap();
        is_reached(&client, TENANT4);
        drop(network);
        drop(netns);
        support::until("its link is gone", || !ip("link show").contains("vt-2"));
    });
    assert_eq!(ip("neigh show proxy").lines().count(), 2);
    let app = "wiki".parse().unwrap();
    let found = residue::survey(&app, &std::collections::BTreeSet::new()).unwrap();
    assert_eq!(found.ours.len(), 1, "the hub: {found:?}");
    for link in &found.ours {
        assert!(link.is_there().unwrap(), "{link:?}");
        residue::remove(link).unwrap();
        assert!(!link.is_there().unwrap(), "{link:?}");
    }
    assert_eq!(ip("neigh show proxy"), "");
    are_nobodys(&client, &[TENANT4, TENANT6]);
}
