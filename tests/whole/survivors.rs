//! A supervisor that was killed: its tenants continue, and the next one adopts them.

use std::fs;
use std::os::unix::fs::MetadataExt;

use nix::sys::signal::Signal;
use serde_json::Value;
use tenantd_api::wire::{StateWord, TenantStatus};

use crate::guestbook::{TENANTS, link, three};
use crate::support::daemon::{Daemon, LIMIT, ends, pidfd, signal, write_manifest};
use crate::support::place::{self, script};
use crate::support::state_file;
use crate::support::visit::{get, write_entry};

/// The status of a tenant, as far as it must not change with the supervisor.
fn seen(tenant: &TenantStatus) -> (Option<u32>, StateWord, Option<bool>, u32) {
    (tenant.pid, tenant.state, tenant.ready, tenant.restarts)
}

#[test]
fn tenants_survive_a_killed_supervisor_and_are_adopted() {
    let mut daemon = three();
    daemon.kill_tenant("globex");
    daemon.until_tenant("globex", |t| t.restarts == 1 && t.ready == Some(true));
    let before = daemon.status();
    daemon.kill();
    for (name, ip) in TENANTS {
        write_entry(ip, name, "unsupervised");
    }

    daemon.again();
    let after = daemon.status();
    assert_eq!(
        after.tenants.iter().map(seen).collect::<Vec<_>>(),
        before.tenants.iter().map(seen).collect::<Vec<_>>()
    );
    for (tenant, (name, ip)) in after.tenants.iter().zip(TENANTS) {
        assert_eq!(get(ip, "/entries").1, format!("{name}\tunsupervised\n"));
        let leaf = format!(
            "/sys/fs/cgroup/tenantd/{}/{name}/program/cgroup.procs",
            daemon.app
        );
        let pid = tenant.pid.unwrap();
        assert_eq!(fs::read_to_string(leaf).unwrap(), format!("{pid}\n"));
    }

    // They are its own tenants now: it sees their exit, restarts and stops them, and reads their
    // output.
    daemon.kill_tenant("acme");
    daemon.until_tenant("acme", |t| t.restarts == 1 && t.ready == Some(true));
    assert_eq!(get("10.77.0.11", "/entries").1, "acme\tunsupervised\n");
    let log = daemon.tell(&["logs", "initech"]).expect(0);
    assert!(log.contains("POST / 303"), "{log}");
    daemon.tell(&["stop", "--all"]).expect(0);
    daemon.end();
}

#[test]
fn tenants_that_ended_between_supervisors_are_restarted() {
    let mut daemon = three();
    write_entry("10.77.0.11", "acme", "kept");
    let before = daemon.tenant("acme").pid.unwrap();
    daemon.kill();
    let process = pidfd(before);
    signal(before, Signal::SIGKILL);
    assert!(ends(&process, LIMIT));

    daemon.again();
    let after = daemon.until_tenant("acme", |t| t.ready == Some(true));
    assert_ne!(after.pid, Some(before));
    assert_eq!(after.restarts, 1);
    let said = daemon.output();
    let died = "acme: down → waiting: its program";
    assert!(said.contains(died), "{said}");
    assert_eq!(get("10.77.0.11", "/entries").1, "acme\tkept\n");
    daemon.end();
}

#[test]
fn changed_tenants_are_reprovisioned_and_unwanted_ones_stopped() {
    let mut daemon = three();
    let before = daemon.status();
    daemon.kill();
    let manifest = fs::read_to_string(&daemon.manifest).unwrap();
    let manifest = manifest
        .replace("10.77.0.11\"", "10.77.0.21\", datastore = \"elsewhere\"")
        .replace("10.77.0.12\"", "10.77.0.12\", autostart = false");
    fs::write(&daemon.manifest, manifest).unwrap();

    daemon.again();
    let acme = daemon.until_tenant("acme", |t| t.ready == Some(true) && t.pid.is_some());
    assert_ne!(acme.pid, before.tenants[0].pid);
    assert_eq!(get("10.77.0.21", "/entries").0, 200);
    daemon.until_state("globex", StateWord::Down);
    assert_eq!(daemon.tenant("initech").pid, before.tenants[2].pid);
    daemon.end();
}

