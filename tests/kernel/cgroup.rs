//! Cgroup leaves and processes on the real kernel.

use crate::support;

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use nix::mount::{MsFlags, mount, umount};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use support::until;
use tenantd_core::name::TenantName;
use tenantd_core::stage::Stage;
use tenantd_host::cgroup::{Leaf, Tree, Watch};
use tenantd_host::children::Known;
use tenantd_host::launch::ready_fd::ReadyFd;
use tenantd_host::process::{self, Ended, ended};

fn tenant(name: &str) -> TenantName {
    name.parse().unwrap()
}

/// A test host with a tree for an application of its own.
fn enter() -> Tree {
    support::enter();
    let app = support::app_name().parse().unwrap();
    Tree::find(&app).unwrap().unwrap()
}

/// Starts a shell in the leaf that runs this script; it is in the leaf when this returns.
fn spawn_in(leaf: &Leaf, script: &str) -> Child {
    let script = format!("echo $$ > {}/cgroup.procs; {script}", leaf.path().display());
    let child = Command::new("sh").args(["-c", &script]).spawn().unwrap();
    until("the shell is in its leaf", || leaf.is_populated().unwrap());
    child
}

/// Kills the processes in the leaf, and removes leaf and tree.
fn clean(leaf: &Leaf, mut child: Child) {
    leaf.kill().unwrap();
    child.wait().unwrap();
    until("the leaf is empty", || !leaf.is_populated().unwrap());
    leaf.remove().unwrap();
}

fn pidfd(pid: u32) -> OwnedFd {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    pidfd_open(pid, PidfdFlags::empty()).unwrap()
}

fn wait<F: Future>(future: F) -> F::Output {
    let within = async {
        tokio::time::timeout(Duration::from_secs(10), future)
            .await
            .unwrap()
    };
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(within)
}

#[test]
fn a_tree_at_the_top_is_created_and_removed() {
    let tree = enter();
    let base = tree.path().to_path_buf();
    assert!(
        base.starts_with("/sys/fs/cgroup/tenantd"),
        "{}",
        base.display()
    );
    let leaf = tree.leaf(&tenant("acme")).unwrap();
    assert_eq!(leaf.path(), base.join("acme"));
    assert!(!leaf.is_populated().unwrap());
    // A second time changes nothing.
    assert_eq!(tree.leaf(&tenant("acme")).unwrap(), leaf);
    assert_eq!(tree.found(&tenant("acme")), Some(leaf.clone()));
    assert_eq!(tree.found(&tenant("other")), None);
    leaf.remove().unwrap();
    leaf.remove().unwrap();
    tree.remove().unwrap();
    assert!(!base.exists());
}

#[test]
fn a_leaf_in_use_belongs_to_an_earlier_launch() {
    let tree = enter();
    let leaf = tree.leaf(&tenant("acme")).unwrap();
    let child = spawn_in(&leaf, "exec sleep 1000");
    let why = tree.leaf(&tenant("acme")).unwrap_err();
    assert_eq!((why.stage, why.errno), (Stage::Cgroup, libc::EBUSY));
    let expected = format!(
        "an earlier launch still runs in it (process {}): end it",
        child.id()
    );
    assert!(why.detail.starts_with(&expected), "{}", why.detail);
    let why = leaf.remove().unwrap_err();
    assert_eq!((why.stage, why.errno), (Stage::Cgroup, libc::EBUSY));
    // A tree with a leaf is kept.
    tree.clone().remove().unwrap();
    assert!(leaf.path().exists());
    clean(&leaf, child);
    tree.remove().unwrap();
}

#[test]
fn kill_reaches_daemons_and_processes_in_child_cgroups() {
    let tree = enter();
    let leaf = tree.leaf(&tenant("acme")).unwrap();
    let below = leaf.path().join("below");
    let script = format!(
        "setsid sleep 1000 & mkdir {0}; (echo 0 > {0}/cgroup.procs; exec sleep 1000) & wait",
        below.display()
    );
    let child = spawn_in(&leaf, &script);
    until("all three are there", || {
        leaf.pids().unwrap().len() == 3 && below.exists()
    });
    clean(&leaf, child);
    assert!(!leaf.path().exists());
    assert_eq!(leaf.pids().unwrap(), [0; 0]);
    tree.remove().unwrap();
}

