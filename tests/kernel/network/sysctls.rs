//! The settings of the kernel in a tenant's network namespace.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;

use tenantd_core::plan::model::{LinkPlan, Mode};
use tenantd_core::stage::Stage;
use tenantd_core::sysctl::Sysctl;
use tenantd_host::netns::Netns;
use tenantd_host::network::Network;

use crate::network::host::{block_on, inside, link, plan};
use crate::support;

fn read(path: &str) -> String {
    let text = fs::read_to_string(format!("/proc/sys/{path}")).unwrap();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn write(path: &str, value: &str) {
    fs::write(format!("/proc/sys/{path}"), value).unwrap();
}

fn of(netns: &Netns, path: &str) -> String {
    inside(netns, || read(path))
}

/// A tenant with these settings of its own.
fn with(n: u16, own: &[(&str, &str)]) -> LinkPlan {
    let own = own.iter().map(|(name, value)| {
        let one = Sysctl::named(name).unwrap();
        (one, one.value(value).unwrap())
    });
    let mut tenant = link(Mode::Routed, n);
    tenant.sysctls = Arc::new(own.collect::<BTreeMap<_, _>>());
    tenant
}

#[test]
fn a_tenant_has_the_hosts_settings_and_its_own() {
    support::enter();
    let fresh = read("net/core/somaxconn");
    write("net/core/somaxconn", "23456");
    write("net/ipv4/tcp_keepalive_time", "77");
    write("net/ipv4/ip_local_port_range", "20000 30000");
    write("net/ipv4/tcp_rmem", "4096 65536 1048576");
    write("net/ipv4/ip_forward", "1");
    block_on(async {
        let network = Network::open(plan(Mode::Routed)).await.unwrap();
        let first = network.provision(with(2, &[])).await.unwrap();
        assert_eq!(of(&first, "net/core/somaxconn"), "23456");
        assert_eq!(of(&first, "net/ipv4/tcp_keepalive_time"), "77");
        assert_eq!(of(&first, "net/ipv4/ip_local_port_range"), "20000 30000");
        assert_eq!(of(&first, "net/ipv4/tcp_rmem"), "4096 65536 1048576");
        assert_eq!(of(&first, "net/ipv4/ip_unprivileged_port_start"), "0");
        assert_eq!(of(&first, "net/ipv4/ip_forward"), "0");

        // What the administrator changes holds for the next provision, also back to the kernel's value.
        write("net/core/somaxconn", &fresh);
        write("net/ipv4/tcp_keepalive_time", "78");
        let own = [
            ("net.ipv4.tcp_keepalive_time", "600"),
            ("net.ipv4.ip_local_port_range", "40000 50000"),
            ("net.ipv4.ip_unprivileged_port_start", "1024"),
            ("net.ipv4.ping_group_range", "0 4294967294"),
        ];
        let second = network.provision(with(3, &own)).await.unwrap();
        assert_eq!(of(&second, "net/core/somaxconn"), fresh);
        for (name, value) in own {
            assert_eq!(of(&second, &name.replace('.', "/")), value);
        }
        assert_eq!(of(&first, "net/ipv4/tcp_keepalive_time"), "77");
        assert_eq!(read("net/ipv4/tcp_keepalive_time"), "78");
        network.release(with(2, &[]), first.close()).await.unwrap();
        network
            .release(with(3, &own), second.close())
            .await
            .unwrap();
        network.close().await.unwrap();
    });
}

#[test]
fn each_setting_can_be_the_tenants_own() {
    support::enter();
    let missing = |one: &Sysctl| !fs::exists(format!("/proc/sys/{}", one.path())).unwrap();
    let missing: Vec<_> = Sysctl::all().filter(missing).collect();
    assert_eq!(
        missing,
        [],
        "the list has a sysctl that this kernel does not have"
    );
    let own: BTreeMap<_, _> = Sysctl::all().map(|one| (one, read(&one.path()))).collect();
    block_on(async {
        let network = Network::open(plan(Mode::Routed)).await.unwrap();
        let mut tenant = link(Mode::Routed, 2);
        tenant.sysctls = Arc::new(own.clone());
        let netns = network.provision(tenant.clone()).await.unwrap();
        for (one, value) in own {
            assert_eq!(of(&netns, &one.path()), value, "{}", one.name());
        }
        network.release(tenant, netns.close()).await.unwrap();
        network.close().await.unwrap();
    });
}

#[test]
fn a_value_that_the_kernel_refuses_fails_the_provision_and_leaves_nothing() {
    support::enter();
    block_on(async {
        let network = Network::open(plan(Mode::Routed)).await.unwrap();
        let before = crate::network::host::everything();
        let wrong = with(2, &[("net.ipv4.tcp_congestion_control", "nonesuch")]);
        let failure = network.provision(wrong).await.unwrap_err();
        assert_eq!(failure.stage, Stage::Netns);
        assert_eq!(failure.errno, libc::ENOENT);
        let said = failure.to_string();
        assert!(said.contains("net.ipv4.tcp_congestion_control"), "{said}");
        assert_eq!(crate::network::host::everything(), before);
        network.close().await.unwrap();
    });
}
