//! Chains of other programs that refuse what tenants may: `doctor` says so with real traffic lost, and what it prints
//! mends it. The chains are made by the programs of the distribution.

use std::io::{BufRead, BufReader, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};

use tenantd_core::plan::model::{EndPlan, LinkPlan, Mode};
use tenantd_core::plan::traffic::{Outbound, Protocol, Service};
use tenantd_host::doctor::{self, Grade, Load};
use tenantd_host::netns::Netns;
use tenantd_host::network::Network;

use crate::network::firewall::{BOTH, Server, address, ask, end, with};
use crate::network::host::{GATEWAY, block_on, inside, link, plan};
use crate::network::outside::{OUTSIDE, UPLINK, outside};
use crate::support;
use crate::support::place::{folder, fresh};

const LOST: Result<String, ErrorKind> = Err(ErrorKind::TimedOut);

/// Runs a command line as a person types it.
fn sh(line: &str) {
    let output = Command::new("sh").args(["-c", line]).output().unwrap();
    assert!(output.status.success(), "{line}: {output:?}");
}

/// The line that mends the only finding.
fn fix() -> String {
    let mut found = doctor::filters();
    assert_eq!(found.len(), 1, "{found:?}");
    let only = found.remove(0);
    assert_eq!(only.grade, Grade::Weak);
    only.fix.unwrap()
}

/// A tenant with traffic to the outside and from there, and a peer of it. Their links have names as in a plan.
struct Pair {
    network: Network,
    tenants: Vec<(LinkPlan, Netns)>,
    _servers: Vec<Server>,
    outside: Netns,
}

impl Pair {
    async fn new(mode: Mode, outside: Netns) -> Self {
        let network = Network::open(plan(mode)).await.unwrap();
        let mut tenants = Vec::new();
        for n in [2, 3] {
            let link = with(link(mode, n), |traffic| {
                traffic.outbound = Outbound::Nat;
                traffic.peers.all = true;
                traffic
                    .publish
                    .push(format!("808{n} -> 80").parse().unwrap());
                let (port, protocol) = (5432, Protocol::Tcp);
                traffic.host_services.push(Service { port, protocol });
            });
            let name = format!("td{n}").parse().unwrap();
            let link = LinkPlan {
                host: EndPlan { name, ..link.host },
                ..link
            };
            let netns = network.provision(link.clone()).await.unwrap();
            tenants.push((link, netns));
        }
        let mut servers = vec![Server::inside(&outside, 80)];
        servers.extend(tenants.iter().map(|(_, netns)| Server::inside(netns, 80)));
        servers.push(Server::new(TcpListener::bind(("0.0.0.0", 5432)).unwrap()));
        Self {
            network,
            tenants,
            _servers: servers,
            outside,
        }
    }

    /// What happens to a connection out, one in, one to a peer, and one to a service of the host.
    fn traffic(&self) -> [Result<String, ErrorKind>; 4] {
        let [(_, first), (two, _)] = &self.tenants[..] else {
            unreachable!("there are two");
        };
        [
            inside(first, || ask((OUTSIDE, 80))),
            inside(&self.outside, || ask((UPLINK, 8082))),
            inside(first, || ask(SocketAddr::new(address(two), 80))),
            inside(first, || ask((GATEWAY, 5432))),
        ]
    }

    fn all_pass(&self) -> bool {
        self.traffic().iter().all(Result::is_ok)
    }

    async fn end(self) {
        drop(self._servers);
        for (link, netns) in self.tenants {
            self.network.release(link, netns.close()).await.unwrap();
        }
        self.network.close().await.unwrap();
    }
}

/// Makes chains, shows that they refuse, and that they do not once the printed line was typed.
fn refuse_until_mended(modes: &[Mode], chains: &str, remove: &str, part: &str) {
    support::enter();
    // Outlives its uses: it is the machine on the uplink.
    let _machine = outside();
    for mode in modes.iter().copied() {
        block_on(async {
            let machine = std::fs::File::open("/run/netns/outside").unwrap();
            let machine = Netns::from_fd(machine.into()).unwrap();
            let pair = Pair::new(mode, machine).await;
            assert!(pair.all_pass(), "{:?}", pair.traffic());
            assert_eq!(doctor::filters(), []);
            sh(chains);
            let [out, back, peer, host] = pair.traffic();
            assert_eq!((out, back, peer), (LOST, LOST, LOST), "{mode:?}");
            assert!(host.is_ok(), "they concern what is forwarded");
            let fix = fix();
            assert!(fix.contains(part), "{fix}");
            sh(&fix);
            assert!(pair.all_pass(), "{mode:?}: {:?}", pair.traffic());
            assert_eq!(doctor::filters(), []);
            sh(remove);
            pair.end().await;
        });
    }
}

