//! The guard on all links with the names of host ends, which an application has as of more tenants than one chain can
//! name. Here it has it as of the first one.

use std::net::UdpSocket;
use std::process::Command;

use tenantd_core::plan::derive;
use tenantd_core::plan::model::{LinkPlan, Mode, NetworkPlan};
use tenantd_core::plan::traffic::Outbound;
use tenantd_host::network::Network;

use crate::network::adopted::{named, transactions};
use crate::network::attacks::{attack_with, counted};
use crate::network::firewall::{Server, address, ask, end, forged, send_frame, with};
use crate::network::host::{LIMIT, block_on, inside, ip, plan, plan6};
use crate::network::verify::drifts;
use crate::support;

/// The number of tenants that one chain names, in builds with debug assertions.
const NAMED: &str = "TENANTD_NAMED_GUARDS=0";

/// Runs a test of this module with the guard by a prefix. In the network namespace of the caller, if that has one.
fn by_prefix(test: &str) {
    let mut before = Command::new("env");
    let passes = support::passes_alone(&format!("network::prefix::{test}"), before.arg(NAMED));
    assert!(passes, "{test}");
}

/// A hub has another prefix than host ends.
fn with_hub(plan: NetworkPlan) -> NetworkPlan {
    let app = derive::hub(&"wiki".parse().unwrap());
    NetworkPlan { hub: app, ..plan }
}

