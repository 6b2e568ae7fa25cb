//! Texts of resolv.conf(5) and hosts(5) for tenants with different traffic.

use super::super::NamesPlan;
use std::net::Ipv4Addr;

use super::*;
use crate::plan::derive;
use crate::plan::traffic::{Peers, TrafficPlan};

/// The link of a tenant that has this traffic.
fn link(traffic: TrafficPlan) -> LinkPlan {
    let (app, tenant) = ("wiki".parse().unwrap(), "acme".parse().unwrap());
    let hash = derive::tenant_hash(&app, &tenant);
    LinkPlan {
        addresses: Ipv4Addr::new(10, 77, 0, 11).into(),
        prefix: 32,
        parent: None,
        host: derive::host_end(hash),
        tenant: derive::tenant_end(hash),
        mark: derive::link_mark(&app, &tenant),
        sysctls: Default::default(),
        traffic: traffic.into(),
        rate: Default::default(),
        names: NamesPlan::usual(
            Ipv4Addr::new(10, 77, 0, 1),
            "10.77.0.0/24".parse().unwrap(),
            true,
        )
        .into(),
    }
}

fn nat(egress: &[&str]) -> LinkPlan {
    link(TrafficPlan {
        outbound: Outbound::Nat,
        egress: egress.iter().map(|rule| rule.parse().unwrap()).collect(),
        ..TrafficPlan::default()
    })
}

fn host(resolv: &str, upstreams: &[&str]) -> HostNames {
    HostNames {
        resolv: resolv.to_owned(),
        upstreams: upstreams.iter().map(|text| (*text).to_owned()).collect(),
        hostname: "web1".to_owned(),
        addresses: ["203.0.113.9".parse().unwrap()].into(),
        ..HostNames::default()
    }
}

fn shown(host: &HostNames, link: &LinkPlan) -> Vec<String> {
    asked(host, link).iter().map(ToString::to_string).collect()
}

#[test]
fn a_stub_of_the_host_is_replaced_by_its_servers() {
    let real = "nameserver 198.51.100.1\nnameserver 198.51.100.2\n";
    let resolved = "# comment\nnameserver 127.0.0.53\noptions edns0 trust-ad\nsearch example.com\n";
    let link = nat(&[]);
    for stub in [resolved, "nameserver 127.0.0.1", "nameserver ::1", ""] {
        let host = host(stub, &["nameserver 127.0.0.1", real]);
        assert_eq!(
            shown(&host, &link),
            ["198.51.100.1", "198.51.100.2"],
            "{stub}"
        );
    }
    let text = resolv_conf(&host(resolved, &[real]), &link);
    let rest = text.split_once('\n').unwrap().1;
    assert_eq!(rest, format!("{real}search example.com\noptions edns0\n"));
    // Others are left as they are.
    assert_eq!(
        shown(&host("nameserver 192.0.2.1", &[real]), &link),
        ["192.0.2.1"]
    );
    // No upstream is known.
    assert_eq!(shown(&host("nameserver 127.0.0.1", &[]), &link), [""; 0]);
}

#[test]
fn only_servers_that_a_tenant_reaches_are_asked() {
    let host = host(
        "nameserver 198.51.100.1\nnameserver 192.0.2.7\nnameserver 2001:db8::1",
        &[],
    );
    assert_eq!(shown(&host, &link(TrafficPlan::default())), [""; 0]);
    assert_eq!(shown(&host, &nat(&[])), ["198.51.100.1", "192.0.2.7"]);
    for (rules, expected) in [
        (&["allow 192.0.2.0/24"][..], &["192.0.2.7"][..]),
        (&["allow 198.51.100.1/32:53/udp"], &["198.51.100.1"]),
        (&["deny 198.51.100.0/24", "allow any"], &["192.0.2.7"]),
        (&["allow any:443/tcp"], &[]),
    ] {
        assert_eq!(shown(&host, &nat(rules)), expected, "{rules:?}");
    }
    let none = resolv_conf(&host, &link(TrafficPlan::default()));
    assert!(none.ends_with("nameserver 127.0.0.1\n"), "{none}");
    // Without the firewall, the host decides.
    let mut open = link(TrafficPlan::default());
    std::sync::Arc::make_mut(&mut open.names).is_filtered = false;
    assert_eq!(shown(&host, &open).len(), 2);
}

