//! Each tenant has exactly two namespaces of its own, and the supervisor has none.

use std::fs;

use crate::guestbook::{TENANTS, three};

/// All eight kinds, see namespaces(7).
const KINDS: [&str; 8] = ["cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"];
const NEW: [&str; 2] = ["mnt", "net"];

fn namespaces(process: &str) -> Vec<(&'static str, String)> {
    KINDS
        .iter()
        .map(|kind| {
            let link = fs::read_link(format!("/proc/{process}/ns/{kind}")).unwrap();
            (*kind, link.to_str().unwrap().to_owned())
        })
        .collect()
}

#[test]
fn a_tenant_has_two_namespaces_of_its_own_and_never_a_third() {
    let daemon = three();
    let host = namespaces("thread-self");
    assert_eq!(namespaces(&daemon.pid().to_string()), host);
    for task in fs::read_dir(format!("/proc/{}/task", daemon.pid())).unwrap() {
        let task = task.unwrap().file_name().into_string().unwrap();
        assert_eq!(
            namespaces(&task),
            host,
            "no thread of the supervisor leaves the host"
        );
    }
    let tenants: Vec<_> = daemon
        .status()
        .tenants
        .iter()
        .map(|tenant| namespaces(&tenant.pid.unwrap().to_string()))
        .collect();
    for tenant in &tenants {
        for ((kind, own), (_, of_host)) in tenant.iter().zip(&host) {
            assert_eq!(own != of_host, NEW.contains(kind), "{kind}");
        }
    }
    for kind in NEW {
        let at = KINDS.iter().position(|each| *each == kind).unwrap();
        let mut own: Vec<_> = tenants.iter().map(|tenant| &tenant[at].1).collect();
        own.sort();
        own.dedup();
        assert_eq!(
            own.len(),
            TENANTS.len(),
            "{kind}: none shares one with another"
        );
    }
}

#[test]
fn a_tenant_sees_no_datastore_but_its_own() {
    let daemon = three();
    let seen = |path: &str| daemon.tell(&["exec", "acme", "--", "ls", "-A", path]);
    assert_eq!(seen("/var/lib/guestbook").expect(0), "entries\n");
    for hidden in [
        "/var/lib/tenantd",
        &format!("/var/lib/tenantd/{}", daemon.app),
    ] {
        let said = seen(hidden);
        assert_eq!(said.out, "", "{said:?}");
    }
}
