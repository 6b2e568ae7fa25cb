//! Datastores with several folders, as the program sees them and as they are on the host.

use std::fs::{self, Permissions, create_dir, create_dir_all, set_permissions};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;

use tenantd_core::plan::model::{FolderPlan, Seed};

use crate::launch::bench::{Bench, TARGET, write_file};

/// The datastore of the bench.
const DATASTORE: &str = "/var/lib/tenantd/wiki/acme";

pub(crate) fn folder(target: &str, seed: Seed) -> FolderPlan {
    FolderPlan {
        target: target.into(),
        seed,
        uid: None,
        gid: None,
        mode: None,
    }
}

/// A bench whose datastore is not made yet, with these folders and without `path`.
fn bench<const N: usize>(folders: [FolderPlan; N]) -> Bench {
    let mut bench = Bench::new();
    fs::remove_dir(DATASTORE).unwrap();
    bench.datastore.target = None;
    bench.datastore.folders = folders.into();
    tenantd_host::datastore::ensure(&bench.datastore).unwrap();
    bench
}

/// Owner, group and mode.
pub(crate) fn look(path: impl AsRef<Path>) -> (u32, u32, u32) {
    let found = fs::symlink_metadata(path).unwrap();
    (found.uid(), found.gid(), found.mode() & 0o7777)
}

fn below(path: &str) -> String {
    format!("{DATASTORE}{path}")
}

#[test]
fn each_folder_is_the_tenants_own_and_lies_in_the_datastore() {
    let mut bench = bench([
        folder("/run/one", Seed::Empty),
        folder("/run/two/b", Seed::Empty),
    ]);
    create_dir("/run/one").unwrap();
    create_dir_all("/run/two/b").unwrap();
    chown("/run/one", Some(1000), Some(7)).unwrap();
    set_permissions("/run/one", Permissions::from_mode(0o2771)).unwrap();
    set_permissions("/run/two/b", Permissions::from_mode(0o1777)).unwrap();
    write_file("/run/one/of-the-host", "", 0o644);
    bench.set_script("ls -A /run/one /run/two/b; echo 1 > /run/one/x; echo 2 > /run/two/b/x");
    assert_eq!(bench.output(), "/run/one:\n\n/run/two/b:\n");
    // The next launch finds what the first one wrote.
    bench.set_script("cat /run/one/x /run/two/b/x");
    assert_eq!(bench.output(), "1\n2\n");
    assert_eq!(fs::read_to_string(below("/run/one/x")).unwrap(), "1\n");
    assert_eq!(fs::read_to_string(below("/run/two/b/x")).unwrap(), "2\n");
    assert!(!Path::new("/run/one/x").exists());
    assert_eq!(look(below("/run/one")), (1000, 7, 0o2771));
    assert_eq!(look(below("/run/two/b")), (0, 0, 0o1777));
    // Nobody but root gets to the folders on the host.
    for closed in ["", "/.tenantd", "/run", "/run/two"] {
        assert_eq!(look(below(closed)), (0, 0, 0o700), "{closed}");
    }
}

#[test]
fn a_new_folder_without_one_on_the_host_belongs_to_the_tenant() {
    let mut bench = bench([folder("/run/one", Seed::Empty)]);
    bench.datastore.mode = 0o2750;
    drop(bench.run().unwrap());
    assert_eq!(look(below("/run/one")), (1000, 1000, 0o2750));
}

#[test]
fn the_manifest_decides_owner_and_mode() {
    let said = FolderPlan {
        uid: Some(3),
        gid: Some(4),
        mode: Some(0o1700),
        ..folder("/run/one", Seed::Empty)
    };
    let bench = bench([said]);
    create_dir("/run/one").unwrap();
    drop(bench.run().unwrap());
    assert_eq!(look(below("/run/one")), (3, 4, 0o1700));
    // Once it exists, it is not changed.
    chown(below("/run/one"), Some(1000), Some(1000)).unwrap();
    drop(bench.run().unwrap());
    assert_eq!(look(below("/run/one")), (1000, 1000, 0o1700));
}

#[test]
fn path_is_one_of_several_folders() {
    let mut bench = bench([folder("/run/one", Seed::Empty)]);
    bench.datastore.target = Some(Path::new(TARGET).into());
    create_dir("/run/one").unwrap();
    bench.set_script("echo kept > /run/expected/x");
    bench.output();
    assert_eq!(
        fs::read_to_string(below("/run/expected/x")).unwrap(),
        "kept\n"
    );
    assert_eq!(look(below("/run/expected")), (1000, 1000, 0o750));
    // The datastore stays as it is if there is only one folder left.
    bench.datastore.folders = [].into();
    bench.set_script("cat /run/expected/x; ls -A /run/expected");
    assert_eq!(bench.output(), "kept\nx\n");
    assert!(Path::new(&below("/run/one")).is_dir());
}

