//! Each tenant has exactly two namespaces of its own, and the supervisor has none.

use std::fs;
use std::os::unix::fs::MetadataExt;

use crate::guestbook::{TENANTS, three};
use crate::support::daemon::until;
use crate::support::netns;

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
    let mut holders = 0;
    for task in fs::read_dir(format!("/proc/{}/task", daemon.pid())).unwrap() {
        let task = task.unwrap();
        let name = fs::read_to_string(task.path().join("comm")).unwrap();
        let task = namespaces(&task.file_name().into_string().unwrap());
        if name == "netns-mounts\n" {
            holders += 1;
            let others = task
                .iter()
                .zip(&host)
                .filter(|(own, of_host)| own != of_host);
            assert_eq!(
                others.map(|((kind, _), _)| *kind).collect::<Vec<_>>(),
                ["mnt"]
            );
            continue;
        }
        assert_eq!(
            task, host,
            "no other thread of the supervisor leaves the host"
        );
    }
    assert_eq!(holders, 1, "one thread keeps the network namespaces");
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
fn the_mounts_that_keep_network_namespaces_are_in_no_other_mount_table() {
    let daemon = three();
    let kept = netns::kept(daemon.pid());
    let tenants = daemon.status().tenants;
    assert_eq!(kept.len(), TENANTS.len());
    for tenant in tenants {
        let pid = tenant.pid.unwrap();
        let own = fs::metadata(format!("/proc/{pid}/ns/net")).unwrap().ino();
        assert_eq!(kept[&tenant.name.to_string()], own);
        let named = format!("/run/netns/{}-{}", daemon.app, tenant.name);
        assert_eq!(
            fs::metadata(named).unwrap().ino(),
            own,
            "as ip-netns(8) opens it"
        );
    }
    let tenant = daemon.status().tenants[0].pid.unwrap();
    for process in [daemon.pid(), tenant] {
        let table = fs::read_to_string(format!("/proc/{process}/mountinfo")).unwrap();
        assert!(!table.contains(" nsfs "), "{process}: {table}");
    }
}

#[test]
fn the_sysfs_of_a_tenant_stays_between_its_launches() {
    let daemon = three();
    let namespace = netns::holder(daemon.pid());
    let kept = |tenant: &str| {
        let path = format!("{}/root/.sys/{tenant}/class/net/eth0", namespace.display());
        fs::symlink_metadata(path).is_ok()
    };
    until("each is kept", || {
        TENANTS.iter().all(|(tenant, _)| kept(tenant)).then_some(())
    });
    daemon.tell(&["restart", "acme"]).expect(0);
    assert!(kept("acme"));
    let seen = daemon.tell(&["exec", "acme", "--", "ls", "/sys/class/net"]);
    assert_eq!(seen.expect(0), "eth0\nlo\n");
    daemon.tell(&["stop", "acme"]).expect(0);
    assert!(!kept("acme") && kept("globex"));
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
