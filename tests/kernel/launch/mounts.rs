//! The filesystem as the program sees it, and the effect of the program's mounts on the host.

use std::os::unix::fs::symlink;
use std::path::Path;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use tenantd_host::datastore;

use crate::launch::bench::{Bench, TARGET, write_file};

const NONE: Option<&str> = None;

fn host_mounts() -> String {
    std::fs::read_to_string("/proc/thread-self/mountinfo").unwrap()
}

/// Mounts a tmpfs that propagates to other mount namespaces.
fn mount_shared(path: &str) {
    std::fs::create_dir_all(path).unwrap();
    mount(Some("test"), path, Some("tmpfs"), MsFlags::empty(), NONE).unwrap();
    mount(NONE, path, NONE, MsFlags::MS_SHARED, NONE).unwrap();
}

#[test]
fn data_is_written_to_the_datastore() {
    let bench = Bench::script("echo kept > /run/expected/file && cat /run/expected/file");
    assert_eq!(bench.output(), "kept\n");
    let kept = std::fs::read_to_string("/var/lib/tenantd/wiki/acme/file").unwrap();
    assert_eq!(kept, "kept\n");
    assert!(!Path::new(TARGET).join("file").exists());
}

#[test]
fn set_user_id_and_device_files_have_no_effect_in_a_datastore() {
    let running = Bench::new().run().unwrap();
    let mounts = running.proc("mountinfo");
    let line = mounts
        .lines()
        .find(|line| line.contains(" /run/expected "))
        .unwrap();
    assert!(line.contains("rw,nosuid,nodev,"), "{line}");
}

#[test]
fn other_datastores_cannot_be_reached() {
    let look = "ls -A /var/lib/tenantd; cat /var/lib/tenantd/wiki/*/file; true";
    let mut bench = Bench::script(look).for_root();
    let mut other = bench.datastore.clone();
    other.source = "/var/lib/tenantd/wiki/other".into();
    datastore::ensure(&other).unwrap();
    write_file("/var/lib/tenantd/wiki/other/file", "secret\n", 0o600);
    let hidden = std::mem::take(&mut bench.launch.hidden);
    assert_eq!(
        bench.output(),
        "wiki\nsecret\n",
        "without the cover there is no hole to close"
    );
    bench.launch.hidden = hidden;
    let output = bench.output();
    assert!(!output.contains("secret"), "{output}");
    assert!(!output.contains("wiki\n"), "{output}");
    // Root can neither remove the cover nor write to it.
    bench.set_script("umount /var/lib/tenantd; mkdir /var/lib/tenantd/x; ls -A /var/lib/tenantd");
    let output = bench.output();
    assert!(output.contains("Operation not permitted") || output.contains("must be superuser"));
    assert!(output.contains("Read-only file system"), "{output}");
    assert!(!output.contains("wiki\n"), "{output}");
}

#[test]
fn a_hidden_folder_may_lie_in_another_one() {
    let look = "ls -A /var/lib/tenantd 2>/dev/null; cat /run/expected/file";
    let mut bench = Bench::script(look);
    write_file("/var/lib/tenantd/wiki/acme/file", "own\n", 0o644);
    bench.launch.hidden = ["/mnt".into(), "/var/lib/tenantd/wiki".into()].into();
    assert_eq!(bench.output(), "own\n");
    assert_eq!(bench.rehearse(), Ok(()));
}

#[test]
fn a_command_beside_the_program_is_not_hidden() {
    let mut bench = Bench::script("ls /var/log/tenantd 2>/dev/null; true");
    write_file("/var/log/tenantd/alive", "#!/bin/sh\n", 0o755);
    assert_eq!(bench.output(), "");
    for word in ["/var/log/tenantd/alive", "--dir=/var/log/tenantd"] {
        bench.launch.visits = vec![word.to_owned()].into();
        assert_eq!(bench.output(), "alive\n");
    }
}

#[test]
fn the_lock_gives_no_access_to_the_host() {
    let bench = Bench::script("ls -A /proc/self/fd/63/..; echo forged > /proc/self/fd/63; true");
    let output = bench.output();
    assert!(output.contains("Not a directory"), "{output}");
    assert!(
        output.contains("cannot create /proc/self/fd/63"),
        "{output}"
    );
}

#[test]
fn private_folders_are_empty_and_owned_by_the_tenant() {
    let script = "ls -A /run/private && stat -c '%a %u %g' /run/private && touch /run/private/mine";
    let mut bench = Bench::script(script);
    std::fs::create_dir("/run/private").unwrap();
    write_file("/run/private/of-the-host", "", 0o644);
    bench.launch.private = ["/run/private".into()].into();
    assert_eq!(bench.output(), "755 1000 1000\n");
    assert!(!Path::new("/run/private/mine").exists());
}

#[test]
fn unmounts_on_the_host_propagate_to_the_tenant() {
    let bench = Bench::new().on_a_writable_host();
    mount_shared("/run/shared");
    mount_shared("/run/shared/disk");
    let running = bench.run().unwrap();
    assert!(running.proc("mountinfo").contains(" /run/shared/disk "));
    umount2("/run/shared/disk", MntFlags::empty()).unwrap();
    assert!(!running.proc("mountinfo").contains(" /run/shared/disk "));
}

#[test]
fn mounts_of_the_tenant_do_not_propagate_to_the_host() {
    let mut bench = Bench::new().on_a_writable_host();
    mount_shared("/run/shared");
    for folder in [
        "/run/shared/data",
        "/run/shared/private",
        "/run/shared/hidden",
    ] {
        std::fs::create_dir(folder).unwrap();
    }
    bench.datastore.target = Some(Path::new("/run/shared/data").into());
    bench.launch.private = ["/run/shared/private".into()].into();
    bench.launch.hidden = ["/run/shared/hidden".into()].into();
    let before = host_mounts();
    let running = bench.run().unwrap();
    assert_eq!(
        running.proc("mountinfo").matches(" /run/shared/").count(),
        3
    );
    assert_eq!(host_mounts(), before);
    assert!(running.proc("mountinfo").contains(" master:"));
}

/// Folders beside each other are found by their names in the one above them. Neither a name nor what is above may be
/// a symbolic link, which a tenant could have made where the one above is in its datastore.
#[test]
fn attach_beside_others_at_a_symbolic_link() {
    let mut bench = Bench::new().on_a_writable_host();
    let private = |names: [&str; 3]| names.map(|name| format!("/run/{name}").into()).into();
    for folder in ["a", "b", "c", "elsewhere", "elsewhere/x"] {
        std::fs::create_dir(format!("/run/{folder}")).unwrap();
    }
    bench.launch.private = private(["a", "b", "c"]);
    bench.set_script("for it in a b c; do touch /run/$it/own; done");
    bench.output();
    for it in ["a", "b", "c"] {
        assert!(!Path::new(&format!("/run/{it}/own")).exists(), "{it}");
    }
    std::fs::remove_dir("/run/b").unwrap();
    symlink("/run/elsewhere", "/run/b").unwrap();
    for (names, at) in [
        (["a", "b", "c"], "/run/b"),
        (["a", "b/x", "b/y"], "/run/b/x"),
    ] {
        bench.launch.private = private(names);
        let said = bench.failure();
        let expected = format!("cannot mount the private folder {at}: ");
        assert!(
            said.starts_with(&expected) && said.contains("(ELOOP)"),
            "{said}"
        );
    }
}