#[test]
fn a_list_of_many_pages_is_read_as_a_whole() {
    let tree = enter();
    let leaf = tree.leaf(&tenant("acme")).unwrap();
    let many =
        "import os, signal\nfor _ in range(1500):\n if os.fork() == 0: break\nsignal.pause()";
    let child = spawn_in(&leaf, &format!("exec python3 -c '{many}'"));
    until("all are there", || leaf.pids().unwrap().len() == 1501);
    let listed = std::fs::read_to_string(leaf.path().join("cgroup.procs")).unwrap();
    assert!(listed.len() > 4096, "{}", listed.len());
    // None of them is in the part that a launch is cloned into.
    assert_eq!(leaf.unmoved_pids().unwrap(), [0; 0]);
    clean(&leaf, child);
    tree.remove().unwrap();
}

#[test]
fn a_signal_reaches_every_process() {
    let tree = enter();
    let leaf = tree.leaf(&tenant("acme")).unwrap();
    let mut child = spawn_in(&leaf, "sleep 1000 & exec sleep 1000");
    until("both are there", || leaf.pids().unwrap().len() == 2);
    assert_eq!(leaf.signal(libc::SIGTERM).unwrap(), 2);
    until("the leaf is empty", || !leaf.is_populated().unwrap());
    assert_eq!(leaf.signal(libc::SIGTERM).unwrap(), 0);
    child.wait().unwrap();
    leaf.remove().unwrap();
    tree.remove().unwrap();
}

/// A process in the part of the visitors.
fn visitor(leaf: &Leaf, script: &str) -> Child {
    let part = leaf.make_visitors().unwrap();
    let script = format!("echo $$ > {}/cgroup.procs; {script}", part.display());
    let child = Command::new("sh").args(["-c", &script]).spawn().unwrap();
    until("it is there", || leaf.has_visitors().unwrap());
    child
}

#[test]
fn a_visitor_is_not_the_program() {
    let tree = enter();
    let leaf = tree.leaf(&tenant("acme")).unwrap();
    let mut visitor = visitor(&leaf, "exec sleep 1000");
    let pid = i32::try_from(visitor.id()).unwrap();
    assert!(!leaf.is_populated().unwrap() && leaf.is_occupied().unwrap());
    assert_eq!(leaf.pids().unwrap(), [0; 0]);
    assert_eq!(leaf.signal(libc::SIGKILL).unwrap(), 0);
    leaf.kill().unwrap();
    assert_eq!(leaf.visitors().unwrap(), [pid]);
    assert_eq!(leaf.all_pids().unwrap(), [pid]);
    // No launch is made beside it.
    assert_eq!(leaf.recreate().unwrap_err().errno, libc::EBUSY);
    assert_eq!(tree.leaf(&tenant("acme")).unwrap_err().errno, libc::EBUSY);
    assert!(!leaf.remove_visitors().unwrap());
    // A launch of an earlier version is in the leaf itself.
    let program = spawn_in(&leaf, "exec sleep 1000");
    assert!(leaf.is_populated().unwrap());
    assert_eq!(leaf.pids().unwrap(), [i32::try_from(program.id()).unwrap()]);
    assert_eq!(leaf.signal_visitors(libc::SIGHUP).unwrap(), 1);
    visitor.wait().unwrap();
    until("it has left", || leaf.remove_visitors().unwrap());
    assert!(leaf.is_populated().unwrap());
    clean(&leaf, program);
    tree.remove().unwrap();
}