/// Replaces part of the manifest of a dead supervisor.
fn edit(daemon: &Daemon, old: &str, new: &str) {
    let manifest = fs::read_to_string(&daemon.manifest).unwrap();
    assert!(manifest.contains(old), "{manifest}");
    fs::write(&daemon.manifest, manifest.replace(old, new)).unwrap();
}

/// A tenant's process, the inode of its network namespace, and its link as seen from both sides.
fn process_and_network(daemon: &Daemon, name: &str) -> (u32, u64, (Value, Value)) {
    let pid = daemon.tenant(name).pid.unwrap();
    let netns = fs::metadata(format!("/proc/{pid}/ns/net")).unwrap().ino();
    (pid, netns, link(daemon, name))
}

#[test]
fn only_changed_parts_are_made_again() {
    let mut daemon = three();
    let before = ["acme", "globex", "initech"].map(|name| process_and_network(&daemon, name));
    daemon.kill();
    edit(
        &daemon,
        "0.11\"",
        "0.11\", environment = { WHO = \"acme\" }",
    );
    edit(&daemon, "0.12\"", "0.22\"");
    // The policy of all of them.
    edit(&daemon, "stop.grace = \"5s\"", "stop.grace = \"4s\"");
    daemon.again();
    daemon.settles();
    let after = ["acme", "globex", "initech"].map(|name| process_and_network(&daemon, name));
    let [acme, globex, initech] = [0, 1, 2].map(|n| (&before[n], &after[n]));
    assert_ne!(acme.0.0, acme.1.0, "{}", daemon.output());
    assert_eq!((acme.0.1, &acme.0.2), (acme.1.1, &acme.1.2));
    let environment = fs::read(format!("/proc/{}/environ", acme.1.0)).unwrap();
    assert!(String::from_utf8_lossy(&environment).contains("WHO=acme"));
    // Compares the index of the host end, because the kernel reuses the inode of a destroyed
    // namespace.
    assert_ne!(globex.0.2.0, globex.1.2.0);
    assert_eq!(get("10.77.0.22", "/entries").0, 200);
    assert_eq!(initech.0, initech.1);
    for tenant in daemon.status().tenants {
        assert_eq!(tenant.restarts, 0);
    }
    // The records have the new plan.
    daemon.kill();
    daemon.again();
    let again = ["acme", "globex", "initech"].map(|name| process_and_network(&daemon, name));
    assert_eq!(again, after);
    daemon.end();
}

#[test]
fn unknown_fields_of_a_record_are_ignored() {
    let mut daemon = three();
    let before = ["acme", "globex"].map(|name| process_and_network(&daemon, name));
    daemon.kill();
    for name in ["acme", "globex"] {
        state_file::edit(&daemon.app, name, |record| {
            record["of a later one"] = "ignored".into();
        });
    }
    // Without its record the change would not be known.
    edit(
        &daemon,
        "0.12\"",
        "0.12\", environment = { WHO = \"globex\" }",
    );
    daemon.again();
    daemon.settles();
    let after = ["acme", "globex"].map(|name| process_and_network(&daemon, name));
    assert_eq!(before[0], after[0]);
    assert_ne!(before[1].0, after[1].0);
    assert_eq!(before[1].2, after[1].2);
    let is_of_before = |name| !state_file::record(&daemon.app, name)["of a later one"].is_null();
    // Of the first, everything was there already; the other one was started again.
    assert_eq!(["acme", "globex"].map(is_of_before), [true, false]);
    daemon.kill_tenant("acme");
    daemon.until_tenant("acme", |t| t.restarts == 1 && t.ready == Some(true));
    assert!(!is_of_before("acme"));
    daemon.end();
}

