//! The firewall as `verify` reads it, and as nft(8) does, after another process has changed it.

use std::process::Command;

use serde_json::Value;
use tenantd_core::plan::model::{LinkPlan, Mode, NetworkPlan};
use tenantd_core::plan::traffic::{Outbound, Protocol, Service};
use tenantd_host::network::Network;
use tenantd_host::verify;

use crate::network::firewall::{end, nft, with};
use crate::network::host::{block_on, link, plan};
use crate::support;

/// A tenant with an element in each set of IPv4.
fn full(mode: Mode) -> LinkPlan {
    with(link(mode, 2), |traffic| {
        traffic.outbound = Outbound::Nat;
        traffic.egress = vec!["allow 198.51.100.0/25:443/tcp".parse().unwrap()];
        traffic.peers.all = true;
        let peer = link(mode, 3).addresses;
        traffic.peers.named.insert("t3".parse().unwrap(), peer);
        let (port, protocol) = (5432, Protocol::Tcp);
        traffic.host_services.push(Service { port, protocol });
        traffic.publish = ["8080 -> 80", "127.0.0.1:53 -> 53/udp"]
            .map(|text| text.parse().unwrap())
            .into();
    })
}

/// What `verify` says of the firewall: planned and found.
pub fn drifts(network: &NetworkPlan, tenant: &LinkPlan) -> Vec<[String; 2]> {
    // It has a runtime of its own.
    let all = std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let found = verify::firewall(network).unwrap();
            let mut all = verify::shared(network, &found).unwrap();
            all.extend(verify::of_firewall(tenant, &found).unwrap());
            all
        });
        reader.join().unwrap()
    });
    all.into_iter().map(|it| [it.planned, it.found]).collect()
}

/// The elements that bear a comment: family, table, set and the text by which nft names each.
fn elements(mark: &str) -> Vec<(String, String, Value)> {
    let whole: Value = serde_json::from_str(&nft("--json list ruleset")).unwrap();
    let objects = whole["nftables"].as_array().unwrap();
    let sets = objects
        .iter()
        .filter_map(|it| it.get("set").or(it.get("map")));
    let mut found = Vec::new();
    for set in sets {
        for element in set["elem"].as_array().into_iter().flatten() {
            let of = element.get("elem").or_else(|| element[0].get("elem"));
            if of.is_some_and(|of| of["comment"] == mark) {
                let text = |key: &str| set[key].as_str().unwrap().to_owned();
                found.push((text("family"), text("name"), element.clone()));
            }
        }
    }
    found
}

/// Has nft(8) add or delete an element.
fn change(verb: &str, table: &str, (family, set, element): &(String, String, Value)) {
    let object = serde_json::json!({ "nftables": [{ verb: { "element": {
        "family": family, "table": table, "name": set, "elem": [element]
    } } }] });
    let mut command = Command::new("nft");
    let mut child = command
        .args(["-j", "-f", "-"])
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    serde_json::to_writer(&mut input, &object).unwrap();
    drop(input);
    assert!(child.wait().unwrap().success(), "{object}");
}

#[test]
fn an_independent_reader_agrees_with_verify_about_each_element() {
    support::enter();
    for mode in [Mode::Routed, Mode::Bridge] {
        block_on(async {
            let (plan, tenant) = (plan(mode), full(mode));
            let network = Network::open(plan.clone()).await.unwrap();
            let netns = network.provision(tenant.clone()).await.unwrap();
            assert_eq!(drifts(&plan, &tenant), Vec::<[String; 2]>::new());
            let all = elements(&tenant.mark);
            // ok4, arps, own4, egress4, peers4, all4, host4, pub4, any4, self4, masq4.
            assert_eq!(all.len(), 11, "{all:?}");
            drop(network);
            support::until("no process owns the tables", || {
                drifts(&plan, &tenant).len() == 2
            });
            for one in &all {
                change("delete", "tenantd_wiki", one);
                let found = drifts(&plan, &tenant);
                let of = found.iter().filter(|it| it[1] == "missing");
                let of: Vec<_> = of.collect();
                assert_eq!(of.len(), 1, "{one:?}: {found:?}");
                assert!(of[0][0].starts_with(&one.1), "{one:?}: {found:?}");
                change("add", "tenantd_wiki", one);
            }
            no_owner(&drifts(&plan, &tenant), 0);
            nft("add element inet tenantd_wiki all4 { 10.77.0.9 }");
            nft("flush chain inet tenantd_wiki between");
            nft("flush chain netdev tenantd_wiki guard");
            nft("delete element inet tenantd_wiki own4 { 10.77.0.1 }");
            nft("flush chain inet tenantd_wiki list_28a06af07841");
            let found = drifts(&plan, &tenant);
            no_owner(&found, 5);
            for (planned, there) in [
                ("none", "all4 { 10.77.0.9 }"),
                ("chain between with 5 rules", "0 rules"),
                ("chain guard with 7 rules", "0 rules"),
                ("own4 { 10.77.0.1 }", "missing"),
                ("chain list_28a06af07841 with 2 rules", "0 rules"),
            ] {
                let wanted = [planned, there].map(str::to_owned);
                assert!(found.contains(&wanted), "{wanted:?}: {found:?}");
            }
            let network = Network::open(plan.clone()).await.unwrap();
            network.keep(tenant.clone()).await.unwrap();
            // It may not be watched yet.
            while !drifts(&plan, &tenant).is_empty() {
                network.restore().await.unwrap();
            }
            end(network, vec![(tenant, netns)]).await;
        });
    }
}

