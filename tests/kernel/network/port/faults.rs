//! What others do to the ports and to the bridge while tenants run.

use tenantd_host::network::{Network, News, Note};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::lan::{bridged, plan, server};
use super::{are_served, one};
use crate::network::host::{block_on, inside, ip, show};
use crate::network::macvlan::changes::next;
use crate::network::macvlan::end;
use crate::support::until;

async fn drift(notes: &mut UnboundedReceiver<Note>) -> String {
    let note = next(notes).await;
    let News::Drift(Some(said)) = note.news else {
        panic!("{note:?}");
    };
    assert_eq!(note.mark, "tenantd:wiki");
    said.to_string()
}

#[test]
fn what_is_taken_from_a_port_is_put_back() {
    let lan = bridged();
    block_on(async {
        let (noted, mut notes) = unbounded_channel();
        let network = Network::open_noting(plan(), noted).await.unwrap();
        let (link, netns) = one(&network).await;
        let served = server(&netns, 80);
        for (words, what) in [
            ("link set vt-2 nomaster", "the bridge of vt-2"),
            ("link set vt-2 down", "the state up of vt-2"),
            (
                "link set vt-2 type bridge_slave isolated off",
                "the isolation of vt-2",
            ),
            ("link set vt-2 alias other", "the alias of vt-2"),
        ] {
            ip(words);
            let note = next(&mut notes).await;
            let News::Mended(mended) = note.news else {
                panic!("{note:?}");
            };
            assert!(mended.iter().any(|it| it == what), "{words}: {mended:?}");
            until("the client is answered", || are_served(&lan, &link));
            let port = show("vt-2");
            assert_eq!(port["master"], "br0");
            assert_eq!(port["linkinfo"]["info_slave_data"]["isolated"], true);
        }
        drop(served);
        end(network, vec![(link, netns)]).await;
    });
}

#[test]
fn a_bridge_that_its_owner_changes_is_told_and_never_changed_back() {
    let lan = bridged();
    block_on(async {
        let (noted, mut notes) = unbounded_channel();
        let network = Network::open_noting(plan(), noted).await.unwrap();
        let (link, netns) = one(&network).await;
        let served = server(&netns, 80);
        ip("link set br0 down");
        assert!(drift(&mut notes).await.contains("`ip link set br0 up`"));
        assert_eq!(show("br0")["operstate"], "DOWN");
        ip("link set br0 up");
        assert_eq!(next(&mut notes).await.news, News::Drift(None));
        until("the client is answered", || are_served(&lan, &link));
        // A link with another name is another one for the manifest; traffic continues.
        ip("link set br0 down");
        assert!(drift(&mut notes).await.contains("down"));
        ip("link set br0 name br9");
        ip("link set br9 up");
        while !drift(&mut notes).await.contains("no such interface") {}
        until("the client is answered", || are_served(&lan, &link));
        ip("link set br9 down");
        ip("link set br9 name br0");
        ip("link set br0 up");
        while next(&mut notes).await.news != News::Drift(None) {}
        // Its owner deletes it, and makes another one.
        ip("link delete br0");
        assert!(drift(&mut notes).await.contains("no such interface"));
        assert_eq!(show("vt-2")["master"], serde_json::Value::Null);
        ip("link add br0 up type bridge mcast_snooping 0");
        ip("link set eth0 master br0");
        let mut all = vec![next(&mut notes).await.news, next(&mut notes).await.news];
        all.retain(|news| *news != News::Drift(None));
        assert!(
            matches!(&all[..], [News::Mended(what)] if what[0] == "the bridge of vt-2"),
            "{all:?}"
        );
        until("the client is answered", || are_served(&lan, &link));
        // What is no bridge is not used, and not touched.
        drop(served);
        end(network, vec![(link, netns)]).await;
        ip("link delete br0");
        ip("link add br0 up type veth peer name br1");
        let network = Network::open(plan()).await.unwrap();
        let why = network.provision(super::tenant(2)).await.unwrap_err();
        assert!(why.to_string().contains("it is no bridge"), "{why}");
        end(network, vec![]).await;
        assert!(inside(&lan.client, || ip("link show eth0")).contains("UP"));
    });
}
