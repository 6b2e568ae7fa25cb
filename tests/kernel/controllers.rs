//! Controllers of a unit whose supervisor has ended.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::{Child, Command};

use rustix::fs::{XattrFlags, getxattr, setxattr};

use tenantd_core::cgroup::{GroupLimits, GroupValue};
use tenantd_core::name::AppName;
use tenantd_host::cgroup::{Limiter, Tree, vacate};
use tenantd_host::counters::last;

use crate::support;

/// A cgroup as that of a unit, with a tenant in it. Dropping it ends that.
struct Unit {
    path: PathBuf,
    tenant: Child,
}

impl Unit {
    fn new() -> Self {
        let trees = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].map(PathBuf::from);
        let mut trees = trees.into_iter();
        let tree = trees
            .find(|tree| tree.join("cgroup.controllers").exists())
            .unwrap();
        enable(&tree);
        let path = tree.join(format!("{}.service", support::app_name()));
        let leaf = path.join("tenants/acme");
        fs::create_dir_all(&leaf).unwrap();
        let tenant = Command::new("sleep").arg("1000").spawn().unwrap();
        fs::write(leaf.join("cgroup.procs"), tenant.id().to_string()).unwrap();
        Self { path, tenant }
    }
}

impl Drop for Unit {
    fn drop(&mut self) {
        self.tenant.kill().unwrap();
        self.tenant.wait().unwrap();
        for part in ["tenants/acme", "tenants", ""] {
            let path = self.path.join(part);
            support::until("it is empty", || fs::remove_dir(&path).is_ok());
        }
    }
}

fn enable(cgroup: &std::path::Path) {
    fs::write(cgroup.join("cgroup.subtree_control"), "+hugetlb").unwrap();
}

#[test]
fn a_unit_whose_tenants_are_limited_can_be_started_again() {
    support::enter();
    let unit = Unit::new();
    enable(&unit.path);
    enable(&unit.path.join("tenants"));
    let limit = unit.path.join("tenants/acme/hugetlb.2MB.max");
    fs::write(&limit, "0").unwrap();
    let mut next = Command::new("sleep").arg("1000").spawn().unwrap();
    let start = || fs::write(unit.path.join("cgroup.procs"), next.id().to_string());
    // As systemd would.
    let refused = start().unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(libc::EBUSY));
    vacate(&unit.path).unwrap();
    start().unwrap();
    assert!(!limit.exists());
    vacate(&unit.path).unwrap();
    next.kill().unwrap();
    next.wait().unwrap();
}

/// Limits that need a controller.
fn limits() -> GroupLimits {
    let mut limits = GroupLimits::default();
    let size = [("2MB".to_owned(), "0".to_owned())];
    limits.set("hugetlb", &GroupValue(size.into()));
    limits
}

/// A controller that is enabled again counts from zero: the cgroup says so.
#[test]
fn a_cgroup_says_how_often_its_counters_began() {
    support::enter();
    let app = support::app_name();
    let tree = Tree::find(&app.parse().unwrap());
    let tree = tree.unwrap().unwrap();
    let mut named = [0_u8; 64];
    let length = getxattr(tree.path(), "user.tenantd.app", &mut named[..]).unwrap();
    assert_eq!(&named[..length], app.as_bytes());
    let leaf = tree.leaf(&"acme".parse().unwrap()).unwrap();
    let limiter = Limiter {
        tree: Some(tree.clone()),
        total: GroupLimits::default(),
    };
    for times in 1..=2 {
        for _ in 0..2 {
            limiter.limit(Some(&leaf), &limits()).unwrap();
            let mut value = [0_u8; 64];
            let found = getxattr(leaf.path(), "user.tenantd.beginnings", &mut value[..]);
            assert_eq!(
                &value[..found.unwrap()],
                format!("hugetlb={times}").as_bytes()
            );
        }
        fs::write(tree.path().join("cgroup.subtree_control"), "-hugetlb").unwrap();
    }
    leaf.remove().unwrap();
    tree.remove().unwrap();
}

/// What has been counted is gone with the controllers.
#[test]
fn the_counters_are_kept_for_the_meter_before() {
    support::enter();
    let unit = Unit::new();
    let app: AppName = support::app_name().parse().unwrap();
    fs::create_dir_all(last::ROOT).unwrap();
    assert!(vacate(&unit.path).unwrap().is_empty());
    assert!(last::all().unwrap().is_empty());
    let name = app.as_str().as_bytes();
    let tenants = unit.path.join("tenants");
    setxattr(&tenants, "user.tenantd.app", name, XattrFlags::empty()).unwrap();
    assert!(vacate(&unit.path).unwrap().is_empty());
    let kept = last::all().unwrap();
    assert_eq!((kept.len(), &kept[0].app), (1, &app));
    let counted = kept[0].last.as_ref().unwrap().counters.cgroup.unwrap();
    assert_eq!(
        counted.id,
        fs::metadata(tenants.join("acme")).unwrap().ino()
    );
    assert!(counted.cpu_usec.is_some());
}

/// The kernel names a controller in `cgroup.controllers` before its files are there.
#[test]
fn tenants_that_need_a_controller_at_the_same_time_all_get_it() {
    support::enter();
    let limits = limits();
    for _ in 0..50 {
        let tree = Tree::find(&support::app_name().parse().unwrap());
        let tree = tree.unwrap().unwrap();
        let leaf = |number: u32| tree.leaf(&format!("t{number}").parse().unwrap()).unwrap();
        let leaves: Vec<_> = (0..4).map(leaf).collect();
        let limiter = Limiter {
            tree: Some(tree.clone()),
            total: GroupLimits::default(),
        };
        std::thread::scope(|scope| {
            let limit = |leaf| {
                let (limiter, limits) = (&limiter, &limits);
                scope.spawn(move || limiter.limit(Some(leaf), limits))
            };
            let all: Vec<_> = leaves.iter().map(limit).collect();
            for one in all {
                one.join().unwrap().unwrap();
            }
        });
        for leaf in &leaves {
            leaf.remove().unwrap();
        }
        tree.remove().unwrap();
    }
}