/// Both tables have no owner, and besides there are so many drifts.
#[track_caller]
fn no_owner(found: &[[String; 2]], others: usize) {
    let unowned = found.iter().filter(|it| it[1].starts_with("no owner"));
    assert_eq!(unowned.count(), 2, "{found:?}");
    assert_eq!(found.len(), 2 + others, "{found:?}");
}

/// Changes that nft(8) makes to tables without an owner: same numbers of rules, same expressions.
const CHANGES: [(&str, &str, &str); 6] = [
    (
        "flush chain inet tenantd_wiki between; add rule inet tenantd_wiki between ip saddr @all4 return; \
         add rule inet tenantd_wiki between ip6 saddr @all6 return; \
         add rule inet tenantd_wiki between ip saddr . ip daddr @self4 return; \
         add rule inet tenantd_wiki between ip6 saddr . ip6 daddr @peers6 return; \
         add rule inet tenantd_wiki between accept",
        "chain between with 5 rules",
        "another rule 3",
    ),
    (
        "flush chain inet tenantd_wiki forwarded; \
         add rule inet tenantd_wiki forwarded iifgroup 1 jump outbound; \
         add rule inet tenantd_wiki forwarded oifgroup 1 jump inbound",
        "chain forwarded with 2 rules",
        "another rule 1",
    ),
    (
        "flush chain inet tenantd_wiki refuse; add rule inet tenantd_wiki refuse counter name denied; \
         add rule inet tenantd_wiki refuse meta l4proto tcp reject with tcp reset; \
         add rule inet tenantd_wiki refuse reject with icmpx port-unreachable",
        "chain refuse with 3 rules",
        "another rule 3",
    ),
    (
        "flush chain inet tenantd_wiki dnat_in; add rule inet tenantd_wiki dnat_in accept",
        "chain dnat_in with 1 rules",
        "another rule 1",
    ),
    (
        "flush chain inet tenantd_wiki list_28a06af07841; \
         add rule inet tenantd_wiki list_28a06af07841 ip daddr 198.51.100.0/25 tcp dport 444 return; \
         add rule inet tenantd_wiki list_28a06af07841 goto refuse",
        "chain list_28a06af07841 with 2 rules",
        "another rule 1",
    ),
    (
        "add chain inet tenantd_wiki input { policy drop; }",
        "chain input with type filter, hook 1, priority -5 and policy accept",
        "type filter, hook 1, priority -5 and policy drop",
    ),
];

#[test]
fn a_rule_with_another_content_is_told_and_mended() {
    support::enter();
    block_on(async {
        let (plan, tenant) = (plan(Mode::Routed), full(Mode::Routed));
        let network = Network::open(plan.clone()).await.unwrap();
        let netns = network.provision(tenant.clone()).await.unwrap();
        drop(network);
        support::until("no process owns the tables", || {
            drifts(&plan, &tenant).len() == 2
        });
        for (words, planned, there) in CHANGES {
            let mut command = Command::new("nft");
            let output = command.arg(words).output().unwrap();
            let error = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{words}: {error}");
            let wanted = [planned, there].map(str::to_owned);
            let found = drifts(&plan, &tenant);
            assert!(found.contains(&wanted), "{wanted:?}: {found:?}");
        }
        no_owner(&drifts(&plan, &tenant), CHANGES.len());
        let network = Network::open(plan.clone()).await.unwrap();
        network.keep(tenant.clone()).await.unwrap();
        // It may not be watched yet.
        while !drifts(&plan, &tenant).is_empty() {
            network.restore().await.unwrap();
        }
        end(network, vec![(tenant, netns)]).await;
    });
}

/// The kernel leaves a chain with so many links out of an answer of the usual size.
#[test]
fn the_guard_of_many_links_is_read() {
    support::enter();
    block_on(async {
        let plan = plan(Mode::Routed);
        let network = Network::open(plan.clone()).await.unwrap();
        let mut tenants = Vec::new();
        let name = |n: u16| format!("vt-tenant-{n:05}");
        for n in 2..252 {
            let mut tenant = link(Mode::Routed, n);
            tenant.host.name = name(n).parse().unwrap();
            let netns = network.provision(tenant.clone()).await.unwrap();
            tenants.push((tenant, netns));
        }
        let last = tenants[249].0.clone();
        assert_eq!(drifts(&plan, &last), Vec::<[String; 2]>::new());
        drop(network);
        support::until("no process owns the tables", || {
            drifts(&plan, &last).len() == 2
        });
        // Another one, without the last link and without rules.
        let devices: Vec<String> = (2..251).map(name).collect();
        let again = format!(
            "flush chain netdev tenantd_wiki guard; delete chain netdev tenantd_wiki guard; \
             add chain netdev tenantd_wiki guard {{ type filter hook ingress devices = {{ {} }} priority -500; }}",
            devices.join(", ")
        );
        assert!(Command::new("nft").arg(again).status().unwrap().success());
        let found = drifts(&plan, &last);
        let wanted = ["guard on vt-tenant-00251", "none"].map(str::to_owned);
        assert!(found.contains(&wanted), "{found:?}");
        let found = drifts(&plan, &tenants[0].0);
        for (planned, there) in [
            ("chain guard with 7 rules", "0 rules"),
            (
                "chain guard with type filter, hook 0, priority -500 and policy drop",
                "type filter, hook 0, priority -500 and policy accept",
            ),
        ] {
            let wanted = [planned, there].map(str::to_owned);
            assert!(found.contains(&wanted), "{wanted:?}: {found:?}");
        }
        no_owner(&found, 2);
        let network = Network::open(plan.clone()).await.unwrap();
        for (tenant, _) in &tenants {
            network.admit(tenant.clone(), None).await.unwrap();
        }
        assert_eq!(drifts(&plan, &last), Vec::<[String; 2]>::new());
        end(network, tenants).await;
    });
}
