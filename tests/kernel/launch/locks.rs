//! A datastore has at most one launch, whatever its path, as long as any of its processes runs. Without a
//! leaf, as most launches here, a launch inherits a lock beside its claim.

use std::os::fd::AsFd;
use std::path::Path;

use nix::mount::{MsFlags, mount};
use tenantd_core::stage::Stage;
use tenantd_host::cgroup::{Leaf, Tree};
use tenantd_host::{claim, datastore, lock, process};

use crate::launch::bench::Bench;
use crate::support;

/// Whether no process uses its datastore.
fn is_free(bench: &Bench) -> bool {
    let source = &bench.datastore.source;
    let folder = datastore::open(source).unwrap();
    claim::holder_of(folder.as_fd(), source).unwrap().is_none()
}

/// Gives the bench a leaf.
fn with_leaf(bench: &mut Bench) -> (Tree, Leaf) {
    let app = support::app_name().parse().unwrap();
    let tree = Tree::find(&app).unwrap().unwrap();
    let leaf = tree.leaf(&"acme".parse().unwrap()).unwrap();
    bench.leaf = Some(leaf.clone());
    (tree, leaf)
}

fn remove(tree: &Tree, leaf: &Leaf) {
    leaf.kill().unwrap();
    support::until("the leaf is empty", || !leaf.is_populated().unwrap());
    leaf.remove().unwrap();
    tree.remove().unwrap();
}

#[test]
fn two_paths_to_one_folder_share_a_claim() {
    let mut bench = Bench::new();
    let _first = bench.run().unwrap();
    std::fs::create_dir("/run/alias").unwrap();
    let none: Option<&str> = None;
    let (source, alias) = (Some("/var/lib/tenantd"), "/run/alias");
    mount(source, alias, none, MsFlags::MS_BIND, none).unwrap();
    bench.datastore.source = "/run/alias/wiki/acme".into();
    let why = bench.run().err().unwrap();
    assert_eq!((why.stage, why.errno), (Stage::Lock, libc::EBUSY));
    assert!(
        why.detail.starts_with("wiki/acme uses it (process "),
        "{why}"
    );
}

#[test]
fn the_claim_counts_as_long_as_any_process_runs() {
    let mut bench = Bench::script("sleep 1000 & exit 0");
    let (tree, leaf) = with_leaf(&mut bench);
    assert!(is_free(&bench));
    // The first process ends; its child continues.
    assert_eq!(bench.output(), "");
    assert!(leaf.is_populated().unwrap());
    assert!(!is_free(&bench));
    assert_eq!(bench.run().err().unwrap().stage, Stage::Lock);
    leaf.kill().unwrap();
    support::until("the leaf is empty", || !leaf.is_populated().unwrap());
    assert!(is_free(&bench));
    remove(&tree, &leaf);
}

#[test]
fn in_a_cgroup_nothing_of_the_claim_is_inherited() {
    let mut bench = Bench::new();
    let (tree, leaf) = with_leaf(&mut bench);
    let running = bench.run().unwrap();
    let open = || {
        let entries = std::fs::read_dir(format!("/proc/{}/fd", running.pid)).unwrap();
        entries.count()
    };
    support::until("only standard descriptors are open", || open() == 3);
    assert!(!is_free(&bench));
    drop(running);
    remove(&tree, &leaf);
}

#[test]
fn without_a_cgroup_an_inherited_lock_counts_too() {
    let bench = Bench::script("sleep 1000 & echo $!; exit 0");
    let child: i32 = bench.output().trim().parse().unwrap();
    // Its first process has ended, and nothing but the lock leads to its child.
    let why = bench.run().err().unwrap();
    assert_eq!((why.stage, why.errno), (Stage::Lock, libc::EBUSY));
    assert!(why.detail.starts_with("wiki/acme, process "), "{why}");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(child), nix::sys::signal::SIGKILL).unwrap();
    support::until("the lock is free", || is_free(&bench));
    bench.run().unwrap();
}

#[test]
fn a_failed_launch_leaves_the_datastore_free() {
    let mut bench = Bench::new();
    bench.launch.working_directory = "/run/nothing".into();
    assert_eq!(bench.run().err().unwrap().stage, Stage::WorkingDirectory);
    assert!(is_free(&bench));
}