#[test]
fn the_watch_reports_the_end_of_a_program_with_a_visitor() {
    let tree = enter();
    let leaf = tree.leaf(&tenant("acme")).unwrap();
    let program = leaf.path().join("program/cgroup.procs");
    let script = format!("echo $$ > {}; exec sleep 1000", program.display());
    let mut child = Command::new("sh").args(["-c", &script]).spawn().unwrap();
    until("it is there", || leaf.is_populated().unwrap());
    let mut visitor = visitor(&leaf, "exec sleep 1000");
    wait(async {
        let watch = Watch::new().unwrap();
        watch.add(&leaf).unwrap();
        leaf.kill().unwrap();
        assert_eq!(watch.next().await.unwrap(), tenant("acme"));
    });
    child.wait().unwrap();
    assert!(leaf.has_visitors().unwrap());
    leaf.kill_all().unwrap();
    visitor.wait().unwrap();
    until("the leaf is empty", || !leaf.is_occupied().unwrap());
    leaf.remove().unwrap();
    tree.remove().unwrap();
}

#[test]
fn the_watch_reports_cgroups_that_became_empty() {
    let tree = enter();
    let (acme, other) = (tenant("acme"), tenant("other"));
    let leaf = tree.leaf(&acme).unwrap();
    let idle = tree.leaf(&other).unwrap();
    wait(async {
        let watch = Watch::new().unwrap();
        watch.add(&leaf).unwrap();
        watch.add(&idle).unwrap();
        let mut child = spawn_in(&leaf, "exec sleep 1000");
        assert_eq!(watch.next().await.unwrap(), acme);
        assert!(leaf.is_populated().unwrap());
        // There was no change since, and a cancelled wait loses nothing.
        let none = tokio::time::timeout(Duration::ZERO, watch.next()).await;
        assert!(none.is_err());
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(watch.next().await.unwrap(), acme);
        assert!(!leaf.is_populated().unwrap());
        watch.remove(&acme).unwrap();
        watch.remove(&acme).unwrap();
        let next = spawn_in(&leaf, "exec sleep 1000");
        let last = spawn_in(&idle, "exec sleep 1000");
        assert_eq!(watch.next().await.unwrap(), other);
        clean(&leaf, next);
        clean(&idle, last);
    });
    tree.remove().unwrap();
}

#[test]
fn a_recreated_leaf_is_watched_once() {
    use std::os::fd::AsRawFd;
    let tree = enter();
    let acme = tenant("acme");
    let leaf = tree.leaf(&acme).unwrap();
    wait(async {
        let watch = Watch::new().unwrap();
        let watches = || {
            let path = format!("/proc/self/fdinfo/{}", watch.as_fd().as_raw_fd());
            let text = std::fs::read_to_string(path).unwrap();
            text.lines()
                .filter(|line| line.starts_with("inotify"))
                .count()
        };
        watch.add(&leaf).unwrap();
        for _ in 0..3 {
            leaf.recreate().unwrap();
            watch.add(&leaf).unwrap();
            assert_eq!(watches(), 2);
        }
        let child = spawn_in(&leaf, "exec sleep 1000");
        assert_eq!(watch.next().await.unwrap(), acme);
        clean(&leaf, child);
    });
    tree.remove().unwrap();
}

#[test]
fn no_cgroups_without_a_unified_tree() {
    support::enter();
    let app = support::app_name().parse().unwrap();
    let none: Option<&str> = None;
    let read_only = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY;
    mount(none, "/sys/fs/cgroup", none, read_only, none).unwrap();
    assert_eq!(Tree::find(&app), Ok(None));
    umount("/sys/fs/cgroup").unwrap();
    assert_eq!(Tree::find(&app), Ok(None));
}

/// The variable with the folder of a service that delegates its cgroup; the inner test reads it.
const SERVICE: &str = "TENANTD_TEST_SERVICE";

#[test]
fn a_service_keeps_its_tenants_below_itself() {
    support::enter();
    let service = format!("/sys/fs/cgroup/{}.service", support::app_name());
    std::fs::create_dir(&service).unwrap();
    // The process that looks for its tree must be in the service, so it is another process.
    let mut inside = Command::new("sh");
    inside
        .args(["-c", "echo $$ > \"$0/cgroup.procs\"; exec \"$@\"", &service])
        .env(SERVICE, &service);
    let passed = support::passes_alone("cgroup::inside_a_service", &mut inside);
    for folder in ["supervisor", ""] {
        std::fs::remove_dir(Path::new(&service).join(folder)).unwrap();
    }
    assert!(passed);
}

