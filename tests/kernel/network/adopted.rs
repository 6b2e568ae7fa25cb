//! What the next supervisor makes of the tables of the firewall that it finds.

use std::process::Command;

use tenantd_core::plan::derive;
use tenantd_core::plan::model::{LinkPlan, Mode};
use tenantd_core::plan::traffic::Outbound;
use tenantd_host::network::Network;

use crate::network::firewall::{end, nft, with};
use crate::network::host::{block_on, link, plan};
use crate::support;
use crate::support::daemon::until;

/// Asks for the number of the last transaction of nftables: `NFT_MSG_GETGEN`.
const GENERATION: &str = "import socket, struct
asked = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)
asked.send(struct.pack('=IHHII', 20, 10 << 8 | 16, 1, 1, 0) + bytes(4))
print(struct.unpack('!I', asked.recv(4096)[24:28])[0])";

/// How many transactions of nftables there were in this network namespace.
pub fn transactions() -> u32 {
    let output = Command::new("python3").args(["-c", GENERATION]).output();
    let output = output.unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    String::from_utf8(output.stdout)
        .unwrap()
        .trim()
        .parse()
        .unwrap()
}

/// Takes the guard off a host end, as any process can if the table has no owner. Returns whether it could.
fn unguard(device: &str) -> bool {
    let script = include_str!("unguard.py");
    let mut command = Command::new("python3");
    let command = command.args(["-c", script, "tenantd_wiki", device]);
    command.status().unwrap().success()
}

fn is_guarded(link: &LinkPlan) -> bool {
    let guard = nft("list chain netdev tenantd_wiki guard");
    let hook = guard.lines().find(|line| line.contains("hook ingress"));
    hook.unwrap().contains(link.host.name.as_str())
}

/// A tenant whose host end has the name that a plan gives it.
pub fn named(n: u16) -> LinkPlan {
    let mut link = link(Mode::Routed, n);
    let (app, tenant) = derive::of_link_mark(&link.mark).unwrap();
    link.host.name = derive::host_end(derive::tenant_hash(&app, &tenant)).name;
    link
}

#[test]
fn tenants_as_planned_are_guarded_again_and_need_no_transaction() {
    support::enter();
    block_on(async {
        let network = Network::open(plan(Mode::Routed)).await.unwrap();
        let [one, two] = [2, 3].map(named);
        let first = network.provision(one.clone()).await.unwrap();
        let second = network.provision(two.clone()).await.unwrap();
        drop(network);
        // While no supervisor runs, the tables have no owner.
        until("the guard is taken off a link", || {
            unguard(one.host.name.as_str()).then_some(())
        });
        assert!(!is_guarded(&one) && is_guarded(&two));
        let network = Network::open(plan(Mode::Routed)).await.unwrap();
        assert!(is_guarded(&one) && is_guarded(&two));
        let before = transactions();
        let changed = with(two.clone(), |traffic| traffic.outbound = Outbound::Nat);
        let known = network.adopt(vec![one.clone(), changed]).await.unwrap();
        assert_eq!(
            known,
            [true, false],
            "only the traffic of the second is another"
        );
        network.admit(one.clone(), None).await.unwrap();
        assert_eq!(transactions(), before, "nothing is different");
        let two = with(two, |traffic| traffic.outbound = Outbound::Nat);
        network.admit(two.clone(), None).await.unwrap();
        assert_eq!(transactions(), before + 1, "its traffic is another");
        assert!(is_guarded(&one) && is_guarded(&two));
        end(network, vec![(one, first), (two, second)]).await;
    });
}