#[test]
fn a_new_tenant_waits_for_an_address_in_use() {
    let mut daemon = three();
    daemon.kill();
    // It comes first in the manifest, and is started last.
    edit(
        &daemon,
        "[tenants]\n",
        "[tenants]\nnewcomer = { ip = \"10.77.0.13\" }\n",
    );
    edit(
        &daemon,
        "initech = { ip = \"10.77.0.13\"",
        "initech = { ip = \"10.77.0.14\"",
    );
    daemon.again();
    let all = daemon.settles();
    let names: Vec<&str> = all.tenants.iter().map(|t| t.name.as_str()).collect();
    assert_eq!(names, ["newcomer", "acme", "globex", "initech"]);
    let said = daemon.output();
    assert!(!said.contains("→ waiting"), "{said}");
    daemon.end();
}

#[test]
fn a_record_that_the_kernel_does_not_confirm_is_ignored() {
    let mut daemon = three();
    daemon.kill();
    // According to the start time, another process has this number now.
    state_file::edit(&daemon.app, "acme", |record| {
        record["process"]["start_ticks"] = 1.into();
    });

    daemon.again();
    // Its first process counts as dead, so the processes in its cgroup are ended; there are never
    // two launches.
    let acme = daemon.until_tenant("acme", |t| t.ready == Some(true) && t.restarts == 1);
    let leaf = format!(
        "/sys/fs/cgroup/tenantd/{}/acme/program/cgroup.procs",
        daemon.app
    );
    assert_eq!(
        fs::read_to_string(leaf).unwrap(),
        format!("{}\n", acme.pid.unwrap())
    );
    daemon.end();
}

#[test]
fn orphans_are_ended_before_other_tenants_start() {
    let mut daemon = three();
    let acme = daemon.tenant("acme").pid.unwrap();
    daemon.kill();
    let process = pidfd(acme);
    let manifest = fs::read_to_string(&daemon.manifest).unwrap();
    // Another tenant has its address now.
    let manifest = manifest.replace("acme =", "newcomer =");
    fs::write(&daemon.manifest, manifest).unwrap();

    daemon.again();
    assert!(ends(&process, LIMIT));
    daemon.until_tenant("newcomer", |t| t.ready == Some(true));
    assert_eq!(get("10.77.0.11", "/entries"), (200, String::new()));
    assert!(!std::path::Path::new(&format!("/run/tenantd/{}/tenants/acme", daemon.app)).exists());
    daemon.end();
}

/// One of them ignores its signal, so the other is released long before it.
#[test]
fn tenants_with_swapped_addresses_wait_for_each_other() {
    place::host();
    place::folder("/srv/data");
    script(
        "app",
        "[ $WHO = globex ] || trap '' TERM\nwhile :; do sleep 0.05; done",
    );
    let manifest = |acme: u8, globex: u8| {
        format!(
            "[app]\nname = \"APP\"\nuser = \"root\"\ncommand = [\"/srv/app\"]\nstop.grace = \"300ms\"\n\
             environment = {{ WHO = \"{{tenant}}\" }}\ndatastore.path = \"/srv/data\"\n[tenants]\n\
             acme = {{ ip = \"10.77.0.{acme}\" }}\nglobex = {{ ip = \"10.77.0.{globex}\" }}\n"
        )
    };
    let mut daemon = Daemon::start_settled(&manifest(11, 12));
    daemon.kill();
    write_manifest(&daemon.app, &manifest(12, 11));
    daemon.again();
    let after = daemon.settles();
    let output = daemon.output();
    assert!(!output.contains("waiting"), "one failed: {output}");
    assert!(after.tenants.iter().all(|tenant| tenant.restarts == 0));
    assert_eq!(daemon.tenant("acme").addresses.to_string(), "10.77.0.12");
    daemon.end();
}