#[test]
#[ignore = "run by a_service_keeps_its_tenants_below_itself, in the service's cgroup"]
fn inside_a_service() {
    let service = std::env::var(SERVICE).expect("this is only a part of another test");
    let app = support::app_name().parse().unwrap();
    // The second time from the leaf that the first call has moved this process to.
    for _ in 0..2 {
        let tree = Tree::find(&app).unwrap().unwrap();
        assert_eq!(tree.path(), Path::new(&service).join("tenants"));
        let own = std::fs::read_to_string("/proc/self/cgroup").unwrap();
        assert!(own.contains(".service/supervisor"), "{own}");
        let leaf = tree.leaf(&tenant("acme")).unwrap();
        leaf.remove().unwrap();
        tree.remove().unwrap();
    }
}

#[test]
fn the_exit_status_is_reported() {
    let script = |script: &str| Command::new("sh").args(["-c", script]).spawn().unwrap();
    wait(async {
        let of = async |child: &Child| {
            let known = Known::register(child.id().cast_signed());
            ended(&ReadyFd::new(pidfd(child.id())).unwrap(), &known)
                .await
                .unwrap()
        };
        assert_eq!(of(&script("exit 3")).await, Ended::Status(3));
        assert_eq!(of(&script("kill -9 $$")).await, Ended::Signal(9));
        let mut alive = script("exec sleep 1000");
        let fd = pidfd(alive.id());
        assert_eq!(process::reap(fd.as_fd()), Ok(None));
        // A real-time signal, which has no name.
        process::signal(fd.as_fd(), 36).unwrap();
        assert_eq!(of(&alive).await, Ended::Signal(36));
        // It was reaped already.
        assert_eq!(alive.wait().unwrap_err().raw_os_error(), Some(libc::ECHILD));
    });
}

#[test]
fn the_exit_of_an_unrelated_process_is_seen() {
    use std::io::{BufRead, BufReader};
    let mut parent = Command::new("sh")
        .args(["-c", "sleep 1000 & echo $!; wait"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(parent.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let grandchild: i32 = line.trim().parse().unwrap();
    let started = process::start_ticks(grandchild).unwrap();
    assert_eq!(process::start_ticks(grandchild), Some(started));
    let fd = pidfd(grandchild.unsigned_abs());
    assert_eq!(process::reap(fd.as_fd()), Ok(None));
    process::signal(fd.as_fd(), libc::SIGKILL).unwrap();
    let known = Known::register(grandchild);
    let how = wait(async { ended(&ReadyFd::new(fd).unwrap(), &known).await.unwrap() });
    // Its parent may have reaped it already. Since Linux 6.15 the kernel reports the status even
    // then.
    assert_eq!(how, Ended::Signal(libc::SIGKILL));
    parent.wait().unwrap();
}

#[test]
fn a_network_namespace_is_emptied_without_a_cgroup() {
    use std::os::unix::fs::MetadataExt;
    support::enter();
    // The shell enters a new network namespace and starts two processes that fork.
    let script = "setsid sleep 1000 & (while :; do /bin/true; done) & exec sleep 1000";
    let mut child = Command::new("unshare")
        .args(["--net", "sh", "-c", script])
        .spawn()
        .unwrap();
    let path = format!("/proc/{}/ns/net", child.id());
    let ours = std::fs::metadata("/proc/thread-self/ns/net").unwrap().ino();
    let inode = || std::fs::metadata(&path).unwrap().ino();
    until("it is in its namespace", || inode() != ours);
    let theirs = inode();
    until("all are there", || {
        process::in_netns(theirs).unwrap().len() >= 3
    });
    process::kill_netns(theirs, Duration::from_secs(10)).unwrap();
    assert_eq!(process::in_netns(theirs).unwrap(), [0; 0]);
    assert!(!child.wait().unwrap().success());
}
