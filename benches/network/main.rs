//! What the firewall costs: to publish a port, to start a tenant, for each byte and for each connection.
//!
//! `cargo bench --bench network` needs root, and makes its own test host. `-n 100` starts 100 tenants instead of 1,000.
//! Bytes and connections are measured on one processor that has nothing else to do, so that the time that passes is the
//! time of the processor, that of the kernel's interrupts included. Both ways are measured in turn, and a figure is the
//! median of many rounds: single ones differ by a fifth.

#![allow(unreachable_pub, reason = "the shared modules are private here")]

#[path = "../../tests/kernel/network/host.rs"]
#[allow(dead_code, reason = "the tests of networks use the rest")]
mod host;
#[path = "../cold_start/sheet.rs"]
#[allow(dead_code, reason = "the cold start uses all of it")]
mod sheet;
#[path = "../../tests/support/mod.rs"]
mod support;
mod traffic;

use std::sync::Arc;
use std::time::Instant;

use tenantd_core::plan::model::{Firewall, LinkPlan, Mode, NetworkPlan, TrafficPlan};
use tenantd_core::plan::traffic::Publish;
use tenantd_host::netns::Netns;
use tenantd_host::network::Network;

use host::{block_on, link, plan};
use sheet::Sheet;

/// How many ports are published, by how many tenants.
const PORTS: u16 = 1000;
const PUBLISHERS: u16 = 100;

/// How often a port is added and taken away again.
const ADDED: usize = 100;

/// How often all tenants are started in each way.
const STARTS: usize = 5;

fn main() {
    let mut sheet = Sheet::default();
    support::enter();
    ports(&mut sheet);
    starts(count().unwrap_or(1000), &mut sheet);
    traffic::measure(&mut sheet);
    sheet.print();
}

/// The median.
pub fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

fn publishing(link: &LinkPlan, ports: impl Iterator<Item = u16>) -> LinkPlan {
    let publish = |port: u16| -> Publish { format!("{port} -> 80").parse().unwrap() };
    let traffic = TrafficPlan {
        publish: ports.map(publish).collect(),
        ..TrafficPlan::clone(&link.traffic)
    };
    LinkPlan {
        traffic: Arc::new(traffic),
        ..link.clone()
    }
}

/// The time to publish one port more, in µs.
async fn add(network: &Network, before: &LinkPlan, after: &LinkPlan) -> Vec<f64> {
    let mut took = Vec::new();
    for _ in 0..ADDED {
        let begun = Instant::now();
        network.admit(after.clone(), None).await.unwrap();
        took.push(begun.elapsed().as_secs_f64() * 1e6);
        network.admit(before.clone(), None).await.unwrap();
    }
    took
}

fn ports(sheet: &mut Sheet) {
    block_on(async {
        let network = Network::open(plan(Mode::Routed)).await.unwrap();
        let each = PORTS / PUBLISHERS;
        let first = |n: u16| 10_000 + n * each;
        let mut tenants = Vec::new();
        let mut first_port = Vec::new();
        for n in 0..PUBLISHERS {
            let none = link(Mode::Routed, 2 + n);
            let netns = network.provision(none.clone()).await.unwrap();
            if n == 0 {
                let one = publishing(&none, first(0)..=first(0));
                first_port = add(&network, &none, &one).await;
            }
            // All but the very last one.
            let end = first(n + 1) - u16::from(n + 1 == PUBLISHERS);
            let all = publishing(&none, first(n)..end);
            network.admit(all.clone(), None).await.unwrap();
            tenants.push((all, netns));
        }
        let (before, _) = tenants.last().unwrap();
        let n = PUBLISHERS - 1;
        let after = publishing(before, first(n)..first(n + 1));
        let last_port = add(&network, before, &after).await;
        sheet
            .sampled(
                "1,000th published port, µs (floor: the first)",
                vec![last_port],
            )
            .floors(first_port)
            .goal_over_floor(2.0);
        end(network, tenants).await;
    });
}

async fn end(network: Network, tenants: Vec<(LinkPlan, Netns)>) {
    for (link, netns) in tenants {
        network.release(link, netns.close()).await.unwrap();
    }
    network.close().await.unwrap();
}

/// The time to start a number of tenants, in ms for each.
async fn start(firewall: Firewall, count: u16) -> f64 {
    let plan = NetworkPlan {
        subnet: "10.77.0.0/16".parse().unwrap(),
        firewall,
        ..plan(Mode::Routed)
    };
    let network = Network::open(plan).await.unwrap();
    let begun = Instant::now();
    let mut tenants = Vec::new();
    for n in 0..count {
        let link = link(Mode::Routed, 2 + n);
        let netns = network.provision(link.clone()).await.unwrap();
        tenants.push((link, netns));
    }
    let took = begun.elapsed().as_secs_f64() * 1000.0 / f64::from(count);
    end(network, tenants).await;
    took
}

fn starts(count: u16, sheet: &mut Sheet) {
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for _ in 0..STARTS {
        without.push(block_on(start(Firewall::Off, count)));
        with.push(block_on(start(Firewall::On, count)));
    }
    let goal = median(without.clone()) + 0.3;
    let name = format!("start of {count}, firewall on, ms per tenant");
    sheet.sampled(&name, vec![with]).floors(without).goal(goal);
}

/// The value of `-n COUNT`. Cargo adds `--bench`, which is ignored.
fn count() -> Option<u16> {
    let mut arguments = std::env::args().skip_while(|argument| argument != "-n");
    let count = arguments.nth(1)?;
    Some(count.parse().expect("-n takes a number of tenants"))
}
