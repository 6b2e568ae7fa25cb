//! Residue of an application, and objects that only look like it.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use nix::sys::signal::Signal;

use super::daemon::{LIMIT, ends, pidfd, run, signal, until};

/// Kills a tenant's process and waits until it has left its cgroup, if there is one. The exit of a
/// process is reported before it leaves the cgroup.
pub fn kill_and_wait(app: &str, tenant: &str, pid: u32) {
    let process = pidfd(pid);
    signal(pid, Signal::SIGKILL);
    assert!(ends(&process, LIMIT));
    let events = format!("/sys/fs/cgroup/tenantd/{app}/{tenant}/cgroup.events");
    until("its leaf is empty", || {
        let events = fs::read_to_string(&events).unwrap_or_default();
        (!events.contains("populated 1")).then_some(())
    });
}

pub fn ip(arguments: &str) {
    run(Command::new("ip").args(arguments.split(' '))).expect(0);
}

/// Makes one object of each kind that a supervisor of `app` could have left of a tenant that no
/// manifest names. Returns the paths and, for the link, its folder in `/sys`.
pub fn create(app: &str) -> Vec<String> {
    ip("link add td00000000a11e type veth peer name peer0");
    ip(&format!("link set td00000000a11e alias tenantd:{app}/gone"));
    let tenant = format!("/run/tenantd/{app}/tenants/gone");
    let leaf = format!("/sys/fs/cgroup/tenantd/{app}/gone");
    for folder in [&tenant, &leaf, &"/run/netns".to_owned()] {
        fs::create_dir_all(folder).unwrap();
    }
    let name = format!("/run/netns/{app}-gone");
    symlink(format!("{tenant}/../../../../../proc/1/fd/3"), &name).unwrap();
    vec!["/sys/class/net/td00000000a11e".into(), tenant, leaf, name]
}

/// Makes objects that look like residue of the application but are not.
pub fn create_foreign(app: &str) -> Vec<String> {
    ip("link add td0000000057aa type veth peer name peer1");
    // It belongs to another application.
    ip("link add td00000000077e type veth peer name peer2");
    ip("link set td00000000077e alias tenantd:other/gone");
    let file = format!("/run/tenantd/{app}/notes");
    fs::write(&file, "theirs").unwrap();
    fs::create_dir_all("/run/netns").unwrap();
    let name = format!("/run/netns/{app}-theirs");
    symlink("/proc/1/ns/net", &name).unwrap();
    let links = ["td0000000057aa", "td00000000077e"].map(|link| format!("/sys/class/net/{link}"));
    [links.to_vec(), vec![file, name]].concat()
}

/// Whether each of them exists.
pub fn exist(paths: &[String]) -> Vec<bool> {
    let is_there = |path: &String| fs::symlink_metadata(path).is_ok();
    paths.iter().map(is_there).collect()
}

/// Removes the objects of [`create_foreign`].
pub fn remove(foreign: &[String]) {
    ip("link delete td0000000057aa");
    ip("link delete td00000000077e");
    for path in &foreign[2..] {
        fs::remove_file(path).unwrap();
    }
}
