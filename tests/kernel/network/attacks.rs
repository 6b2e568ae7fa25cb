//! The distribution's tools for attacks on a local network, run inside a tenant with all capabilities there: the guard on
//! its link stops what they send, and without the guard it passes.

use std::process::{Child, Command, Stdio};

use tenantd_core::plan::model::{LinkPlan, Mode, NetworkPlan};
use tenantd_host::netns::Netns;
use tenantd_host::network::Network;

use crate::network::firewall::{BOTH, nft, send_frame, with};
use crate::network::host::{block_on, inside, ip_json, link6, plan6};
use crate::support;

/// What is sent, and how nft(8) tells it from what the tenant may send.
struct Attack {
    words: &'static str,
    is_sent: &'static str,
}

/// `MAC` and `HUB` stand for the MAC address of the tenant and of its gateway.
const ATTACKS: [Attack; 9] = [
    // A neighbour's address, then the gateway's, are said to be at the tenant's MAC address.
    Attack {
        words: "arpspoof -i eth0 10.77.0.3",
        is_sent: "arp saddr ip 10.77.0.3",
    },
    Attack {
        words: "arpspoof -i eth0 -t 10.77.0.1 10.77.0.1",
        is_sent: "arp saddr ip 10.77.0.1",
    },
    Attack {
        words: "atk6-fake_router6 eth0 2001:db8:bad::/64",
        is_sent: "icmpv6 type nd-router-advert",
    },
    Attack {
        words: "atk6-flood_advertise6 eth0",
        is_sent: "icmpv6 type nd-neighbor-advert",
    },
    Attack {
        words: "frame redirect MAC HUB fd00:77::2 fd00:77::1",
        is_sent: "icmpv6 type nd-redirect",
    },
    Attack {
        words: "hping3 --fast -q -2 -p 5000 -a 10.77.0.3 10.77.0.1",
        is_sent: "ip saddr 10.77.0.3",
    },
    Attack {
        words: "hping3 --fast -q -S -p 80 -a 198.51.100.9 10.77.0.1",
        is_sent: "ip saddr 198.51.100.9",
    },
    Attack {
        words: "frame vlan MAC HUB 10.77.0.2 10.77.0.1",
        is_sent: "vlan id 5",
    },
    Attack {
        words: "frame ipv6 02:00:00:00:00:99 HUB fd00:77::2 fd00:77::1",
        is_sent: "ether saddr 02:00:00:00:00:99",
    },
];

/// A tool that runs until it is dropped.
struct Tool(Option<Child>);

impl Tool {
    fn start(netns: &Netns, words: &str) -> Self {
        let words: Vec<&str> = words.split(' ').collect();
        if words[0] == "frame" {
            send_frame(netns, &words[1..]);
            return Self(None);
        }
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        Self(Some(inside(netns, || command.spawn().unwrap())))
    }

    /// Starts again what has ended by itself.
    fn goes_on(&mut self, netns: &Netns, words: &str) {
        if self
            .0
            .as_mut()
            .is_none_or(|it| it.try_wait().unwrap().is_some())
        {
            *self = Self::start(netns, words);
        }
    }
}

impl Drop for Tool {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            // It may have ended.
            let _gone = child.kill();
            child.wait().unwrap();
        }
    }
}

/// The packets of a counter.
pub fn counted(family_table_counter: &str) -> u64 {
    let words = family_table_counter.split(' ');
    let mut command = Command::new("python3");
    let command = command.args(["-c", include_str!("counter.py")]);
    let output = command.args(words).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    let said = String::from_utf8(output.stdout).unwrap();
    said.trim().parse().unwrap()
}

/// Counts what has passed the guard, in a chain that the kernel calls after it.
fn probe(is_sent: &str, device: &str) {
    let hook = format!("{{ type filter hook ingress device \"{device}\" priority -400; }}");
    let steps = format!(
        "add table netdev probe\ndelete table netdev probe\nadd table netdev probe\n\
         add counter netdev probe passed\nadd chain netdev probe after {hook}\n\
         add rule netdev probe after {is_sent} counter name passed\n"
    );
    let output = Command::new("nft").arg(steps).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{is_sent}: {error}");
}

/// The words of an attack by this tenant.
fn words(attack: &Attack, tenant: &LinkPlan, hub: &str) -> String {
    let hub = match tenant.prefix {
        32 => tenant.host.mac.to_string(),
        _ => {
            let hub = ip_json(&format!("link show {hub}")).remove(0);
            hub["address"].as_str().unwrap().to_owned()
        }
    };
    let mac = tenant.tenant.mac.to_string();
    attack.words.replace("MAC", &mac).replace("HUB", &hub)
}

fn passes(attack: &Attack, (tenant, hub): (&LinkPlan, &str), netns: &Netns, is_guarded: bool) {
    let words = words(attack, tenant, hub);
    probe(attack.is_sent, tenant.host.name.as_str());
    let spoofed = || counted("netdev tenantd_wiki spoofed");
    let before = if is_guarded { spoofed() } else { 0 };
    let mut tool = Tool::start(netns, &words);
    support::until(&format!("{words} has sent something"), || {
        tool.goes_on(netns, &words);
        match is_guarded {
            true => spoofed() > before,
            false => counted("netdev probe passed") > 0,
        }
    });
    if is_guarded {
        assert_eq!(counted("netdev probe passed"), 0, "{words}");
    }
}

#[test]
fn the_guard_stops_the_tools_for_attacks_and_without_it_they_pass() {
    support::enter();
    attack_with(plan6, |link| link);
}

/// Attacks in both modes, with these networks and tenants.
pub fn attack_with(plan: impl Fn(Mode) -> NetworkPlan, change: impl Fn(LinkPlan) -> LinkPlan) {
    for mode in BOTH {
        block_on(async {
            let plan = plan(mode);
            let hub = plan.hub.name.as_str();
            let network = Network::open(plan.clone()).await.unwrap();
            let tenant = change(link6(mode, 2));
            let tenant = with(tenant, |traffic| traffic.peers.all = true);
            let other = change(link6(mode, 3));
            let netns = network.provision(tenant.clone()).await.unwrap();
            let neighbour = network.provision(other.clone()).await.unwrap();
            for attack in &ATTACKS {
                passes(attack, (&tenant, hub), &netns, true);
            }
            let known = |mode| {
                let device = if mode == Mode::Routed {
                    other.host.name.as_str()
                } else {
                    hub
                };
                ip_json(&format!("neigh show 10.77.0.3 dev {device}"))
            };
            let entry = known(mode);
            assert_eq!(entry[0]["lladdr"], other.tenant.mac.to_string(), "{mode:?}");
            // Without an owner, another process can take the guard away.
            drop(network);
            support::until("the guard is gone", || {
                let mut delete = Command::new("nft");
                delete.args(["delete", "table", "netdev", "tenantd_wiki"]);
                delete.stderr(Stdio::null()).status().unwrap().success()
            });
            for attack in &ATTACKS {
                passes(attack, (&tenant, hub), &netns, false);
            }
            nft("delete table netdev probe");
            let network = Network::open(plan.clone()).await.unwrap();
            for (link, netns) in [(tenant, netns), (other, neighbour)] {
                network.admit(link.clone(), None).await.unwrap();
                network.release(link, netns.close()).await.unwrap();
            }
            network.close().await.unwrap();
        });
    }
}
