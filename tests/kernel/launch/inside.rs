//! The environment of the running program.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;
use std::sync::Arc;

use nix::sys::signal::{SigSet, Signal};
use tenantd_host::cgroup::Tree;
use tenantd_host::lock::LOCK_FD;
use tenantd_host::process::Ended;

use crate::launch::bench::{Bench, TARGET};
use crate::support;

#[test]
fn exactly_two_namespaces_are_new() {
    let bench = Bench::new();
    let running = bench.run().unwrap();
    let ours = |kind: &str| std::fs::read_link(format!("/proc/thread-self/ns/{kind}")).unwrap();
    let all = ["cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"];
    let differ: Vec<&str> = all
        .into_iter()
        .filter(|kind| ours(kind) != running.link(&format!("ns/{kind}")))
        .collect();
    assert_eq!(differ, ["mnt", "net"]);
    let netns = format!("/proc/self/fd/{}", bench.netns.as_raw_fd());
    assert_eq!(running.link("ns/net"), std::fs::read_link(netns).unwrap());
}

/// The descriptors that a process has open.
fn open_in(pid: i32) -> Vec<i32> {
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let number = |entry: std::io::Result<std::fs::DirEntry>| {
        let name = entry.unwrap().file_name();
        name.to_str().unwrap().parse().unwrap()
    };
    let mut open: Vec<i32> = entries.map(number).collect();
    open.sort_unstable();
    open
}

#[test]
fn only_standard_descriptors_and_the_lock_are_open() {
    let bench = Bench::new();
    // A descriptor that is not close-on-exec.
    let forgotten = File::open("/etc").unwrap();
    rustix::io::fcntl_setfd(&forgotten, rustix::io::FdFlags::empty()).unwrap();
    let running = bench.run().unwrap();
    // Its libraries are open while they are loaded. Inherited descriptors would stay open.
    support::until("nothing else is open", || {
        open_in(running.pid) == [0, 1, 2, LOCK_FD]
    });
    assert_eq!(running.link("fd/0"), Path::new("/dev/null"));
    assert_eq!(running.link("fd/1"), Path::new("/run/out"));
    assert_eq!(running.link("fd/2"), Path::new("/run/out"));
}

#[test]
fn the_limit_on_open_files_is_as_given() {
    let mut bench = Bench::new();
    bench.descriptors.current = Some(77);
    let running = bench.run().unwrap();
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", running.pid)).unwrap();
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    assert_eq!(line.unwrap().split_whitespace().nth(3), Some("77"));
}

#[test]
fn no_signal_is_blocked_or_ignored() {
    let bench = Bench::new();
    let mut blocked = SigSet::empty();
    blocked.add(Signal::SIGUSR1);
    blocked.add(Signal::SIGTERM);
    blocked.thread_block().unwrap();
    // Rust programs ignore SIGPIPE, and ignored signals stay ignored over clone and exec.
    assert_ne!(ignored() & (1 << (libc::SIGPIPE - 1)), 0);
    let running = bench.run().unwrap();
    let none = "0000000000000000";
    for field in ["SigBlk", "SigIgn", "SigCgt"] {
        assert_eq!(running.status(field), none, "{field}");
    }
}

/// The signals that this process ignores.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    u64::from_str_radix(line.unwrap().trim(), 16).unwrap()
}

#[test]
fn the_program_leads_its_own_session() {
    let running = Bench::new().run().unwrap();
    let stat = running.proc("stat");
    let fields: Vec<&str> = stat
        .rsplit_once(')')
        .unwrap()
        .1
        .split_whitespace()
        .collect();
    let (group, session) = (fields[2], fields[3]);
    assert_eq!(group, running.pid.to_string());
    assert_eq!(session, running.pid.to_string());
}

#[test]
fn user_groups_and_capabilities_are_complete() {
    let mut bench = Bench::new();
    let identity = Arc::make_mut(&mut bench.launch.identity);
    identity.groups = vec![1000, 2000];
    identity.gid = 1001;
    let running = bench.run().unwrap();
    assert_eq!(running.status("Uid"), "1000\t1000\t1000\t1000");
    assert_eq!(running.status("Gid"), "1001\t1001\t1001\t1001");
    assert_eq!(running.status("Groups"), "1000 2000");
    assert_eq!(running.status("NoNewPrivs"), "1");
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb", "CapBnd"] {
        assert_eq!(running.status(set), "0000000000000000", "{set}");
    }
}

