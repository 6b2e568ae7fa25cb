//! Other programs of the host change what tenantd made there, under load: a client asks every millisecond.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use tenantd_core::plan::model::{LinkPlan, Mode, NetworkPlan};
use tenantd_core::stage::Stage;
use tenantd_host::netns::Netns;
use tenantd_host::network::{Network, News, Note};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::network::host::{LIMIT, block_on, ip, ip_json, link, link6, plan, plan6, show};
use crate::network::load::Load;
use crate::support;

/// The longest time without an answer. It is a few milliseconds; a machine under load needs more.
const GAP_MAX: Duration = Duration::from_millis(250);

struct Lab {
    network: Network,
    notes: UnboundedReceiver<Note>,
    tenant: LinkPlan,
    netns: Netns,
}

impl Lab {
    async fn new(mode: Mode) -> Self {
        Self::with(plan(mode), link(mode, 2)).await
    }

    async fn with(plan: NetworkPlan, tenant: LinkPlan) -> Self {
        let (noted, notes) = unbounded_channel();
        let network = Network::open_noting(plan, noted).await.unwrap();
        let netns = network.provision(tenant.clone()).await.unwrap();
        Self {
            network,
            notes,
            tenant,
            netns,
        }
    }

    fn address(&self) -> IpAddr {
        let mut all = self.tenant.addresses.iter();
        let of_ipv6 = all.find(IpAddr::is_ipv6);
        of_ipv6.unwrap_or(self.tenant.addresses.first())
    }

    async fn note(&mut self) -> (String, News) {
        let note = tokio::time::timeout(LIMIT, self.notes.recv()).await;
        let note = note.expect("a note comes").unwrap();
        (note.mark, note.news)
    }

    /// Waits until this was mended, and returns all that was.
    async fn mended(&mut self, mark: &str, what: &str) -> Vec<String> {
        let mut all = Vec::new();
        loop {
            let (of, news) = self.note().await;
            let News::Mended(parts) = news else {
                panic!("{of}: {news:?}");
            };
            let is_it = of == mark && parts.iter().any(|part| part == what);
            all.extend(parts);
            if is_it {
                return all;
            }
        }
    }

    async fn close(self) {
        let Self {
            network,
            tenant,
            netns,
            ..
        } = self;
        network.release(tenant, netns.close()).await.unwrap();
        network.close().await.unwrap();
    }
}

pub const TENANT: &str = "tenantd:wiki/t2";
pub const HUB: &str = "tenantd:wiki";

/// Each fault, by the distribution's own program: what is mended, of whom.
fn each_is_mended(mode: Mode, faults: &[(&str, &str, &str)]) {
    each(mode, (plan(mode), link(mode, 2)), faults);
}

/// The same of a tenant with IPv6, with that load.
pub fn each_is_mended_in_ipv6(mode: Mode, faults: &[(&str, &str, &str)]) {
    each(mode, (plan6(mode), link6(mode, 2)), faults);
}

fn each(mode: Mode, (plan, link): (NetworkPlan, LinkPlan), faults: &[(&str, &str, &str)]) {
    support::enter();
    block_on(async {
        let mut lab = Lab::with(plan, link).await;
        for (fault, mark, what) in faults {
            let load = Load::on(&lab.netns, lab.address());
            fault.split("; ").for_each(|words| drop(ip(words)));
            lab.mended(mark, what).await;
            let gap = load.end();
            println!("{mode:?}: ip {fault}: no answer for {gap:?}");
            assert!(gap < GAP_MAX, "ip {fault}: {gap:?}");
            while lab.notes.try_recv().is_ok() {}
        }
        lab.close().await;
    });
}

#[test]
fn what_is_taken_from_a_routed_tenant_is_put_back() {
    each_is_mended(
        Mode::Routed,
        &[
            ("route del 10.77.0.2", TENANT, "the route 10.77.0.2/32"),
            (
                "neigh del 10.77.0.2 dev vt-2",
                TENANT,
                "the neighbour entry of 10.77.0.2",
            ),
            (
                "neigh replace 10.77.0.2 dev vt-2 lladdr 02:02:02:02:02:02 nud permanent",
                TENANT,
                "the neighbour entry of 10.77.0.2",
            ),
            ("link set vt-2 down", TENANT, "the route 10.77.0.2/32"),
            (
                "link set vt-2 down; link set vt-2 up",
                TENANT,
                "the route 10.77.0.2/32",
            ),
            // The firewall would take it for a link of others.
            ("link set vt-2 group 0", TENANT, "the group of vt-2"),
        ],
    );
}

