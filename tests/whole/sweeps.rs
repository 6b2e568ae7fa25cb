//! Programs that try everything: each system call, all that shells do with processes and terminals, and the
//! process class of stress-ng. After each, what the supervisor says is so, and nothing is left.

mod shells;
mod stress;
mod system_calls;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use tenantd_api::wire::StateWord;

use crate::support::daemon::{Daemon, until};

/// The cgroup of the tenant.
fn leaf(daemon: &Daemon) -> PathBuf {
    format!("/sys/fs/cgroup/tenantd/{}/acme", daemon.app).into()
}

/// The processes in a cgroup and below it.
fn processes(cgroup: &Path) -> BTreeSet<u32> {
    let text = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
    let mut pids: BTreeSet<u32> = text.lines().map(|line| line.parse().unwrap()).collect();
    for below in fs::read_dir(cgroup).into_iter().flatten() {
        let below = below.unwrap();
        if below.file_type().unwrap().is_dir() {
            pids.extend(processes(&below.path()));
        }
    }
    pids
}

/// The children of the supervisor that have ended and were not reaped.
fn zombies(daemon: &Daemon) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{}/task", daemon.pid())).unwrap();
    let children = tasks.map(|task| task.unwrap().path().join("children"));
    let children = children.map(|path| fs::read_to_string(path).unwrap_or_default());
    let children: Vec<String> = children.collect();
    let children = children.iter().flat_map(|pids| pids.split_whitespace());
    let stats = children.filter_map(|pid| fs::read_to_string(format!("/proc/{pid}/stat")).ok());
    stats.filter(|stat| stat.contains(") Z ")).collect()
}

/// How many claims of datastores name a launch of the tenant.
fn claims(daemon: &Daemon) -> usize {
    let claims = fs::read_dir("/run/tenantd/locks").into_iter().flatten();
    let claims = claims.filter_map(|claim| fs::read_to_string(claim.unwrap().path()).ok());
    let parts = [format!("\"{}\"", daemon.app), "\"acme\"".to_owned()];
    let is_its = |claim: &String| parts.iter().all(|part| claim.contains(part));
    claims.filter(is_its).count()
}

/// The tenant is up, and has this number of processes.
#[track_caller]
fn is_up_with(daemon: &Daemon, count: usize) {
    until("only these processes run", || {
        (processes(&leaf(daemon)).len() == count).then_some(())
    });
    let acme = daemon.tenant("acme");
    assert_eq!((acme.state, acme.ready), (StateWord::Up, Some(true)));
    let pid = acme.pid.unwrap();
    assert!(processes(&leaf(daemon)).contains(&pid), "{acme:?}");
    until("no zombie is left", || {
        zombies(daemon).is_empty().then_some(())
    });
    assert_eq!(claims(daemon), 1);
    assert_eq!(
        daemon.tell(&["exec", "acme", "echo", "in"]).expect(0),
        "in\n"
    );
}

/// The tenant does not run, and nothing of its launch is left.
#[track_caller]
fn is_over(daemon: &Daemon) {
    assert_eq!(processes(&leaf(daemon)), BTreeSet::new());
    until("no zombie is left", || {
        zombies(daemon).is_empty().then_some(())
    });
    assert_eq!(claims(daemon), 0);
    assert_eq!(daemon.tenant("acme").pid, None);
}