#[test]
fn a_program_without_data_needs_no_folder() {
    let mut bench = bench([]);
    bench.set_script("grep tenantd/wiki /proc/self/mountinfo | grep -vc machine-id; true");
    assert_eq!(bench.output(), "0\n");
}

/// Makes a folder with one of everything that can be in it.
fn fill(top: &str) {
    create_dir_all(format!("{top}/inner")).unwrap();
    write_file(format!("{top}/inner/file"), "text\n", 0o640);
    chown(format!("{top}/inner/file"), Some(5), Some(6)).unwrap();
    write_file(format!("{top}/suid"), "", 0o4755);
    fs::hard_link(format!("{top}/suid"), format!("{top}/inner/suid")).unwrap();
    symlink("/nowhere/at all", format!("{top}/link")).unwrap();
    std::os::unix::fs::lchown(format!("{top}/link"), Some(5), Some(6)).unwrap();
    let fifo = format!("{top}/fifo");
    nix::unistd::mkfifo(
        fifo.as_str(),
        nix::sys::stat::Mode::from_bits_truncate(0o600),
    )
    .unwrap();
    drop(std::os::unix::net::UnixListener::bind(format!("{top}/socket")).unwrap());
    let sparse = fs::File::create(format!("{top}/sparse")).unwrap();
    sparse.set_len(64 << 20).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&sparse, b"end", (32 << 20) + 5).unwrap();
    let old = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000);
    for part in ["inner/file", "inner", ""] {
        let file = fs::File::open(format!("{top}/{part}")).unwrap();
        file.set_times(fs::FileTimes::new().set_modified(old))
            .unwrap();
    }
}

#[test]
fn a_copy_has_everything_that_the_original_has() {
    let bench = bench([folder("/run/conf", Seed::Copy)]);
    fill("/run/conf");
    chown("/run/conf", Some(0), Some(9)).unwrap();
    set_permissions("/run/conf", Permissions::from_mode(0o3755)).unwrap();
    let list = rustix::fs::XattrFlags::empty();
    rustix::fs::setxattr("/run/conf/suid", "trusted.mark", b"kept", list).unwrap();
    // An access control list: owner and mask rwx, user 77 rwx.
    let acl: Vec<u8> = [
        (1, 7, u32::MAX),
        (2, 7, 77),
        (4, 5, u32::MAX),
        (16, 7, u32::MAX),
        (32, 0, u32::MAX),
    ]
    .iter()
    .flat_map(|(tag, perm, id): &(u16, u16, u32)| {
        [
            &tag.to_le_bytes()[..],
            &perm.to_le_bytes(),
            &id.to_le_bytes(),
        ]
        .concat()
    })
    .collect();
    let acl = [&2_u32.to_le_bytes()[..], &acl].concat();
    rustix::fs::setxattr("/run/conf/inner", "system.posix_acl_access", &acl, list).unwrap();
    drop(bench.run().unwrap());
    let copy = below("/run/conf");
    let at = |part: &str| format!("{copy}/{part}");
    assert_eq!(look(&copy), (0, 9, 0o3755));
    assert_eq!(fs::read_to_string(at("inner/file")).unwrap(), "text\n");
    assert_eq!(look(at("inner/file")), (5, 6, 0o640));
    assert_eq!(look(at("suid")), (0, 0, 0o4755));
    let inode = |part: &str| fs::metadata(at(part)).unwrap().ino();
    assert_eq!(inode("suid"), inode("inner/suid"));
    assert_eq!(
        fs::read_link(at("link")).unwrap(),
        Path::new("/nowhere/at all")
    );
    assert_eq!(look(at("link")).0, 5);
    assert!(
        fs::symlink_metadata(at("fifo"))
            .unwrap()
            .file_type()
            .is_fifo()
    );
    assert!(!Path::new(&at("socket")).exists());
    let sparse = fs::metadata(at("sparse")).unwrap();
    assert_eq!(sparse.len(), 64 << 20);
    assert!(sparse.blocks() < 1024, "{} blocks", sparse.blocks());
    let bytes = fs::read(at("sparse")).unwrap();
    assert_eq!(&bytes[(32 << 20) + 5..(32 << 20) + 8], b"end");
    for part in ["inner/file", "inner", ""] {
        assert_eq!(fs::metadata(at(part)).unwrap().mtime(), 1_000_000, "{part}");
    }
    let mut value = [0; 256];
    let size = rustix::fs::getxattr(at("suid"), "trusted.mark", &mut value).unwrap();
    assert_eq!(&value[..size], b"kept");
    let size = rustix::fs::getxattr(at("inner"), "system.posix_acl_access", &mut value).unwrap();
    assert_eq!(&value[..size], acl);
}

