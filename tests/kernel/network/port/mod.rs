//! Tenants that are ports of a bridge of the host: with a router, a client, and frames on a real switch.

mod faults;
mod guard;
mod lan;

use std::time::{Duration, Instant};

use tenantd_core::plan::model::{LinkPlan, Mode};
use tenantd_core::stage::Stage;
use tenantd_host::netns::Netns;
use tenantd_host::network::{LinkTarget, Network};

use super::macvlan::{changes::again, end, exchanges_datagrams};
use crate::network::host::{block_on, inside, ip, link6, plan6, show};
use lan::{
    BEYOND, CLIENT, CLIENT_MAC, CLIENT6, HOST, HOST6, Lan, ask, at, both, bridged, plan, server,
    shown, tenant, v4,
};

/// How long a first answer may take.
const FIRST_ANSWER: Duration = Duration::from_millis(50);

/// What the host has, but what it learnt of the network.
fn everything() -> Vec<String> {
    let mut all = crate::network::host::everything();
    all.retain(|line| !(line.contains("\"state\":[") && line.contains("\"br0\"")));
    all
}

async fn one(network: &Network) -> (LinkPlan, Netns) {
    let link = tenant(2);
    let netns = network.provision(link.clone()).await.unwrap();
    (link, netns)
}

fn are_served(lan: &Lan, link: &LinkPlan) -> bool {
    let is_served = |it| inside(&lan.client, || ask(at(it, 80))).is_ok();
    both(link).into_iter().all(is_served)
}

#[test]
fn a_tenant_is_a_machine_of_the_network_and_the_bridge_stays_as_it_is() {
    let lan = bridged();
    // They have old addresses for the tenant's, and are told.
    for (family, address) in [("-4", "10.77.0.2"), ("-6", "fd00:77::2")] {
        ip(&format!(
            "-n client {family} neigh replace {address} lladdr 02:0f:0f:0f:0f:0f dev eth0 nud reachable"
        ));
    }
    let (before, bridge) = (everything(), shown());
    block_on(async {
        let network = Network::open(plan()).await.unwrap();
        let (link, netns) = one(&network).await;
        assert_eq!(shown(), bridge);
        let served = server(&netns, 80);
        for (address, client) in both(&link).into_iter().zip([CLIENT, CLIENT6]) {
            let begun = Instant::now();
            assert_eq!(
                inside(&lan.client, || ask(at(address, 80))),
                Ok(client.to_owned())
            );
            assert!(begun.elapsed() < FIRST_ANSWER, "{:?}", begun.elapsed());
            assert!(exchanges_datagrams(&lan.client, &netns, address));
        }
        // The host is a machine of that network.
        for (address, host) in both(&link).into_iter().zip([HOST, HOST6]) {
            assert_eq!(ask(at(address, 80)), Ok(host.to_owned()));
        }
        drop(served);
        let outside = (server(&lan.client, 81), server(&lan.router, 82));
        for (address, own) in [CLIENT, CLIENT6].into_iter().zip(both(&link)) {
            let client = address.parse().unwrap();
            assert_eq!(inside(&netns, || ask(at(client, 81))), Ok(own.to_string()));
            assert!(exchanges_datagrams(&netns, &lan.client, client));
        }
        let own = link.addresses.first().to_string();
        assert_eq!(inside(&netns, || ask(at(v4(BEYOND), 82))), Ok(own));
        drop(outside);
        let eth0 = inside(&netns, || show("eth0"));
        assert_eq!(eth0["address"], link.tenant.mac.to_string());
        let port = show("vt-2");
        let settings = &port["linkinfo"]["info_slave_data"];
        assert_eq!(
            (&port["master"], &settings["isolated"]),
            (&"br0".into(), &true.into())
        );
        end(network, vec![(link, netns)]).await;
    });
    assert_eq!(everything(), before);
    assert_eq!(shown(), bridge);
}

