//! Tests with real mount and network namespaces.

use std::fs::{self, File};
use std::os::fd::AsRawFd;

use rustix::mount::{FsOpenFlags, fsopen};

use super::*;

fn app() -> AppName {
    "wiki".parse().unwrap()
}

fn tenant(name: &str) -> TenantName {
    name.parse().unwrap()
}

/// A network namespace that nothing but the result keeps alive.
fn netns() -> Netns {
    let made = thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        Netns::from_fd(File::open("/proc/thread-self/ns/net").unwrap().into()).unwrap()
    });
    made.join().unwrap()
}

fn wait<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.unwrap().block_on(work)
}

fn new() -> NetnsMounts {
    NetnsMounts::new(&app(), Path::new("/tmp")).unwrap()
}

#[test]
fn a_namespace_stays_without_a_descriptor_until_it_is_removed() {
    let (mounts, acme) = (new(), tenant("acme"));
    assert!(mounts.open(&acme).unwrap().is_none());
    let before = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let made = netns();
    let inode = made.inode();
    wait(mounts.keep(&acme, &made)).unwrap();
    drop(made);
    assert_eq!(mounts.open(&acme).unwrap().unwrap().inode(), inode);
    assert_eq!(mounts.tenants().unwrap(), std::slice::from_ref(&acme));
    // Also by a path, as ip-netns(8) opens it.
    let path = format!("/proc/self/fd/{}/acme", mounts.folder().as_raw_fd());
    let by_path = Netns::from_fd(File::open(path).unwrap().into()).unwrap();
    assert_eq!(by_path.inode(), inode);
    assert_eq!(
        fs::read_to_string("/proc/self/mountinfo").unwrap(),
        before,
        "the host's mount table stays as it is"
    );
    // While it is open somewhere, too.
    wait(mounts.remove(&acme)).unwrap();
    assert!(mounts.open(&acme).unwrap().is_none());
    wait(mounts.remove(&acme)).unwrap();
}

#[test]
fn another_namespace_replaces_it() {
    let (mounts, acme) = (new(), tenant("acme"));
    mounts.keep_now(&acme, &netns()).unwrap();
    let second = netns();
    mounts.keep_now(&acme, &second).unwrap();
    let found = mounts.open(&acme).unwrap().unwrap();
    assert_eq!(found.inode(), second.inode());
}

#[test]
fn the_next_supervisor_finds_what_the_earlier_one_kept() {
    let (mounts, acme) = (new(), tenant("acme"));
    let made = netns();
    mounts.keep_now(&acme, &made).unwrap();
    let passed = mounts.namespace().try_clone_to_owned().unwrap();
    drop(mounts);
    let next = NetnsMounts::from_fd(&app(), passed).unwrap();
    assert_eq!(next.open(&acme).unwrap().unwrap().inode(), made.inode());
    wait(next.remove(&acme)).unwrap();
    assert!(next.tenants().unwrap().is_empty());
}

#[test]
fn other_namespaces_are_refused() {
    let other: AppName = "shop".parse().unwrap();
    let passed = new().namespace().try_clone_to_owned().unwrap();
    assert!(NetnsMounts::from_fd(&other, passed).is_err());
    let host = File::open("/proc/self/ns/mnt").unwrap();
    assert!(NetnsMounts::from_fd(&app(), host.into()).is_err());
    let network = File::open("/proc/self/ns/net").unwrap();
    assert!(NetnsMounts::from_fd(&app(), network.into()).is_err());
}

/// The device of a sysfs that is mounted in a network namespace now.
fn sysfs_in(netns: &Netns) -> u64 {
    crate::netns::visit(netns, || {
        let context = fsopen(c"sysfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
        let made = crate::launch::sysfs(context.as_fd())?;
        Ok(rustix::fs::fstat(made)?.st_dev)
    })
    .unwrap()
}

#[test]
fn a_kept_sysfs_is_the_one_that_is_mounted_again() {
    let (mounts, acme) = (new(), tenant("acme"));
    let made = netns();
    wait(mounts.keep(&acme, &made)).unwrap();
    // Of none that is kept, nothing is left: the next one may have any number.
    mounts.keep_sysfs(&tenant("unknown"));
    for _ in 0..2 {
        mounts.keep_sysfs(&acme);
    }
    // Requests are carried out one after the other.
    wait(mounts.remove(&tenant("unknown"))).unwrap();
    let kept = openat(&mounts.folder, ".sys/acme", OFlags::PATH, Mode::empty()).unwrap();
    let device = rustix::fs::fstat(&kept).unwrap().st_dev;
    drop(kept);
    assert_eq!(sysfs_in(&made), device);
    assert_ne!(sysfs_in(&netns()), device);
    assert_eq!(mounts.tenants().unwrap(), std::slice::from_ref(&acme));
    wait(mounts.remove(&acme)).unwrap();
    let left = openat(&mounts.folder, ".sys", OFlags::CLOEXEC, Mode::empty()).unwrap();
    let left = Dir::new(left).unwrap().filter_map(Result::ok);
    let left: Vec<_> = left.map(|it| it.file_name().to_owned()).collect();
    assert!(
        left.iter().all(|name| name.to_bytes().starts_with(b".")),
        "{left:?}"
    );
}
