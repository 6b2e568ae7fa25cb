//! Resource limits: at the start of a program, and on all processes of a running one.

use std::collections::BTreeSet;
use std::path::Path;

use rustix::process::{Resource, Rlimit, getrlimit};
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
use tenantd_core::plan::model::{Bound, Limit, Limits};
use tenantd_core::stage::Stage;
use tenantd_host::cgroup::{Leaf, Tree};
use tenantd_host::limits::{Target, apply, is_applied};
use tenantd_host::process;

use crate::launch::bench::{Bench, Running};
use crate::refuse::deny;
use crate::support;

/// A program that keeps forking and has hundreds of children.
const FORKS: &str = "while :; do i=0; while [ $i -lt 10 ]; do sleep 1 & i=$((i+1)); done; \
                     sleep 0.01; done";

fn limit(soft: u64, hard: u64) -> Option<Limit> {
    Some(Limit {
        soft: Bound::Number(soft),
        hard: Bound::Number(hard),
    })
}

fn files(soft: u64, hard: u64) -> Limits {
    Limits {
        open_files: limit(soft, hard),
        ..Limits::default()
    }
}

/// The soft and the hard limit of a process as the kernel shows them; `None` if it has ended.
fn seen(pid: i32, label: &str) -> Option<String> {
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix(label))?;
    let words: Vec<_> = line.split_whitespace().take(2).collect();
    Some(words.join(" "))
}

fn open_files(pid: i32) -> Option<String> {
    seen(pid, "Max open files")
}

fn shown(value: &Rlimit) -> String {
    let one = |value: Option<u64>| value.map_or_else(|| "unlimited".into(), |v| v.to_string());
    format!("{} {}", one(value.current), one(value.maximum))
}

/// A bench whose program runs as root, in a leaf of a tree of its own.
fn in_a_leaf(script: &str) -> (Bench, Tree, Leaf) {
    let mut bench = Bench::script(script).for_root();
    let app = support::app_name().parse().unwrap();
    let tree = Tree::find(&app).unwrap().unwrap();
    let leaf = tree.leaf(&"acme".parse().unwrap()).unwrap();
    bench.leaf = Some(leaf.clone());
    (bench, tree, leaf)
}

fn target<'a>(running: &Running, leaf: Option<&'a Leaf>) -> Target<'a> {
    use std::os::unix::fs::MetadataExt;
    let netns = Path::new("/proc").join(format!("{}/ns/net", running.pid));
    Target {
        leaf,
        netns: std::fs::metadata(netns).unwrap().ino(),
        label: "acme",
    }
}

fn end(leaf: &Leaf, tree: &Tree, running: Running) {
    leaf.kill().unwrap();
    drop(running);
    support::until("the leaf is empty", || !leaf.is_populated().unwrap());
    leaf.remove().unwrap();
    tree.remove().unwrap();
}

#[test]
fn a_program_starts_with_its_limits() {
    let mut bench = Bench::new();
    bench.launch.limits = Limits {
        open_files: limit(100, 200),
        core: limit(0, 4096),
        locked_memory: limit(4096, 8192),
    };
    let running = bench.run().unwrap();
    let seen = |label| seen(running.pid, label).unwrap();
    assert_eq!(seen("Max open files"), "100 200");
    assert_eq!(seen("Max core file size"), "0 4096");
    assert_eq!(seen("Max locked memory"), "4096 8192");
}

#[test]
fn a_limit_that_cannot_be_set_stops_the_launch() {
    let mut bench = Bench::new();
    bench.launch.limits.open_files = Some(Limit {
        soft: Bound::Number(1024),
        hard: Bound::Unlimited,
    });
    // The kernel allows no process more than fs.nr_open.
    assert_eq!(
        bench.failure(),
        "cannot set the limit on open files: Operation not permitted (EPERM) [raising a \
         hard limit, or the limits of another user's process, requires CAP_SYS_RESOURCE; \
         restarting the tenant sets the limit too]"
    );
}

#[test]
fn limits_reach_processes_that_are_forked_meanwhile() {
    let (bench, tree, leaf) = in_a_leaf(FORKS);
    let running = bench.run().unwrap();
    support::until("it forks", || leaf.pids().unwrap().len() > 50);
    let limits = files(300, 400);
    assert!(!is_applied(Some(&leaf), &limits).unwrap());
    let before = getrlimit(Resource::Nofile);
    apply(target(&running, Some(&leaf)), &limits, before).unwrap();
    let pids: BTreeSet<i32> = leaf.pids().unwrap().into_iter().collect();
    let limited: Vec<_> = pids.iter().filter_map(|pid| open_files(*pid)).collect();
    assert!(limited.len() > 50, "{}", limited.len());
    assert!(
        limited.iter().all(|limit| limit == "300 400"),
        "{limited:?}"
    );
    // Later children have them too.
    support::until("none of them is left", || {
        let now = leaf.pids().unwrap();
        now.iter()
            .all(|pid| *pid == running.pid || !pids.contains(pid))
    });
    let later: Vec<_> = leaf.pids().unwrap();
    assert!(
        later
            .iter()
            .filter_map(|pid| open_files(*pid))
            .all(|limit| limit == "300 400")
    );
    assert!(is_applied(Some(&leaf), &limits).unwrap());
    end(&leaf, &tree, running);
}

