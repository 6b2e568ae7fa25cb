//! Launches on a kernel that lacks newer system calls.

use std::fs::create_dir;

use tenantd_core::plan::model::{FilePlan, Seed};

use crate::launch::bench::{Bench, write_file};
use crate::launch::folders::folder;
use crate::refuse::{deny, deny_second};

/// open_tree_attr(2), since Linux 6.15.
const OPEN_TREE_ATTR: libc::c_long = 467;

/// `FSCONFIG_SET_FD` of fsconfig(2). Overlayfs takes descriptors since Linux 6.13.
const SET_FD: i32 = 5;

#[test]
fn tree_that_cannot_be_cloned() {
    let bench = Bench::new().on_a_writable_host();
    for call in [OPEN_TREE_ATTR, libc::SYS_open_tree] {
        deny(call, None, libc::ENOSYS);
    }
    assert!(bench.failure().contains("(ENOSYS) [tenantd needs Linux "));
}

#[test]
fn mounts_are_the_same_without_newer_calls() {
    // Path, attributes and kind of each mount.
    let script = "while read -r _ _ _ _ path attributes rest; do \
                      echo $path $attributes ${rest#* - }; \
                  done </proc/self/mountinfo | cut -d ' ' -f 1-3 | sort; \
                  cat /mnt/conf/file /mnt/conf/host /mnt/over/host; echo new >/mnt/over/new && ls /mnt/over";
    let mut bench = Bench::script(script).for_root();
    for path in ["/mnt/conf", "/mnt/over", "/mnt/empty"] {
        create_dir(path).unwrap();
        write_file(format!("{path}/host"), "of the host\n", 0o644);
    }
    let folders = [
        folder("/mnt/over", Seed::Overlay),
        folder("/mnt/empty", Seed::Empty),
    ];
    bench.datastore.folders = folders.into();
    bench.datastore.source = "/var/lib/tenantd/wiki/several".into();
    tenantd_host::datastore::ensure(&bench.datastore).unwrap();
    let file = FilePlan {
        path: "/mnt/conf/file".into(),
        contents: "the tenant's\n".into(),
        template: None,
        uid: None,
        gid: None,
        mode: None,
        secret: false,
    };
    bench.launch.files = vec![file].into();
    let now = bench.output();
    let ends = "the tenant's\nof the host\nof the host\nhost\nnew\n";
    assert!(now.ends_with(ends), "{now}");
    for (path, kind) in [
        ("conf", "ro,nosuid,nodev"),
        ("over", "rw,nosuid,nodev"),
        ("empty", "rw,nosuid,nodev"),
    ] {
        assert!(now.contains(&format!("\n/mnt/{path} {kind}")), "{now}");
    }
    deny(OPEN_TREE_ATTR, None, libc::ENOSYS);
    deny_second(libc::SYS_fsconfig, SET_FD, libc::EINVAL);
    assert_eq!(bench.output(), now);
}