#[test]
fn a_copy_is_made_once() {
    let mut bench = bench([folder("/run/conf", Seed::Copy)]);
    fill("/run/conf");
    chown("/run/conf", Some(1000), Some(0)).unwrap();
    bench.set_script("echo own > /run/conf/mine");
    bench.output();
    write_file("/run/conf/later", "", 0o644);
    bench.set_script("ls /run/conf");
    assert_eq!(bench.output(), "fifo\ninner\nlink\nmine\nsparse\nsuid\n");
    assert!(!Path::new("/run/conf/mine").exists());
}

#[test]
fn what_is_mounted_in_the_original_is_not_copied() {
    let bench = bench([folder("/run/conf", Seed::Copy)]);
    create_dir_all("/run/conf/disk").unwrap();
    mount_tmpfs("/run/conf/disk");
    write_file("/run/conf/disk/file", "", 0o644);
    drop(bench.run().unwrap());
    assert!(Path::new(&below("/run/conf/disk")).is_dir());
    assert!(!Path::new(&below("/run/conf/disk/file")).exists());
}

#[test]
fn a_template_belongs_to_the_tenant() {
    let bench = bench([folder("/run/conf", Seed::Template("/run/skel".into()))]);
    create_dir("/run/conf").unwrap();
    fill("/run/skel");
    drop(bench.run().unwrap());
    for part in ["", "/inner", "/inner/file", "/link"] {
        let (uid, gid, _) = look(below(&format!("/run/conf{part}")));
        assert_eq!((uid, gid), (1000, 1000), "{part}");
    }
}

#[test]
fn a_seed_that_is_missing_fails_the_launch() {
    let mut bench = bench([folder("/run/conf", Seed::Copy)]);
    assert_eq!(
        bench.failure(),
        "cannot prepare the datastore /run/conf: No such file or directory (ENOENT): the host has \
         no such folder to begin with: install the program, or set seed = \"empty\""
    );
    bench.datastore.folders = [folder("/run/conf", Seed::Template("/run/skel".into()))].into();
    assert!(bench.failure().contains("/run/skel"), "{}", bench.failure());
    assert!(!Path::new(&below("/run")).exists());
}

#[test]
fn a_half_made_folder_is_never_used() {
    let mut bench = bench([folder("/run/conf", Seed::Copy)]);
    fill("/run/conf");
    let torn = below("/.tenantd/new");
    create_dir(&torn).unwrap();
    write_file(format!("{torn}/torn"), "", 0o644);
    bench.set_script("ls /run/conf");
    assert_eq!(bench.output(), "fifo\ninner\nlink\nsparse\nsuid\n");
    assert!(!Path::new(&torn).exists());
}

#[test]
fn links_in_a_datastore_are_not_followed() {
    let mut bench = bench([folder("/run/one", Seed::Empty)]);
    create_dir("/run/one").unwrap();
    create_dir("/run/elsewhere").unwrap();
    drop(bench.run().unwrap());
    fs::remove_dir(below("/run/one")).unwrap();
    symlink("/run/elsewhere", below("/run/one")).unwrap();
    let why = bench.failure();
    let expected = format!("cannot prepare the datastore {DATASTORE}/run/one: ");
    assert!(why.starts_with(&expected) && why.contains("ELOOP"), "{why}");
    bench.datastore.folders = [folder("/run/one/inner", Seed::Empty)].into();
    assert!(bench.failure().contains("ELOOP"), "{}", bench.failure());
    assert!(fs::read_dir("/run/elsewhere").unwrap().next().is_none());
}