#[test]
fn a_service_of_the_host_is_asked_where_the_manifest_allows_it() {
    let dns = Service {
        port: 53,
        protocol: Protocol::Udp,
    };
    let served = |traffic| {
        link(TrafficPlan {
            host_services: vec![dns],
            ..traffic
        })
    };
    let only = served(TrafficPlan::default());
    assert_eq!(
        shown(&host("nameserver 127.0.0.1", &[]), &only),
        ["10.77.0.1"]
    );
    assert_eq!(
        shown(&host("nameserver 203.0.113.9", &[]), &only),
        ["203.0.113.9"]
    );
    assert_eq!(
        shown(&host("nameserver 203.0.113.9", &[]), &nat(&[])),
        [""; 0]
    );
    let both = served(TrafficPlan {
        outbound: Outbound::Nat,
        ..TrafficPlan::default()
    });
    assert_eq!(
        shown(&host("nameserver 192.0.2.1", &[]), &both),
        ["192.0.2.1"]
    );
    let peers = Peers {
        all: false,
        named: [("dns".parse().unwrap(), Ipv4Addr::new(10, 77, 0, 12).into())].into(),
    };
    let peer = link(TrafficPlan {
        peers,
        ..TrafficPlan::default()
    });
    let host = host("nameserver 10.77.0.12\nnameserver 10.77.0.13", &[]);
    assert_eq!(shown(&host, &peer), ["10.77.0.12"]);
}

#[test]
fn what_the_plan_sets_takes_precedence() {
    let mut own = nat(&[]);
    let names = std::sync::Arc::make_mut(&mut own.names);
    names.nameservers = Some(vec!["192.0.2.53".parse().unwrap()]);
    names.search = Some(vec!["a.example".to_owned(), "b.example".to_owned()]);
    names.options = Some(Vec::new());
    let text = resolv_conf(&host("nameserver 192.0.2.1\noptions rotate", &[]), &own);
    let rest = text.split_once('\n').unwrap().1;
    assert_eq!(rest, "nameserver 192.0.2.53\nsearch a.example b.example\n");
    std::sync::Arc::make_mut(&mut own.names).nameservers = Some(Vec::new());
    let text = resolv_conf(&host("nameserver 192.0.2.1", &[]), &own);
    assert!(text.contains("nameserver 127.0.0.1\n"), "{text}");
}

#[test]
fn the_hosts_own_name_is_the_tenants_address() {
    let peers = Peers {
        all: false,
        named: [("beta".parse().unwrap(), Ipv4Addr::new(10, 77, 0, 12).into())].into(),
    };
    let link = link(TrafficPlan {
        peers,
        ..TrafficPlan::default()
    });
    let mut host = host("", &[]);
    host.hosts = "127.0.0.1 localhost\n127.0.1.1\tweb1.example.org web1\n# kept\n203.0.113.9 web1.example.org \
                  www.example.org beta # ours\n::1 ip6-localhost web10\n"
        .to_owned();
    let text = hosts(&host, &link);
    assert_eq!(
        text,
        "# Written by tenantd for wiki/acme.\n10.77.0.11 web1.example.org web1\n10.77.0.11 acme acme.wiki\n\
         10.77.0.12 beta beta.wiki\n127.0.0.1 localhost\n# kept\n203.0.113.9 www.example.org\n\
         ::1 ip6-localhost web10\n"
    );
    host.hosts = String::new();
    host.hostname = "localhost".to_owned();
    let text = hosts(&host, &link);
    assert!(text.ends_with("beta.wiki\n127.0.0.1 localhost\n"), "{text}");
}