#[test]
fn root_lacks_capabilities_that_could_undo_the_mounts() {
    let running = Bench::new().for_root().run().unwrap();
    let bits = |field| u64::from_str_radix(&running.status(field), 16).unwrap();
    // By number, so that a mistake in the list is not repeated here; see capability.h.
    let dropped = [2, 12, 16, 17, 19, 21, 22, 27, 38, 39];
    for set in ["CapBnd", "CapEff", "CapPrm"] {
        for number in dropped {
            assert_eq!(bits(set) & (1 << number), 0, "{set} has {number}");
        }
    }
    // Programs that start as root still need these: chown, setuid, low ports.
    for number in [0, 1, 6, 7, 10] {
        assert_ne!(bits("CapEff") & (1 << number), 0, "CapEff lacks {number}");
    }
    assert_eq!(running.status("Groups"), "");
}

/// Links in `/proc/PID` lead into other mount namespaces. This one stays in that of the launch, so that
/// nothing else refuses it.
#[test]
fn a_magic_link_does_not_lead_to_the_working_directory() {
    let mut bench = Bench::new().on_a_writable_host();
    std::os::unix::fs::symlink("/proc/self/root/tmp", "/run/work").unwrap();
    bench.launch.working_directory = "/run/work".into();
    let said = bench.failure();
    let expected = "cannot enter the working directory /run/work: ";
    assert!(said.starts_with(expected), "{said}");
    assert!(said.contains("(ELOOP)"), "{said}");
    assert!(said.contains("leads out of the tenant"), "{said}");
}

#[test]
fn environment_and_working_directory_are_as_given() {
    let mut bench = Bench::new();
    let environment = [("A", "1"), ("EMPTY", ""), ("SPACE", "a b=c")];
    let environment = environment.map(|(key, value)| (key.into(), value.into()));
    bench.launch.environment = BTreeMap::from(environment).into();
    bench.launch.working_directory = TARGET.into();
    let running = bench.run().unwrap();
    assert_eq!(running.proc("environ"), "A=1\0EMPTY=\0SPACE=a b=c\0");
    assert_eq!(running.proc("cmdline"), "sleep\x001000\0");
    assert_eq!(running.link("cwd"), Path::new(TARGET));
}

#[test]
fn the_program_starts_in_its_cgroup() {
    let mut bench = Bench::new();
    let app = support::app_name().parse().unwrap();
    let tree = Tree::find(&app).unwrap().unwrap();
    let leaf = tree.leaf(&"acme".parse().unwrap()).unwrap();
    bench.leaf = Some(leaf.clone());
    let running = bench.run().unwrap();
    let cgroup = running.proc("cgroup");
    assert!(
        cgroup
            .lines()
            .any(|line| line == format!("0::/tenantd/{app}/acme/program")),
        "{cgroup}"
    );
    assert_eq!(leaf.pids().unwrap(), [running.pid]);
    drop(running);
    leaf.remove().unwrap();
    tree.remove().unwrap();
}

#[test]
fn a_killed_cgroup_can_be_used_for_another_launch() {
    let mut bench = Bench::new();
    let tenant = "acme".parse().unwrap();
    let app = support::app_name().parse().unwrap();
    let tree = Tree::find(&app).unwrap().unwrap();
    let leaf = tree.leaf(&tenant).unwrap();
    bench.leaf = Some(leaf.clone());
    let kill = |bench: &Bench| {
        let mut running = bench.run().unwrap();
        leaf.kill().unwrap();
        assert_eq!(running.end(), Ended::Signal(libc::SIGKILL));
        support::until("the leaf is empty", || !leaf.is_populated().unwrap());
    };
    kill(&bench);
    leaf.recreate().unwrap();
    kill(&bench);
    // As the next supervisor finds it.
    tree.leaf(&tenant).unwrap();
    kill(&bench);
    leaf.remove().unwrap();
    tree.remove().unwrap();
}

#[test]
fn the_program_outlives_the_thread_that_launched_it() {
    let bench = Bench::new();
    let launcher = || (bench.run().unwrap(), rustix::thread::gettid());
    let (mut running, tid) = std::thread::scope(|scope| scope.spawn(launcher).join().unwrap());
    let task = format!("/proc/self/task/{}", tid.as_raw_nonzero());
    support::until("the thread is gone", || !Path::new(&task).exists());
    // If the end of the thread had killed the program, this signal would be the second one.
    tenantd_host::process::signal(running.pidfd.as_fd(), libc::SIGTERM).unwrap();
    let by_term = tenantd_host::process::Ended::Signal(libc::SIGTERM);
    assert_eq!(running.end(), by_term);
}

/// The mode that it has: without the guard, the call succeeds and the machine does not notice.
#[test]
fn root_cannot_change_the_device_that_is_its_standard_input() {
    let mut bench = Bench::new().for_root();
    bench.set_script(
        "exec python3 -I -c 'import os\nprint(os.readlink(\"/proc/self/fd/0\"))\n\
         try: os.fchmod(0, 0o666)\nexcept OSError as error: print(error.strerror)'",
    );
    assert_eq!(bench.output(), "/dev/null\nRead-only file system\n");
}
