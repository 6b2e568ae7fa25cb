//! Counters of cgroups and links that are read again and again.

use std::fs;
use std::path::Path;
use std::process::Command;

use tenantd_host::cgroup::Tree;
use tenantd_host::counters::{Cgroups, HeldLinks, of_cgroup, of_link};

use crate::support::{self, until};

/// How many files below this folder are open.
fn open_below(folder: &Path) -> usize {
    let open = fs::read_dir("/proc/self/fd").unwrap();
    let paths = open.filter_map(|it| fs::read_link(it.ok()?.path()).ok());
    paths.filter(|path| path.starts_with(folder)).count()
}

#[test]
fn a_cgroup_whose_files_stay_open_is_no_other_one() {
    support::enter();
    let app = support::app_name().parse().unwrap();
    let tree = Tree::find(&app).unwrap().unwrap();
    let make = || tree.leaf(&"acme".parse().unwrap()).unwrap();
    let leaf = make();
    let path = leaf.path().to_owned();
    let mut cgroups = Cgroups::new();
    let mut read = || {
        cgroups.begin();
        let read = cgroups.read(&path).unwrap();
        (read, open_below(&path))
    };
    let (first, open) = read();
    let first = first.unwrap();
    assert!(open > 0, "its files stay open");
    let work = format!(
        "echo 0 > {}/cgroup.procs; i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done",
        path.display()
    );
    let done = Command::new("sh").args(["-c", &work]).status().unwrap();
    assert!(done.success());
    let worked = read().0.unwrap();
    let by_path = of_cgroup(&path).unwrap().unwrap();
    assert!(worked.cpu_usec > first.cpu_usec);
    assert_eq!((worked.id, worked.cpu_usec), (by_path.id, by_path.cpu_usec));
    // Another cgroup at the same path.
    until("it is removed", || leaf.remove().is_ok());
    let leaf = make();
    let other = read().0.unwrap();
    assert_ne!(other.id, first.id);
    assert!(other.cpu_usec < worked.cpu_usec, "{other:?}");
    leaf.remove().unwrap();
    assert_eq!(read(), (None, 0));
    let leaf = make();
    assert!(read().1 > 0);
    // The tenant was removed: no round reads it.
    cgroups.begin();
    cgroups.begin();
    assert_eq!(open_below(&path), 0);
    leaf.remove().unwrap();
    tree.remove().unwrap();
}

#[test]
fn a_link_with_the_name_of_another_one_has_its_own_counters() {
    support::enter();
    let ip = |line: &str| {
        let done = Command::new("ip").args(line.split(' ')).status().unwrap();
        assert!(done.success(), "{line}");
    };
    let mut links = HeldLinks::new().unwrap();
    let mut read = || {
        links.begin().unwrap();
        links.named("m0").unwrap()
    };
    assert_eq!(read(), None);
    ip("link add m0 type veth peer name m1");
    let first = read();
    assert_eq!(first, of_link("m0").unwrap());
    assert_eq!(read(), first, "by its number");
    ip("link delete m0");
    assert_eq!(read(), None);
    ip("link add m0 type veth peer name m1");
    let other = read();
    assert_eq!(other, of_link("m0").unwrap());
    assert_ne!(other.unwrap().index, first.unwrap().index);
    ip("link delete m0");
}