/// The chains for frames, with their devices.
fn chains(table: &str) -> Vec<String> {
    let script = include_str!("chains.py");
    let output = Command::new("python3").args(["-c", script, table]).output();
    let text = String::from_utf8(output.unwrap().stdout).unwrap();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn forged_frames_are_dropped() {
    by_prefix("forged_frames");
}

#[test]
#[ignore = "another test runs it"]
fn forged_frames() {
    support::enter();
    block_on(async {
        let plan = with_hub(plan(Mode::Routed));
        assert_eq!(forged(plan, named).await, 0);
    });
}

#[test]
fn the_tools_for_attacks_are_stopped() {
    by_prefix("attacks");
}

#[test]
#[ignore = "another test runs it"]
fn attacks() {
    support::enter();
    let named = |mut link: LinkPlan| {
        let (app, tenant) = derive::of_link_mark(&link.mark).unwrap();
        link.host.name = derive::host_end(derive::tenant_hash(&app, &tenant)).name;
        link
    };
    attack_with(|mode| with_hub(plan6(mode)), named);
}

/// A link of this application is guarded before any tenant is admitted to it; one of others with such a name is not, and
/// neither is one that is renamed and has another name then.
#[test]
fn links_are_guarded_from_their_first_moment_and_those_of_others_pass() {
    by_prefix("from_the_first_moment");
}

/// Makes a link to another network namespace, from which datagrams come. It is made there, and moves in.
fn foreign(name: &str, n: u8, group: u32) {
    let here = nix::unistd::gettid();
    for words in [
        format!("netns add other{n}"),
        format!("-n other{n} link add {name} type veth peer name eth0"),
        format!("-n other{n} link set {name} netns {here}"),
        format!("link set {name} group {group}"),
    ] {
        ip(&words);
    }
    for words in [
        format!("address add 192.0.2.{n}/32 peer 192.0.2.1{n}/32 dev {name}"),
        format!("link set {name} up"),
        format!("-n other{n} address add 192.0.2.1{n}/32 peer 192.0.2.{n}/32 dev eth0"),
        format!("-n other{n} link set eth0 up"),
    ] {
        ip(&words);
    }
}

/// Has that network namespace send a datagram to the host.
fn send(n: u8) {
    let script = "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)";
    let script = format!("{script}; s.sendto(b'{n}', ('192.0.2.{n}', 5000))");
    let mut command = Command::new("ip");
    let command = command.args([
        "netns",
        "exec",
        &format!("other{n}"),
        "python3",
        "-c",
        &script,
    ]);
    assert!(command.status().unwrap().success());
}

fn arrives(receiver: &UdpSocket, n: u8) {
    send(n);
    let mut buffer = [0; 8];
    let (length, _) = receiver.recv_from(&mut buffer).unwrap();
    assert_eq!(buffer[..length], *n.to_string().as_bytes());
}

/// Waits until what it sends is dropped, perhaps a question for the host's MAC address.
fn is_dropped(receiver: &UdpSocket, n: u8) {
    let spoofed = || counted("netdev tenantd_wiki spoofed");
    let before = spoofed();
    send(n);
    support::until("it is dropped", || spoofed() > before);
    receiver.set_nonblocking(true).unwrap();
    assert!(receiver.recv_from(&mut [0; 8]).is_err());
    receiver.set_nonblocking(false).unwrap();
}

#[test]
#[ignore = "another test runs it"]
fn from_the_first_moment() {
    support::enter();
    block_on(async {
        let plan = with_hub(plan(Mode::Routed));
        foreign("td0000000000a1", 1, 0);
        let network = Network::open(plan.clone()).await.unwrap();
        let tenant = named(2);
        let netns = network.provision(tenant.clone()).await.unwrap();
        assert_eq!(chains("tenantd_wiki"), ["guard_all td*"]);
        assert_eq!(drifts(&plan, &tenant), Vec::<[String; 2]>::new());
        foreign("td0000000000a2", 2, 0);
        foreign("td0000000000a3", 3, derive::group("tenantd:shop"));
        foreign("td0000000000a4", 4, plan.group());
        let receiver = UdpSocket::bind(("0.0.0.0", 5000)).unwrap();
        receiver.set_read_timeout(Some(LIMIT)).unwrap();
        [1, 2, 3].into_iter().for_each(|n| arrives(&receiver, n));
        is_dropped(&receiver, 4);
        // The kernel follows the name.
        let rename = |from: &str, to: &str| {
            for words in [
                format!("link set {from} down"),
                format!("link set {from} name {to}"),
                format!("link set {to} up"),
                format!("address replace 192.0.2.4/32 peer 192.0.2.14/32 dev {to}"),
            ] {
                ip(&words);
            }
        };
        rename("td0000000000a4", "x4");
        // Of the other rules of the application it knows nothing.
        let denied = || counted("inet tenantd_wiki denied");
        let before = denied();
        send(4);
        support::until("it passes the guard", || denied() > before);
        rename("x4", "td0000000000a4");
        is_dropped(&receiver, 4);
        end(network, vec![(tenant, netns)]).await;
        for n in 1..=4 {
            ip(&format!("netns delete other{n}"));
        }
    });
}

#[test]
fn two_applications_guard_their_own_links() {
    by_prefix("two_applications");
}

/// A plan and a tenant of another application.
fn of_shop() -> (NetworkPlan, LinkPlan) {
    let mut other = plan(Mode::Routed);
    other.subnet = "10.78.0.0/24".parse().unwrap();
    other.gateway = [10, 78, 0, 1].into();
    other.hub = derive::hub(&"shop".parse().unwrap());
    other.mark = "tenantd:shop".into();
    let mut tenant = named(2);
    tenant.mark = "tenantd:shop/t2".into();
    let hash = derive::tenant_hash(&"shop".parse().unwrap(), &"t2".parse().unwrap());
    tenant.host = derive::host_end(hash);
    tenant.tenant = derive::tenant_end(hash);
    tenant.addresses = std::net::Ipv4Addr::new(10, 78, 0, 2).into();
    (other, tenant)
}

#[test]
#[ignore = "another test runs it"]
fn two_applications() {
    support::enter();
    block_on(async {
        let wiki = Network::open(with_hub(plan(Mode::Routed))).await.unwrap();
        let (other, of_shop) = of_shop();
        let shop = Network::open(other).await.unwrap();
        let of_wiki = named(2);
        let first = wiki.provision(of_wiki.clone()).await.unwrap();
        let second = shop.provision(of_shop.clone()).await.unwrap();
        let both = [
            (&of_wiki, &first, "wiki", "10.77.0.1"),
            (&of_shop, &second, "shop", "10.78.0.1"),
        ];
        for (link, netns, app, gateway) in both {
            let table = format!("netdev tenantd_{app} spoofed");
            let server = Server::inside(netns, 80);
            assert_eq!(ask((address(link), 80)), Ok(gateway.to_owned()), "{app}");
            drop(server);
            let before =
                ["wiki", "shop"].map(|it| counted(&format!("netdev tenantd_{it} spoofed")));
            let (mac, hub) = (link.tenant.mac.to_string(), link.host.mac.to_string());
            send_frame(netns, &["ipv4", &mac, &hub, "198.51.100.9", gateway]);
            support::until("it is dropped", || counted(&table) > 0);
            let after = ["wiki", "shop"].map(|it| counted(&format!("netdev tenantd_{it} spoofed")));
            let sum = |both: [u64; 2]| both.iter().sum::<u64>();
            assert_eq!(sum(after), sum(before) + 1, "by one of them");
        }
        shop.release(of_shop, second.close()).await.unwrap();
        shop.close().await.unwrap();
        end(wiki, vec![(of_wiki, first)]).await;
    });
}

/// While forged datagrams are sent, another supervisor takes over tables with a chain that names its devices.
#[test]
fn a_chain_that_names_its_devices_is_replaced_without_a_gap() {
    support::enter();
    std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
    block_on(async {
        let plan = with_hub(plan(Mode::Routed));
        let network = Network::open(plan.clone()).await.unwrap();
        let [one, two] = [2, 3].map(named);
        let one = with(one, |traffic| traffic.peers.all = true);
        let first = network.provision(one.clone()).await.unwrap();
        let second = network.provision(two.clone()).await.unwrap();
        let names = [&one, &two].map(|it| it.host.name.as_str());
        let [listed] = chains("tenantd_wiki").try_into().unwrap();
        assert!(names.iter().all(|name| listed.contains(name)), "{listed}");
        let receiver = inside(&second, || UdpSocket::bind(("0.0.0.0", 5000)).unwrap());
        receiver.set_nonblocking(true).unwrap();
        let flood = include_str!("flood.py");
        let mut flood = inside(&first, || {
            let mut python = Command::new("python3");
            python.args(["-c", flood, "10.77.0.9", "10.77.0.3"]);
            python.spawn().unwrap()
        });
        let spoofed = || counted("netdev tenantd_wiki spoofed");
        support::until("datagrams are dropped", || spoofed() > 100);
        drop(network);
        by_prefix("takes_over");
        let before = spoofed();
        support::until("further ones are dropped", || spoofed() > before + 100);
        flood.kill().unwrap();
        flood.wait().unwrap();
        assert_eq!(chains("tenantd_wiki"), ["guard_all td*"]);
        assert!(receiver.recv_from(&mut [0; 16]).is_err(), "one has passed");
        drop(receiver);
        // A supervisor of fewer tenants keeps it.
        let network = Network::open(plan.clone()).await.unwrap();
        assert_eq!(chains("tenantd_wiki"), ["guard_all td*"]);
        assert_eq!(drifts(&plan, &one), Vec::<[String; 2]>::new());
        end(network, vec![(one, first), (two, second)]).await;
    });
}

#[test]
#[ignore = "another test runs it, in its test host"]
fn takes_over() {
    block_on(async {
        let plan = with_hub(plan(Mode::Routed));
        let network = Network::open(plan.clone()).await.unwrap();
        assert_eq!(chains("tenantd_wiki"), ["guard_all td*"]);
        let [one, two] = [2, 3].map(named);
        let one = with(one, |traffic| traffic.peers.all = true);
        let before = transactions();
        let known = network.adopt(vec![one.clone(), two.clone()]).await.unwrap();
        assert_eq!(known, [true, true]);
        network.admit(one, None).await.unwrap();
        assert_eq!(transactions(), before, "nothing is different");
        let two = with(two, |traffic| traffic.outbound = Outbound::Nat);
        network.admit(two, None).await.unwrap();
        assert_eq!(transactions(), before + 1, "its elements alone");
    });
}
