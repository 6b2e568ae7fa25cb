//! Datastores on the real kernel: existing ones are used unchanged, and missing ones are made.

use crate::{refuse, support};

use std::fs::{Permissions, create_dir, create_dir_all, set_permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;

use nix::mount::{MsFlags, mount};
use tenantd_core::plan::model::DatastorePlan;
use tenantd_core::stage::Stage;
use tenantd_host::datastore::ensure;

fn plan(source: &str) -> DatastorePlan {
    DatastorePlan {
        source: source.into(),
        root: Path::new("/run/data/wiki").into(),
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

/// A test host with `/run/data`, in which tenantd may make `wiki`.
fn enter() -> DatastorePlan {
    support::enter();
    create_dir("/run/data").unwrap();
    plan("/run/data/wiki/eu/acme")
}

/// Owner, group and mode.
fn look(path: &str) -> (u32, u32, u32) {
    let found = std::fs::symlink_metadata(path).unwrap();
    (found.uid(), found.gid(), found.mode() & 0o7777)
}

fn mount_tmpfs(path: &str, flags: MsFlags, options: &str) {
    mount(Some("test"), path, Some("tmpfs"), flags, Some(options)).unwrap();
}

fn names(path: &str) -> Vec<String> {
    let entries = std::fs::read_dir(path).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[test]
fn a_new_datastore_belongs_to_its_user_and_its_parents_to_root() {
    let plan = enter();
    ensure(&plan).unwrap();
    assert_eq!(look("/run/data/wiki"), (0, 0, 0o700));
    assert_eq!(look("/run/data/wiki/eu"), (0, 0, 0o700));
    assert_eq!(look("/run/data/wiki/eu/acme"), (1000, 2000, 0o750));
    assert_eq!(names("/run/data/wiki/eu"), ["acme"]);
}

#[test]
fn the_datastore_root_can_be_the_datastore() {
    enter();
    ensure(&plan("/run/data/wiki")).unwrap();
    assert_eq!(look("/run/data/wiki"), (1000, 2000, 0o750));
}

#[test]
fn an_existing_datastore_is_not_changed() {
    let plan = enter();
    create_dir_all(&plan.source).unwrap();
    chown(&plan.source, Some(7), Some(8)).unwrap();
    set_permissions(&plan.source, Permissions::from_mode(0o2711)).unwrap();
    ensure(&plan).unwrap();
    assert_eq!(look("/run/data/wiki/eu/acme"), (7, 8, 0o2711));
    // The same outside of the folder in which tenantd makes datastores.
    create_dir("/run/elsewhere").unwrap();
    let before = look("/run/elsewhere");
    ensure(&self::plan("/run/elsewhere")).unwrap();
    assert_eq!(look("/run/elsewhere"), before);
}

#[test]
fn a_datastore_left_half_made_is_replaced() {
    let plan = enter();
    create_dir_all("/run/data/wiki/eu/.acme.tenantd-new").unwrap();
    ensure(&plan).unwrap();
    assert_eq!(look("/run/data/wiki/eu/acme"), (1000, 2000, 0o750));
    assert_eq!(names("/run/data/wiki/eu"), ["acme"]);
}

#[test]
fn symbolic_links_are_refused_in_any_component() {
    let plan = enter();
    create_dir_all("/run/data/wiki/eu").unwrap();
    symlink("/etc", "/run/data/wiki/eu/acme").unwrap();
    symlink("/run/data/wiki/eu", "/run/data/wiki/link").unwrap();
    for (source, detail) in [
        ("/run/data/wiki/eu/acme", ""),
        // The part that is the link is named.
        (
            "/run/data/wiki/link/new",
            ": /run/data/wiki/link is a symbolic link",
        ),
    ] {
        let why = ensure(&self::plan(source)).unwrap_err();
        let said = why.to_string();
        assert!(said.starts_with(&format!("cannot prepare the datastore {source}: ")));
        let expected = format!("(ELOOP){detail} [a datastore's path must not contain");
        assert!(said.contains(&expected), "{said}");
    }
    assert_eq!(names("/run/data/wiki/eu"), ["acme"]);
    // The same if the link is met only while folders are being made.
    std::fs::remove_file("/run/data/wiki/eu/acme").unwrap();
    std::fs::remove_dir("/run/data/wiki/eu").unwrap();
    symlink("/run/data/wiki", "/run/data/wiki/eu").unwrap();
    assert_eq!(ensure(&plan).unwrap_err().errno, libc::ELOOP);
}

#[test]
fn a_file_as_datastore_is_refused() {
    let plan = enter();
    create_dir_all("/run/data/wiki/eu").unwrap();
    std::fs::write(&plan.source, "").unwrap();
    assert_eq!(
        ensure(&plan).unwrap_err().to_string(),
        "cannot prepare the datastore /run/data/wiki/eu/acme: Not a directory (ENOTDIR)"
    );
}

#[test]
fn the_parent_of_the_root_must_exist() {
    let plan = enter();
    std::fs::remove_dir("/run/data").unwrap();
    assert_eq!(
        ensure(&plan).unwrap_err().to_string(),
        "cannot prepare the datastore /run/data: No such file or directory (ENOENT)"
    );
}

#[test]
fn nothing_is_created_outside_the_root() {
    enter();
    assert_eq!(
        ensure(&plan("/run/data/crm/acme")).unwrap_err().to_string(),
        "cannot prepare the datastore /run/data/crm/acme: does not exist, and tenantd makes \
         datastores only below /run/data/wiki"
    );
    let back = ensure(&plan("/run/data/wiki/../crm")).unwrap_err();
    assert!(back.detail.contains("'..'"), "{back}");
    assert!(ensure(&plan("data/wiki/acme")).is_err());
    assert_eq!(names("/run/data"), [""; 0]);
}

#[test]
fn a_read_only_filesystem_is_reported() {
    let plan = enter();
    mount_tmpfs("/run/data", MsFlags::MS_RDONLY, "mode=755");
    assert_eq!(
        ensure(&plan).unwrap_err().to_string(),
        "cannot prepare the datastore /run/data/wiki: Read-only file system (EROFS) [the \
         filesystem is mounted read-only: remount it]"
    );
}

#[test]
fn a_full_filesystem_is_reported_and_leaves_nothing() {
    let plan = enter();
    // Room for the filesystem's root and the two folders above the datastore.
    mount_tmpfs("/run/data", MsFlags::empty(), "nr_inodes=3");
    let said = ensure(&plan).unwrap_err().to_string();
    assert!(said.starts_with("cannot prepare the datastore /run/data/wiki/eu/acme: "));
    assert!(
        said.contains("(ENOSPC) [the filesystem is full: free some space]"),
        "{said}"
    );
    assert_eq!(names("/run/data"), [""; 0]);
}

#[test]
fn an_owner_that_cannot_be_set_leaves_nothing() {
    for syscall in [libc::SYS_fchown, libc::SYS_fchmod] {
        let refused = move || {
            let plan = enter();
            refuse::deny(syscall, None, libc::EPERM);
            let why = ensure(&plan).unwrap_err();
            (why, names("/run/data"))
        };
        let (why, left) = std::thread::spawn(refused).join().unwrap();
        assert_eq!((why.stage, why.errno), (Stage::Datastore, libc::EPERM));
        assert_eq!(why.object, "/run/data/wiki/eu/acme");
        assert_eq!(left, [""; 0]);
    }
}

#[test]
fn a_filesystem_without_rename_flags_works() {
    let plan = enter();
    refuse::deny(libc::SYS_renameat2, None, libc::EINVAL);
    ensure(&plan).unwrap();
    assert!(Path::new("/run/data/wiki/eu/acme").is_dir());
    assert_eq!(look("/run/data/wiki/eu/acme"), (1000, 2000, 0o750));
}
