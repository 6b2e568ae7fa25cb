//! Datastores with several folders on the filesystems of disks. Each is made in a file of a tmpfs and
//! mounted through a loop device.

use std::fs::{self, create_dir, create_dir_all};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use nix::mount::{MntFlags, umount2};
use tenantd_core::plan::model::Seed;

use crate::launch::bench::{Bench, write_file};
use crate::launch::folders::folder;

/// Runs a command to its end.
fn run(program: &str, arguments: &[&str]) {
    let done = Command::new(program).args(arguments).output().unwrap();
    assert!(done.status.success(), "{program} {arguments:?}: {done:?}");
}

/// A disk at `/run/disk`, unmounted when it is dropped, so that its loop device is free again.
struct Disk;

impl Disk {
    fn ext4() -> Self {
        let image = "/run/disk.img";
        fs::File::create(image).unwrap().set_len(64 << 20).unwrap();
        run("mkfs.ext4", &["-q", image]);
        create_dir("/run/disk").unwrap();
        // Not with an entry in /run/mount.
        run("mount", &["-n", "-o", "loop", image, "/run/disk"]);
        Self
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // The namespace of the test host goes away with the process in any case.
        let _ = umount2("/run/disk", MntFlags::MNT_DETACH);
    }
}

#[test]
fn folders_and_overlays_work_on_ext4() {
    let mut bench = Bench::new().for_root();
    let disk = Disk::ext4();
    for path in ["/run/conf/inner", "/run/copied", "/run/empty"] {
        create_dir_all(path).unwrap();
    }
    write_file("/run/conf/a", "host\n", 0o644);
    write_file("/run/conf/b", "host\n", 0o644);
    write_file("/run/copied/big", &"x".repeat(1 << 20), 0o640);
    bench.datastore.source = "/run/disk/acme".into();
    bench.datastore.root = Path::new("/run/disk/acme").into();
    bench.datastore.target = None;
    bench.datastore.folders = [
        folder("/run/conf", Seed::Overlay),
        folder("/run/copied", Seed::Copy),
        folder("/run/empty", Seed::Empty),
    ]
    .into();
    tenantd_host::datastore::ensure(&bench.datastore).unwrap();
    bench.set_script(
        "cat /run/conf/a; rm /run/conf/b; echo own > /run/conf/a; echo 1 > /run/empty/x",
    );
    assert_eq!(bench.output(), "host\n");
    bench.set_script("cat /run/conf/a /run/empty/x; ls /run/conf; wc -c < /run/copied/big");
    assert_eq!(bench.output(), "own\n1\na\ninner\n1048576\n");
    assert_eq!(fs::read_to_string("/run/conf/b").unwrap(), "host\n");
    drop(disk);
}

/// The disk's own `lost+found` stays where fsck(8) looks for it.
#[test]
fn a_whole_disk_can_be_the_datastore() {
    let mut bench = Bench::new().for_root();
    let disk = Disk::ext4();
    create_dir("/run/empty").unwrap();
    bench.datastore.source = "/run/disk".into();
    bench.datastore.target = None;
    bench.datastore.folders = [folder("/run/empty", Seed::Empty)].into();
    bench.set_script("echo 1 > /run/empty/x");
    bench.output();
    assert!(fs::metadata("/run/disk/lost+found").unwrap().is_dir());
    assert_eq!(fs::read_to_string("/run/disk/run/empty/x").unwrap(), "1\n");
    assert_eq!(fs::metadata("/run/disk").unwrap().mode() & 0o7777, 0o700);
    // Removed from the list and put back: the data is there again.
    bench.datastore.folders = [].into();
    bench.set_script(":");
    bench.output();
    bench.set_script("ls -A /run/empty");
    bench.datastore.folders = [folder("/run/empty", Seed::Empty)].into();
    assert_eq!(bench.output(), "x\n");
    drop(disk);
}