/// A launch while the folder of the records has room for so many of them.
fn with_room_for(records: usize) {
    let mut bench = Bench::script("echo ran > /run/expected/ran");
    let (tree, leaf) = with_leaf(&mut bench);
    std::fs::create_dir_all(lock::LOCKS).unwrap();
    let flags = MsFlags::empty();
    mount(
        Some("test"),
        lock::LOCKS,
        Some("tmpfs"),
        flags,
        Some("size=8k"),
    )
    .unwrap();
    let filler = Path::new(lock::LOCKS).join("filler");
    std::fs::write(&filler, vec![0; 4096 * (2 - records)]).unwrap();
    let why = bench.run().err().unwrap();
    assert_eq!((why.stage, why.errno), (Stage::Lock, libc::ENOSPC), "{why}");
    assert!(why.detail.ends_with(".claim"), "{why}");
    // The child, if there was one, has been killed and reaped before it could do anything.
    assert!(!leaf.is_populated().unwrap());
    assert!(!bench.datastore.source.join("ran").exists());
    assert!(is_free(&bench));
    std::fs::remove_file(filler).unwrap();
    leaf.recreate().unwrap();
    assert_eq!(bench.output(), "");
    remove(&tree, &leaf);
}

#[test]
fn a_record_that_cannot_be_written_stops_the_launch() {
    with_room_for(0);
}

#[test]
fn a_process_that_cannot_be_recorded_stops_the_launch() {
    with_room_for(1);
}

/// The names of the files in the folder, without that of the guard.
fn files() -> Vec<String> {
    let entries = std::fs::read_dir(Path::new(lock::LOCKS)).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name != ".lock").collect()
}

#[test]
fn the_files_of_an_unused_claim_are_removed() {
    let bench = Bench::new();
    let source = bench.datastore.source.clone();
    let folder = datastore::open(&source).unwrap();
    let running = bench.run().unwrap();
    let why = claim::release(folder.as_fd(), &source, "wiki/acme").unwrap_err();
    assert_eq!(why.errno, libc::EBUSY);
    drop(running);
    assert_eq!(files().len(), 2, "the record and the lock");
    // This process is the supervisor, and has not released it.
    let why = claim::release(folder.as_fd(), &source, "wiki/other").unwrap_err();
    let said = "wiki/acme has it, although its program does not run now: `tenantd stop acme --app \
                wiki`";
    assert_eq!(why.detail, said);
    claim::release(folder.as_fd(), &source, "wiki/acme").unwrap();
    assert_eq!(files(), [""; 0]);
    assert!(is_free(&bench));
    bench.run().unwrap();
}

/// The claim of a launch that is adopted is continued after requests are answered. It may have ended by then.
#[test]
fn the_claim_of_the_next_launch_stays_if_the_one_before_is_adopted_late() {
    let bench = Bench::new();
    let source = bench.datastore.source.clone();
    let folder = datastore::open(&source).unwrap();
    let first = bench.run().unwrap();
    let ended = claim::Key {
        pid: first.pid,
        start_ticks: process::start_ticks(first.pid).unwrap(),
    };
    drop(first);
    let next = bench.run().unwrap();
    let adopted = (None, Some(ended));
    claim::adopt(folder.as_fd(), &source, "wiki/acme", adopted).unwrap();
    let holder = claim::holder_of(folder.as_fd(), &source).unwrap().unwrap();
    assert_eq!((holder.first, holder.by_lock), (Some(next.pid), false));
}

#[test]
fn a_sweep_removes_only_unused_claims() {
    let bench = Bench::new();
    let running = bench.run().unwrap();
    std::fs::create_dir("/run/other").unwrap();
    let other = Path::new("/run/other");
    let folder = datastore::open(other).unwrap();
    let free = claim::Claim::take(folder.as_fd(), other, "wiki/other", None).unwrap();
    drop(free);
    assert_eq!(files().len(), 4);
    claim::sweep().unwrap();
    assert_eq!(files().len(), 2);
    assert!(!is_free(&bench), "process {} uses it", running.pid);
}

#[test]
fn a_damaged_record_counts() {
    let bench = Bench::new();
    drop(bench.run().unwrap());
    let record = files().into_iter().find(|name| name.ends_with(".claim"));
    let path = Path::new(lock::LOCKS).join(record.unwrap());
    std::fs::write(&path, "{").unwrap();
    let why = bench.run().err().unwrap();
    assert!(why.detail.contains("is damaged"), "{why}");
    assert!(
        why.detail
            .contains("remove it once no program uses the datastore")
    );
    std::fs::remove_file(path).unwrap();
    bench.run().unwrap();
}
