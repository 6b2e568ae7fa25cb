//! Each stage fails: the error names stage, object and errno, and nothing is left behind.

use std::process::Command;

use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
use tenantd_core::plan::address::Addresses;
use tenantd_core::plan::model::{Firewall, LinkPlan, Mode, NetworkPlan};
use tenantd_core::stage::{Failure, Stage};
use tenantd_host::network::Network;

use crate::network::host::{
    block_on, everything, ip, link, namespaces_of_threads, own_namespace, plan, show,
};
use crate::support::{self, passes_alone};

/// Makes a provision that must fail, and checks that the host is unchanged.
fn refused(mode: Mode, tenant: LinkPlan, prepare: impl FnOnce()) -> Failure {
    block_on(async {
        let network = Network::open(plan(mode)).await.unwrap();
        prepare();
        let before = everything();
        let why = network.provision(tenant).await.unwrap_err();
        assert_eq!(everything(), before, "something is left after: {why}");
        network.close().await.unwrap();
        why
    })
}

fn without(capability: CapabilitySet) {
    let mut sets = capabilities(None).unwrap();
    sets.effective.remove(capability);
    set_capabilities(None, sets).unwrap();
}

#[test]
fn a_link_of_another_owner_is_kept() {
    support::enter();
    for (alias, said) in [
        (
            "the lab's",
            "a veth link with the alias the lab's, not tenantd:wiki/t2",
        ),
        ("", "a veth link without an alias, not tenantd:wiki/t2"),
    ] {
        ip("link add vt-2 type veth peer name other");
        if !alias.is_empty() {
            let set = ["link", "set", "vt-2", "alias", alias];
            assert!(
                std::process::Command::new("ip")
                    .args(set)
                    .status()
                    .unwrap()
                    .success()
            );
        }
        let why = refused(Mode::Routed, link(Mode::Routed, 2), || ());
        assert_eq!((why.stage, why.errno), (Stage::Link, libc::EEXIST));
        assert_eq!(why.object, "vt-2");
        assert_eq!(why.detail, format!("name in use by {said}"));
        ip("link del vt-2");
    }
}

#[test]
fn own_residue_is_replaced() {
    support::enter();
    for mark in [true, false] {
        block_on(async {
            let network = Network::open(plan(Mode::Routed)).await.unwrap();
            // Left by a supervisor that was killed after, or before, it marked the link.
            ip("link add vt-2 address 02:00:00:01:00:02 type veth peer name other");
            if mark {
                ip("link set vt-2 alias tenantd:wiki/t2");
                ip("link set vt-2 address 02:00:00:09:09:09");
            }
            let netns = network.provision(link(Mode::Routed, 2)).await.unwrap();
            assert_eq!(show("vt-2")["address"], "02:00:00:01:00:02");
            let released = network.release(link(Mode::Routed, 2), netns.close());
            released.await.unwrap();
            network.close().await.unwrap();
        });
    }
}

#[test]
fn an_address_of_the_host_is_refused() {
    support::enter();
    let why = refused(Mode::Routed, link(Mode::Routed, 2), || {
        ip("address add 10.77.0.2/32 dev lo");
    });
    assert_eq!((why.stage, why.errno), (Stage::Address, libc::EADDRINUSE));
    assert_eq!(why.object, "10.77.0.2");
    assert_eq!(why.detail, "the host has this address on lo");
}

/// A tenant is started only with all of its addresses.
#[test]
fn an_ipv6_address_without_a_subnet_is_refused_before_anything_is_made() {
    support::enter();
    for mode in [Mode::Routed, Mode::Bridge] {
        let mut tenant = link(mode, 2);
        let first = tenant.addresses.first();
        tenant.addresses = Addresses::new(first, vec!["fd00::2".parse().unwrap()]);
        let why = refused(mode, tenant, || ());
        assert_eq!((why.stage, why.errno), (Stage::Address, 0));
        let said = "cannot set the address fd00::2: the application has no IPv6 subnet";
        assert_eq!(why.to_string(), said);
    }
}

#[test]
fn a_second_address_of_the_host_is_refused() {
    support::enter();
    let mut tenant = link(Mode::Routed, 2);
    let first = tenant.addresses.first();
    tenant.addresses = Addresses::new(first, vec!["10.77.0.3".parse().unwrap()]);
    let why = refused(Mode::Routed, tenant, || {
        ip("address add 10.77.0.3/32 dev lo");
    });
    assert_eq!((why.stage, why.errno), (Stage::Address, libc::EADDRINUSE));
    assert_eq!(why.object, "10.77.0.3");
}

#[test]
fn wider_and_unreachable_routes_are_allowed() {
    support::enter();
    ip("link add lab type bridge");
    ip("link set lab up");
    ip("route add 10.0.0.0/8 dev lab");
    ip("route add unreachable 10.77.0.2/31");
    block_on(async {
        let network = Network::open(plan(Mode::Routed)).await.unwrap();
        for n in [2, 3] {
            let tenant = link(Mode::Routed, n);
            let netns = network.provision(tenant.clone()).await.unwrap();
            network.release(tenant, netns.close()).await.unwrap();
        }
        network.close().await.unwrap();
    });
}

