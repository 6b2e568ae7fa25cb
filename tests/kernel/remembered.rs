//! A datastore that was there before must be there again.

use crate::support;

use std::fs::{self, create_dir, create_dir_all, remove_dir_all};
use std::path::Path;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use tenantd_core::name::{AppName, TenantName};
use tenantd_core::plan::model::DatastorePlan;
use tenantd_host::datastore;

const RECORD: &str = "/var/lib/tenantd/.datastores/wiki/acme";
const SOURCE: &str = "/run/disk/acme";

fn plan() -> DatastorePlan {
    DatastorePlan {
        source: SOURCE.into(),
        root: Path::new(SOURCE).into(),
        target: Some(Path::new("/run/expected").into()),
        folders: [].into(),
        uid: 1000,
        gid: 2000,
        mode: 0o750,
        map: None,
        must_exist: false,
        mounted: false,
    }
}

/// A test host with a disk at `/run/disk`.
fn enter() -> DatastorePlan {
    support::enter();
    create_dir("/run/disk").unwrap();
    mount_disk();
    plan()
}

fn mount_disk() {
    let none = MsFlags::empty();
    mount(Some("disk"), "/run/disk", Some("tmpfs"), none, None::<&str>).unwrap();
}

fn unmount_disk() {
    umount2("/run/disk", MntFlags::MNT_DETACH).unwrap();
}

/// What a provision says of this datastore.
fn claim(plan: &DatastorePlan) -> Result<(), String> {
    let app: AppName = "wiki".parse().unwrap();
    let tenant: TenantName = "acme".parse().unwrap();
    let claimed = datastore::claim(&app, &tenant, plan);
    claimed.map(drop).map_err(|why| why.to_string())
}

#[test]
fn a_datastore_whose_disk_is_not_mounted_is_not_made_again() {
    let plan = enter();
    claim(&plan).unwrap();
    claim(&plan).unwrap();
    unmount_disk();
    let why = claim(&plan).unwrap_err();
    assert!(why.starts_with("cannot prepare the datastore /run/disk/acme: it was there before"));
    let forget = format!("for a new, empty one, rm {RECORD}");
    assert!(why.ends_with(&forget), "{why}");
    assert!(!Path::new(SOURCE).exists());
    // Without the record, the new one is made on the disk below: this is the hole.
    fs::remove_file(RECORD).unwrap();
    claim(&plan).unwrap();
    assert!(Path::new(SOURCE).is_dir());
}

#[test]
fn a_datastore_on_another_filesystem_is_refused() {
    let plan = enter();
    create_dir(SOURCE).unwrap();
    claim(&plan).unwrap();
    unmount_disk();
    // Another disk, or the one below, with a folder of the same name.
    mount_disk();
    create_dir(SOURCE).unwrap();
    let why = claim(&plan).unwrap_err();
    assert!(
        why.contains("it is on another filesystem than before (UUID "),
        "{why}"
    );
    assert!(
        why.ends_with(&format!("to use this one from now on, rm {RECORD}")),
        "{why}"
    );
    fs::remove_file(RECORD).unwrap();
    claim(&plan).unwrap();
}

#[test]
fn a_datastore_that_was_replaced_on_its_filesystem_is_used() {
    let plan = enter();
    claim(&plan).unwrap();
    // As when it is restored from a backup.
    fs::rename(SOURCE, "/run/disk/old").unwrap();
    create_dir(SOURCE).unwrap();
    claim(&plan).unwrap();
}

#[test]
fn what_was_in_memory_at_an_earlier_start_of_the_host_is_forgotten() {
    let plan = enter();
    claim(&plan).unwrap();
    remove_dir_all(SOURCE).unwrap();
    claim(&plan).unwrap_err();
    let record = fs::read_to_string(RECORD).unwrap();
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    fs::write(RECORD, record.replace(boot.trim(), "an-earlier-one")).unwrap();
    claim(&plan).unwrap();
}

#[test]
fn a_record_without_meaning_is_ignored_and_a_damaged_one_is_not() {
    let plan = enter();
    create_dir_all("/var/lib/tenantd/.datastores/wiki").unwrap();
    // As after a power failure.
    fs::write(RECORD, "").unwrap();
    claim(&plan).unwrap();
    fs::write(RECORD, "{").unwrap();
    let why = claim(&plan).unwrap_err();
    assert!(
        why.contains(RECORD) && why.contains("remove the file"),
        "{why}"
    );
}

#[test]
fn another_path_is_another_datastore() {
    let plan = enter();
    claim(&plan).unwrap();
    let other = DatastorePlan {
        source: "/run/disk/other".into(),
        root: Path::new("/run/disk/other").into(),
        ..plan
    };
    claim(&other).unwrap();
    assert!(Path::new("/run/disk/other").is_dir());
}

#[test]
fn must_exist_makes_no_datastore() {
    let plan = DatastorePlan {
        must_exist: true,
        ..enter()
    };
    let why = claim(&plan).unwrap_err();
    assert!(
        why.contains("it does not exist, and the manifest sets must_exist"),
        "{why}"
    );
    assert!(!Path::new(SOURCE).exists());
    create_dir(SOURCE).unwrap();
    claim(&plan).unwrap();
}

#[test]
fn mounted_uses_no_datastore_in_the_filesystem_of_the_root() {
    let enter = || DatastorePlan {
        mounted: true,
        ..enter()
    };
    let plan = enter();
    claim(&plan).unwrap();
    // In the test host, /run is a filesystem of its own; that of `/` is below it.
    let plan = DatastorePlan {
        source: "/srv-of-a-test/acme".into(),
        root: Path::new("/srv-of-a-test/acme").into(),
        ..plan
    };
    let why = claim(&plan).unwrap_err();
    assert!(
        why.contains("no filesystem is mounted there, and the manifest sets mounted"),
        "{why}"
    );
}

#[test]
fn folders_instead_of_path_take_the_path_from_the_record() {
    use tenantd_core::plan::model::{FolderPlan, Seed};
    let plan = enter();
    claim(&plan).unwrap();
    let folder = FolderPlan {
        target: "/run/expected".into(),
        seed: Seed::Empty,
        uid: None,
        gid: None,
        mode: None,
    };
    let several = DatastorePlan {
        target: None,
        folders: [folder].into(),
        ..plan
    };
    claim(&several).unwrap();
    let record = fs::read_to_string(RECORD).unwrap();
    assert!(record.contains("\"path\": \"/run/expected\""), "{record}");
}