const DOCKER: &str = "
    iptables-nft -N DOCKER-USER && iptables-nft -A DOCKER-USER -j RETURN &&
    iptables-nft -A FORWARD -j DOCKER-USER &&
    iptables-nft -A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT &&
    iptables-nft -A FORWARD -i docker0 ! -o docker0 -j ACCEPT && iptables-nft -P FORWARD DROP";

#[test]
fn docker_drops_what_is_forwarded_until_its_chain_for_users_accepts_it() {
    // iptables-nft must be able to read its rules afterwards: with a rule made by nft it could not.
    let remove = "iptables-nft -S DOCKER-USER && nft delete table ip filter";
    refuse_until_mended(
        &BOTH,
        DOCKER,
        remove,
        "iptables-nft -I DOCKER-USER -m devgroup",
    );
}

#[test]
fn iptables_legacy_drops_what_is_forwarded_until_its_chain_accepts_it() {
    let chains =
        "iptables-legacy -A FORWARD -s 203.0.113.0/24 -j ACCEPT && iptables-legacy -P FORWARD DROP";
    let remove = "iptables-legacy -F && iptables-legacy -P FORWARD ACCEPT";
    let part = "iptables-legacy -I FORWARD -m devgroup";
    refuse_until_mended(&[Mode::Routed], chains, remove, part);
    // Docker's chain for users is used there too, and only if it is asked before another refuses.
    sh(
        "iptables-legacy -N DOCKER-USER && iptables-legacy -A DOCKER-USER -j RETURN && \
        iptables-legacy -A FORWARD -j DROP && iptables-legacy -A FORWARD -j DOCKER-USER",
    );
    assert!(fix().contains("-I DOCKER-USER"));
    sh(&fix());
    assert_eq!(doctor::filters().len(), 1);
    sh("iptables-legacy -I FORWARD -j DOCKER-USER");
    assert_eq!(doctor::filters(), []);
}

#[test]
fn a_table_of_an_operator_drops_what_is_forwarded_until_it_accepts_it() {
    let chains = "nft 'table inet mine { chain forward { type filter hook forward priority 10; policy drop; \
                  ct state established,related accept; iifname \"lan0\" accept; }; }'";
    let part = "nft insert rule inet mine forward";
    refuse_until_mended(&[Mode::Routed], chains, "nft delete table inet mine", part);
}

#[test]
fn both_families_are_told() {
    support::enter();
    sh("ip6tables-nft -P FORWARD DROP");
    assert!(fix().starts_with("ip6tables-nft -I FORWARD "));
    sh(&fix());
    assert_eq!(doctor::filters(), []);
    sh("ip6tables-legacy -P FORWARD DROP");
    assert!(fix().starts_with("ip6tables-legacy -I FORWARD "));
    sh(&fix());
    assert_eq!(doctor::filters(), []);
}

#[test]
fn a_table_of_iptables_is_not_made_by_looking_for_it() {
    support::enter();
    assert_eq!(doctor::filters(), []);
    for family in ["ip", "ip6"] {
        let path = format!("/proc/thread-self/net/{family}_tables_names");
        let names = std::fs::read_to_string(path).unwrap();
        assert_eq!(names, "");
    }
}