/// All that is told of a permanent entry that is deleted while a packet uses it.
#[test]
fn a_neighbour_that_is_not_permanent_any_longer_is_made_so() {
    each_is_mended(
        Mode::Routed,
        &[(
            "neigh change 10.77.0.2 dev vt-2 nud reachable",
            TENANT,
            "the neighbour entry of 10.77.0.2",
        )],
    );
}

#[test]
fn what_is_changed_at_the_host_end_is_put_back() {
    each_is_mended(
        Mode::Routed,
        &[
            (
                "link set vt-2 address 02:03:03:03:03:03",
                TENANT,
                "the MAC address of vt-2",
            ),
            ("link set vt-2 alias other", TENANT, "the alias of vt-2"),
            (
                "link set vt-2 down; link set vt-2 name other",
                TENANT,
                "the name of vt-2",
            ),
            (
                "link add br9 type bridge; link set vt-2 master br9",
                TENANT,
                "the bridge of vt-2",
            ),
        ],
    );
}

#[test]
fn what_is_taken_from_the_hub_is_put_back() {
    each_is_mended(
        Mode::Routed,
        &[
            ("addr flush dev td-wiki", TENANT, "the route 10.77.0.2/32"),
            ("link set td-wiki down", HUB, "the state up of td-wiki"),
            (
                "link set td-wiki address 02:03:03:03:03:04",
                HUB,
                "the MAC address of td-wiki",
            ),
            ("link set td-wiki alias other", HUB, "the alias of td-wiki"),
            ("link del td-wiki", HUB, "the link td-wiki"),
        ],
    );
}

#[test]
fn what_is_taken_from_a_bridge_is_put_back() {
    each_is_mended(
        Mode::Bridge,
        &[
            ("link set vt-2 nomaster", TENANT, "the bridge of vt-2"),
            (
                "link set vt-2 type bridge_slave isolated off",
                TENANT,
                "the isolation of vt-2",
            ),
            ("link set vt-2 down", TENANT, "the state up of vt-2"),
        ],
    );
}

/// In a lab of its own: what is taken away six times is mended slowly.
#[test]
fn what_is_taken_from_the_hub_of_a_bridge_is_put_back() {
    each_is_mended(
        Mode::Bridge,
        &[
            ("addr flush dev td-wiki", HUB, "the address 10.77.0.1/24"),
            ("link set td-wiki down", HUB, "the state up of td-wiki"),
            ("link del td-wiki", TENANT, "the bridge of vt-2"),
        ],
    );
}

#[test]
fn a_deleted_host_end_is_told() {
    support::enter();
    for mode in [Mode::Routed, Mode::Bridge] {
        block_on(async {
            let mut lab = Lab::new(mode).await;
            ip("link del vt-2");
            let (mark, news) = lab.note().await;
            let News::Lost(why) = news else {
                panic!("{news:?}");
            };
            assert_eq!((mark.as_str(), why.stage), (TENANT, Stage::Linked));
            lab.close().await;
        });
    }
}

#[test]
fn an_end_by_tenantd_is_no_loss_and_its_own_changes_are_no_reason() {
    support::enter();
    for mode in [Mode::Routed, Mode::Bridge] {
        block_on(async {
            let Lab {
                network,
                mut notes,
                tenant,
                netns,
            } = Lab::new(mode).await;
            for n in 3..40 {
                let other = link(mode, n);
                let made = network.provision(other.clone()).await.unwrap();
                network.forget(other.clone()).await.unwrap();
                network.release(other, made.close()).await.unwrap();
            }
            // A change that is handled after all others.
            ip("link set vt-2 alias other");
            let note = tokio::time::timeout(LIMIT, notes.recv())
                .await
                .unwrap()
                .unwrap();
            assert_eq!(
                note.news,
                News::Mended(vec!["the alias of vt-2".to_owned()])
            );
            network.forget(tenant.clone()).await.unwrap();
            network.release(tenant, netns.close()).await.unwrap();
            network.close().await.unwrap();
            assert_eq!(notes.recv().await, None);
        });
    }
}