#[test]
fn a_folder_that_contains_another_one_is_refused() {
    let mut bench = bench([folder("/run/two/inner", Seed::Empty)]);
    create_dir_all("/run/two/inner").unwrap();
    drop(bench.run().unwrap());
    bench.datastore.folders = [folder("/run/two", Seed::Empty)].into();
    let why = bench.failure();
    assert!(
        why.contains("it contains /var/lib/tenantd/wiki/acme/run/two/inner, a folder"),
        "{why}"
    );
    // A part of a folder has what the folder had there.
    bench.datastore.folders = [folder("/run/two/inner/more", Seed::Empty)].into();
    create_dir("/run/two/inner/more").unwrap();
    create_dir(below("/run/two/inner/more")).unwrap();
    write_file(below("/run/two/inner/more/x"), "x\n", 0o644);
    bench.set_script("cat /run/two/inner/more/x");
    assert_eq!(bench.output(), "x\n");
}

/// Runs `act` in the mount namespace of a process.
fn inside<T: Send + 'static>(pid: i32, act: impl FnOnce() -> T + Send + 'static) -> T {
    use nix::sched::{CloneFlags, setns, unshare};
    let enter = move || {
        let namespace = fs::File::open(format!("/proc/{pid}/ns/mnt")).unwrap();
        unshare(CloneFlags::CLONE_FS).unwrap();
        setns(namespace, CloneFlags::CLONE_NEWNS).unwrap();
        act()
    };
    std::thread::spawn(enter).join().unwrap()
}

/// What the host mounts in a datastore is there in the tenant, whenever it is mounted, and what is
/// mounted in the tenant stays there.
fn mounts_below(bench: &Bench, host: &str, inner: &'static str) {
    for name in ["before", "after", "own"] {
        create_dir_all(format!("{host}/{name}/disk")).unwrap();
    }
    let [before, after] = ["before", "after"].map(|name| format!("{host}/{name}/disk"));
    mount_tmpfs(&before);
    write_file(format!("{before}/here"), "", 0o644);
    let running = bench.run().unwrap();
    mount_tmpfs(&after);
    write_file(format!("{after}/here"), "", 0o644);
    let seen = move || {
        let here = |name: &str| Path::new(&format!("{inner}/{name}/disk/here")).exists();
        let seen = (here("before"), here("after"));
        mount_tmpfs(&format!("{inner}/own/disk"));
        write_file(format!("{inner}/own/disk/here"), "", 0o644);
        seen
    };
    assert_eq!(inside(running.pid, seen), (true, true));
    assert!(!Path::new(&format!("{host}/own/disk/here")).exists());
    let mounts = running.proc("mountinfo");
    let line = |name: &str| {
        let path = format!(" {inner}/{name}/disk ");
        let found = mounts.lines().find(|line| line.contains(&path)).unwrap();
        found.to_owned()
    };
    assert!(line("before").contains("nosuid,nodev"), "{mounts}");
    // It disappears with that of the host, and is there at the next launch if the host's is.
    nix::mount::umount(before.as_str()).unwrap();
    let gone = move || !Path::new(&format!("{inner}/before/disk/here")).exists();
    assert!(inside(running.pid, gone));
    drop(running);
    let running = bench.run().unwrap();
    let again = move || Path::new(&format!("{inner}/after/disk/here")).exists();
    assert!(inside(running.pid, again));
}

fn mount_tmpfs(path: &str) {
    let none = nix::mount::MsFlags::empty();
    nix::mount::mount(Some("test"), path, Some("tmpfs"), none, None::<&str>).unwrap();
}

/// A file system on which mounts propagate to other namespaces, as on a host with systemd.
fn mount_shared(path: &str) {
    create_dir_all(path).unwrap();
    mount_tmpfs(path);
    let shared = nix::mount::MsFlags::MS_SHARED;
    nix::mount::mount(None::<&str>, path, None::<&str>, shared, None::<&str>).unwrap();
}

#[test]
fn mounts_in_a_plain_datastore_are_there_for_the_tenant() {
    let mut bench = Bench::new();
    mount_shared("/run/shared");
    bench.datastore.source = "/run/shared/acme".into();
    create_dir("/run/shared/acme").unwrap();
    mounts_below(&bench, "/run/shared/acme", TARGET);
}

#[test]
fn mounts_in_a_folder_are_there_for_the_tenant() {
    let mut bench = bench([folder("/run/one", Seed::Empty)]);
    create_dir("/run/one").unwrap();
    mount_shared("/run/shared");
    bench.datastore.source = "/run/shared/acme".into();
    create_dir("/run/shared/acme").unwrap();
    drop(bench.run().unwrap());
    mounts_below(&bench, "/run/shared/acme/run/one", "/run/one");
}