/// A program that runs until this is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// firewalld, with a bus of its own, in this test host.
fn firewalld() -> [Running; 2] {
    fresh("/etc/firewalld", "mode=755");
    fresh("/var/log", "mode=755");
    folder("/run/dbus");
    let bus = "<busconfig><type>system</type><listen>unix:path=/run/dbus/system_bus_socket</listen>\
               <policy context='default'><allow send_destination='*'/><allow receive_sender='*'/>\
               <allow own='*'/></policy></busconfig>";
    std::fs::write("/run/bus.conf", bus).unwrap();
    let words = [
        "--config-file=/run/bus.conf",
        "--nofork",
        "--nopidfile",
        "--print-address",
    ];
    let mut daemon = Command::new("dbus-daemon")
        .args(words)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // It prints its address when it listens.
    let mut said = String::new();
    let mut out = BufReader::new(daemon.stdout.take().unwrap());
    out.read_line(&mut said).unwrap();
    let daemon = Running(daemon);
    let firewalld = Command::new("firewalld").arg("--nofork").spawn().unwrap();
    let firewalld = Running(firewalld);
    support::until("firewalld runs", || {
        let state = Command::new("firewall-cmd").arg("--state").output();
        state.unwrap().status.success()
    });
    [firewalld, daemon]
}

#[test]
fn firewalld_refuses_what_tenants_send_until_their_links_are_trusted() {
    support::enter();
    let machine = outside();
    block_on(async {
        let pair = Pair::new(Mode::Routed, machine).await;
        assert!(pair.all_pass(), "{:?}", pair.traffic());
        let running = firewalld();
        let [out, back, peer, host] = pair.traffic();
        // By ICMP, which the client takes for a host that cannot be reached.
        let refused = Err(ErrorKind::HostUnreachable);
        assert_eq!(
            (out, peer, host),
            (refused.clone(), refused.clone(), refused)
        );
        assert!(back.is_ok(), "firewalld accepts what was translated");
        let fix = fix();
        assert!(fix.contains("firewall-cmd"), "{fix}");
        sh(&fix);
        assert!(pair.all_pass(), "{:?}", pair.traffic());
        assert_eq!(doctor::filters(), []);
        // It keeps them.
        sh("firewall-cmd --reload");
        assert!(pair.all_pass(), "{:?}", pair.traffic());
        drop(running);
        pair.end().await;
    });
}

#[test]
fn a_tenant_reaches_what_another_publishes_on_its_bridge_once_iptables_sees_no_frames() {
    support::enter();
    let path = "/proc/sys/net/bridge/bridge-nf-call-iptables";
    std::fs::write(path, "1").unwrap();
    let _machine = outside();
    block_on(async {
        let mode = Mode::Bridge;
        let network = Network::open(plan(mode)).await.unwrap();
        let one = with(link(mode, 2), |traffic| {
            traffic.publish.push("8080 -> 80".parse().unwrap());
        });
        let two = link(mode, 3);
        let first = network.provision(one.clone()).await.unwrap();
        let second = network.provision(two.clone()).await.unwrap();
        let server = Server::inside(&first, 80);
        let asked = || inside(&second, || ask((UPLINK, 8080)));
        assert_eq!(asked(), LOST);
        let load = Load {
            tenants: 2,
            bridged: 2,
            published: 1,
            ..Load::default()
        };
        let found = doctor::network(&load);
        let bridges = found.iter().filter(|one| one.subject == "bridges");
        let fixes = bridges.filter_map(|one| one.fix.as_deref());
        let fix = fixes.into_iter().find(|fix| fix.contains("call-iptables"));
        sh(fix.unwrap());
        assert!(asked().is_ok());
        drop(server);
        end(network, vec![(one, first), (two, second)]).await;
    });
}

#[test]
fn forwarding_that_is_off_keeps_others_from_tenants_until_it_is_on() {
    support::enter();
    let machine = outside();
    std::fs::write("/proc/sys/net/ipv4/ip_forward", "0").unwrap();
    block_on(async {
        let pair = Pair::new(Mode::Routed, machine).await;
        let [out, back, peer, host] = pair.traffic();
        assert_eq!(out, LOST);
        assert_ne!(back, Ok(OUTSIDE.to_string()));
        assert!(peer.is_ok() && host.is_ok());
        let load = Load {
            tenants: 2,
            forwarded: 2,
            ..Load::default()
        };
        let found = doctor::network(&load);
        assert_eq!(found.len(), 1, "{found:?}");
        sh(found[0].fix.as_deref().unwrap());
        assert!(pair.all_pass(), "{:?}", pair.traffic());
        pair.end().await;
    });
}