#[test]
fn an_invalid_address_is_refused_by_the_kernel() {
    support::enter();
    for mode in [Mode::Routed, Mode::Bridge] {
        let mut tenant = link(mode, 2);
        tenant.prefix = 33;
        let why = refused(mode, tenant, || ());
        assert_eq!((why.stage, why.errno), (Stage::Address, libc::EINVAL));
        assert_eq!(why.object, "10.77.0.2/33");
    }
}

#[test]
fn a_route_of_another_owner_is_kept() {
    support::enter();
    let why = refused(Mode::Routed, link(Mode::Routed, 2), || {
        ip("route add 10.77.0.2/32 dev lo");
    });
    assert_eq!((why.stage, why.errno), (Stage::Route, libc::EEXIST));
    assert_eq!(why.object, "10.77.0.2/32");
    assert_eq!(why.detail, "already routed to lo");
}

#[test]
fn an_unreachable_gateway_is_refused_by_the_kernel() {
    support::enter();
    let mut tenant = link(Mode::Bridge, 2);
    tenant.prefix = 32;
    let why = refused(Mode::Bridge, tenant, || ());
    assert_eq!((why.stage, why.errno), (Stage::Route, libc::ENETUNREACH));
    assert_eq!(why.object, "default via 10.77.0.1 (in the tenant)");
    assert_eq!(
        why.detail, "Nexthop has invalid gateway",
        "the kernel's sentence"
    );
}

#[test]
fn missing_privileges_are_named() {
    support::enter();
    without(CapabilitySet::SYS_ADMIN);
    let why = refused(Mode::Routed, link(Mode::Routed, 2), || ());
    assert_eq!((why.stage, why.errno), (Stage::Netns, libc::EPERM));
    assert!(why.to_string().contains("run tenantd as root"), "{why}");
    without(CapabilitySet::NET_ADMIN);
    let before = everything();
    let why = block_on(Network::open(plan(Mode::Routed))).unwrap_err();
    assert_eq!((why.stage, why.errno), (Stage::Firewall, libc::EPERM));
    assert!(why.detail.contains("CAP_NET_ADMIN"), "{why}");
    let open = NetworkPlan {
        firewall: Firewall::Off,
        ..plan(Mode::Routed)
    };
    let why = block_on(Network::open(open)).unwrap_err();
    assert_eq!((why.stage, why.errno), (Stage::Link, libc::EPERM));
    assert_eq!(why.object, "td-wiki");
    assert_eq!(everything(), before);
}

#[test]
fn a_hub_of_another_owner_and_a_gateway_in_use_are_refused() {
    support::enter();
    ip("link add td-wiki type bridge");
    let before = everything();
    let why = block_on(Network::open(plan(Mode::Bridge))).unwrap_err();
    assert_eq!((why.stage, why.errno), (Stage::Link, libc::EEXIST));
    assert_eq!(
        why.detail,
        "name in use by a bridge link without an alias, not tenantd:wiki"
    );
    assert_eq!(everything(), before);
    ip("link del td-wiki");
    ip("address add 10.77.0.1/24 dev lo");
    let before = everything();
    let why = block_on(Network::open(plan(Mode::Bridge))).unwrap_err();
    assert_eq!((why.stage, why.errno), (Stage::Address, libc::EADDRINUSE));
    assert_eq!(why.detail, "the host has this address on lo");
    assert_eq!(everything(), before);
}

/// Run alone by `no_other_thread_changes_its_namespace`, because threads of other tests would be
/// counted too.
#[test]
#[ignore = "started by another test"]
fn alone_no_other_thread_changes_its_namespace() {
    let machine = own_namespace();
    support::enter();
    let host = own_namespace();
    let check = |step: &str| {
        assert_eq!(own_namespace(), host, "after {step}");
        for namespace in namespaces_of_threads() {
            assert!([machine, host].contains(&namespace), "after {step}");
        }
    };
    block_on(async {
        let network = Network::open(plan(Mode::Routed)).await.unwrap();
        check("open");
        let tenant = link(Mode::Routed, 2);
        let netns = network.provision(tenant.clone()).await.unwrap();
        assert!(![machine, host].contains(&netns.inode()));
        check("provision");
        network
            .release(tenant.clone(), netns.close())
            .await
            .unwrap();
        check("release");
        let mut bad = tenant.clone();
        bad.prefix = 33;
        network.provision(bad).await.unwrap_err();
        check("a failed address");
        ip("route add 10.77.0.2/32 dev lo");
        network.provision(tenant.clone()).await.unwrap_err();
        check("a failed route");
        ip("link add vt-2 type veth peer name other");
        network.provision(tenant.clone()).await.unwrap_err();
        check("a failed link");
        ip("address add 10.77.0.2/32 dev lo");
        network.provision(tenant).await.unwrap_err();
        check("a failed look-up");
        network.close().await.unwrap();
    });
}

#[test]
fn no_other_thread_changes_its_namespace() {
    let path = "network::failing::alone_no_other_thread_changes_its_namespace";
    assert!(passes_alone(path, &mut Command::new("env")));
}