#[test]
fn a_rule_that_leads_elsewhere_is_told_until_it_is_gone() {
    support::enter();
    block_on(async {
        let mut lab = Lab::new(Mode::Routed).await;
        ip("link add up0 type bridge");
        ip("link set up0 up");
        ip("route add default dev up0 table 77");
        for fault in [
            "rule add to 10.77.0.2 lookup 77",
            "rule add pref 5 lookup 77",
            "rule add pref 5 to 10.77.0.0/24 prohibit",
        ] {
            ip(fault);
            let (mark, news) = lab.note().await;
            let News::Drift(Some(why)) = news else {
                panic!("{fault}: {news:?}");
            };
            assert_eq!(
                (mark.as_str(), why.stage),
                (TENANT, Stage::Route),
                "{fault}"
            );
            let said = why.to_string();
            let expected = match fault.contains("prohibit") {
                true => "a rule or a route of the host refuses it: remove that",
                false => "the host routes it to up0 by table 77: remove that",
            };
            assert!(said.contains(expected), "{fault}: {said}");
            ip(&fault.replace(" add ", " del "));
            assert_eq!(lab.note().await.1, News::Drift(None), "{fault}");
        }
        ip("address add 10.77.0.2/32 dev up0");
        let (_, news) = lab.note().await;
        let News::Drift(Some(why)) = news else {
            panic!("{news:?}");
        };
        assert!(
            why.to_string().contains("the host has this address on up0"),
            "{why}"
        );
        ip("address del 10.77.0.2/32 dev up0");
        assert_eq!(lab.note().await.1, News::Drift(None));
        lab.close().await;
    });
}

#[test]
fn a_program_that_takes_it_away_again_and_again_is_named_once() {
    support::enter();
    block_on(async {
        let mut lab = Lab::new(Mode::Routed).await;
        let mut times = 0;
        loop {
            ip("link set vt-2 alias other");
            times += 1;
            let (_, news) = lab.note().await;
            let parts = vec!["the alias of vt-2".to_owned()];
            assert_eq!(news, News::Mended(parts));
            if times == 6 {
                break;
            }
        }
        let News::Drift(Some(why)) = lab.note().await.1 else {
            panic!("it is said");
        };
        assert!(why.to_string().contains("again and again"), "{why}");
        // Later and later.
        let begun = Instant::now();
        for _ in 0..3 {
            ip("link set vt-2 alias other");
            assert!(matches!(lab.note().await.1, News::Mended(_)));
        }
        let took = begun.elapsed();
        assert!(took > Duration::from_millis(600), "{took:?}");
        lab.close().await;
    });
}

#[test]
fn the_next_supervisor_mends_what_was_changed_meanwhile() {
    support::enter();
    block_on(async {
        let Lab {
            network,
            mut notes,
            tenant,
            netns,
        } = Lab::new(Mode::Routed).await;
        drop(network);
        // Its thread mends what is changed until it ends.
        while notes.recv().await.is_some() {}
        let other = link(Mode::Routed, 3);
        ip("route del 10.77.0.2");
        ip("link set vt-2 alias other");
        let (noted, notes) = unbounded_channel();
        let network = Network::open_noting(plan(Mode::Routed), noted)
            .await
            .unwrap();
        network.keep(tenant.clone()).await.unwrap();
        let mut lab = Lab {
            network,
            notes,
            tenant,
            netns,
        };
        lab.mended(TENANT, "the route 10.77.0.2/32").await;
        assert_eq!(show("vt-2")["ifalias"], TENANT);
        // It is watched from now on.
        ip("route del 10.77.0.2");
        lab.mended(TENANT, "the route 10.77.0.2/32").await;
        assert_eq!(ip_json("route show 10.77.0.2")[0]["dev"], "vt-2");
        lab.network.keep(other).await.unwrap();
        assert!(matches!(lab.note().await.1, News::Lost(_)));
        lab.close().await;
    });
}