/// Isolation is what keeps them apart: without it they reach each other.
#[test]
fn tenants_do_not_reach_each_other() {
    let lan = bridged();
    block_on(async {
        let network = Network::open(plan()).await.unwrap();
        let mut all = Vec::new();
        for n in [2, 3] {
            let link = tenant(n);
            all.push((link.clone(), network.provision(link).await.unwrap()));
        }
        let served = server(&all[1].1, 80);
        for address in both(&all[1].0) {
            inside(&all[0].1, || ask(at(address, 80))).unwrap_err();
            assert!(inside(&lan.client, || ask(at(address, 80))).is_ok());
        }
        // Nobody mends it.
        drop(network);
        for port in ["vt-2", "vt-3"] {
            ip(&format!("link set {port} type bridge_slave isolated off"));
        }
        ip("-n client neigh flush dev eth0");
        inside(&all[0].1, || ip("neigh flush dev eth0"));
        for address in both(&all[1].0) {
            assert!(inside(&all[0].1, || ask(at(address, 80))).is_ok());
        }
        drop(served);
        let network = Network::open(plan()).await.unwrap();
        end(network, all).await;
    });
}

#[test]
fn an_address_that_another_machine_has_is_not_taken() {
    let _lan = bridged();
    ip("-n client address add 10.77.0.2/24 dev eth0");
    ip("-n client address add fd00:77::3/64 dev eth0 nodad");
    let before = everything();
    block_on(async {
        let network = Network::open(plan()).await.unwrap();
        for n in [2, 3] {
            let why = network.provision(tenant(n)).await.unwrap_err();
            assert_eq!((why.stage, why.errno), (Stage::Address, libc::EADDRINUSE));
            assert!(why.to_string().contains(CLIENT_MAC), "{why}");
        }
        assert_eq!(everything(), before);
        ip("-n client address delete 10.77.0.2/24 dev eth0");
        let made = one(&network).await;
        end(network, vec![made]).await;
    });
}

#[test]
fn the_next_supervisor_finds_the_port_and_another_network_takes_its_place() {
    let lan = bridged();
    let (before, bridge) = (everything(), shown());
    block_on(async {
        let network = Network::open(plan()).await.unwrap();
        let (link, netns) = one(&network).await;
        let served = server(&netns, 80);
        drop(network);
        let network = Network::open(plan()).await.unwrap();
        assert!(!network.is_another());
        let netns = std::sync::Arc::new(netns);
        let target = network.link_target(link.clone(), netns.clone()).await;
        let addresses = Some(link.addresses.clone());
        assert_eq!(target.unwrap(), LinkTarget::Here { addresses });
        // One of a bridge of its own is not this one.
        let target = network.link_target(link6(Mode::Bridge, 2), netns.clone());
        assert_eq!(target.await.unwrap(), LinkTarget::Elsewhere);
        network.keep(link.clone()).await.unwrap();
        let netns = std::sync::Arc::into_inner(netns).unwrap();
        // What was changed while none ran is mended.
        network
            .admit(link.clone(), Some(again(&netns)))
            .await
            .unwrap();
        assert!(are_served(&lan, &link));
        drop(served);
        ip("address flush dev br0");
        network.exchange(plan6(Mode::Bridge));
        network.release(link, netns.close()).await.unwrap();
        let other = link6(Mode::Bridge, 2);
        let netns = network.provision(other.clone()).await.unwrap();
        assert_eq!(show("vt-2")["master"], "td-wiki");
        network.exchange(plan());
        network.release(other, netns.close()).await.unwrap();
        let made = one(&network).await;
        assert_eq!(show("vt-2")["master"], "br0");
        end(network, vec![made]).await;
        ip(&format!("address add {HOST}/24 dev br0"));
        ip(&format!("address add {HOST6}/64 dev br0 nodad"));
    });
    assert_eq!(everything(), before);
    assert_eq!(shown(), bridge);
}