#[test]
fn without_a_cgroup_limits_reach_processes_by_network_namespace() {
    let bench = Bench::script("sleep 1000 & sleep 1000").for_root();
    let running = bench.run().unwrap();
    let target = target(&running, None);
    let processes = || process::in_netns(target.netns).unwrap();
    support::until("both run", || processes().len() == 3);
    apply(target, &files(300, 400), getrlimit(Resource::Nofile)).unwrap();
    for pid in processes() {
        assert_eq!(open_files(pid).as_deref(), Some("300 400"));
    }
    process::signal_netns(target.netns, libc::SIGKILL).unwrap();
}

#[test]
fn limits_no_longer_planned_are_reset_and_the_programs_own_are_kept() {
    let (mut bench, tree, leaf) = in_a_leaf("ulimit -Sl 8; sleep 1000");
    bench.launch.limits = files(300, 400);
    let running = bench.run().unwrap();
    support::until("it has set its own", || {
        seen(running.pid, "Max locked memory")
            .unwrap()
            .starts_with("8192 ")
    });
    let locked = seen(running.pid, "Max locked memory").unwrap();
    let before = Rlimit {
        current: Some(350),
        maximum: Some(400),
    };
    apply(target(&running, Some(&leaf)), &Limits::default(), before).unwrap();
    assert_eq!(open_files(running.pid), Some(shown(&before)));
    assert_eq!(seen(running.pid, "Max locked memory"), Some(locked));
    assert!(is_applied(Some(&leaf), &Limits::default()).unwrap());
    end(&leaf, &tree, running);
}

#[test]
fn limits_known_to_be_applied_are_not_set_again() {
    let (mut bench, tree, leaf) = in_a_leaf("ulimit -Sn 200; sleep 1000");
    bench.launch.limits = files(300, 400);
    let running = bench.run().unwrap();
    support::until("it has set its own", || {
        open_files(running.pid).as_deref() == Some("200 400")
    });
    assert!(is_applied(Some(&leaf), &files(300, 400)).unwrap());
    apply(
        target(&running, Some(&leaf)),
        &files(300, 400),
        getrlimit(Resource::Nofile),
    )
    .unwrap();
    assert_eq!(open_files(running.pid).as_deref(), Some("200 400"));
    end(&leaf, &tree, running);
}

/// A tenant that runs as root may write what it likes beside its processes.
#[test]
fn a_forged_note_is_believed_only_as_far_as_the_kernel_confirms_it() {
    let (mut bench, tree, leaf) = in_a_leaf("sleep 1000 & sleep 1000");
    bench.launch.limits = files(300, 400);
    let running = bench.run().unwrap();
    support::until("both run", || leaf.pids().unwrap().len() == 3);
    leaf.keep_note("open files=200:200").unwrap();
    assert!(!is_applied(Some(&leaf), &files(200, 200)).unwrap());
    let (target, before) = (target(&running, Some(&leaf)), getrlimit(Resource::Nofile));
    apply(target, &files(200, 200), before).unwrap();
    for pid in leaf.pids().unwrap() {
        assert_eq!(open_files(pid).as_deref(), Some("200 200"));
    }
    assert!(is_applied(Some(&leaf), &files(200, 200)).unwrap());
    end(&leaf, &tree, running);
}

#[test]
fn a_refused_limit_is_reported_and_not_noted_as_applied() {
    let (mut bench, tree, leaf) = in_a_leaf("sleep 1000 & sleep 1000");
    bench.launch.limits = files(300, 400);
    let running = bench.run().unwrap();
    support::until("both run", || leaf.pids().unwrap().len() == 3);
    let mut ours = capabilities(None).unwrap();
    ours.effective.remove(CapabilitySet::SYS_RESOURCE);
    set_capabilities(None, ours).unwrap();
    let (target, before) = (target(&running, Some(&leaf)), getrlimit(Resource::Nofile));
    let refused = apply(target, &files(300, 500), before).unwrap_err();
    assert_eq!((refused.stage, refused.errno), (Stage::Limits, libc::EPERM));
    let first = leaf.pids().unwrap()[0];
    assert_eq!(refused.object, format!("open files of process {first}"));
    assert_eq!(open_files(running.pid).as_deref(), Some("300 400"));
    // The processes have neither of them: a change was under way.
    for limits in [files(300, 500), files(300, 400)] {
        assert!(!is_applied(Some(&leaf), &limits).unwrap());
    }
    // If all processes have the limits, none is set, and none is refused.
    deny(libc::SYS_prlimit64, None, libc::EPERM);
    apply(target, &files(300, 400), before).unwrap();
    assert!(is_applied(Some(&leaf), &files(300, 400)).unwrap());
    end(&leaf, &tree, running);
}
