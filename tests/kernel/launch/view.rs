//! What the program sees of the host's files, and where it can write.

use std::os::unix::fs::{MetadataExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

use nix::mount::{MsFlags, mount};

use crate::launch::bench::{Bench, write_file};
use crate::support::until;

const NONE: Option<&str> = None;

/// A folder of the test host that everybody may write to.
const HOST: &str = "/mnt";

fn open_to_all(path: &str) {
    std::fs::create_dir_all(path).unwrap();
    let all = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    std::fs::set_permissions(path, all).unwrap();
}

#[test]
fn the_host_is_read_only() {
    let write = "touch /mnt/new; mkdir /mnt/folder; \
                 echo more >>/mnt/file; mv /mnt/file /mnt/x; \
                 rm /mnt/file; chmod 700 /mnt/file; true";
    let mut bench = Bench::script(write).for_root();
    open_to_all(HOST);
    write_file(format!("{HOST}/file"), "the host's\n", 0o666);
    let said = bench.output();
    assert_eq!(said.matches("Read-only file system").count(), 6, "{said}");
    let names = || std::fs::read_dir(HOST).unwrap().count();
    assert_eq!(names(), 1);
    bench.view().host = tenantd_core::plan::model::HostAccess::Writable;
    bench.output();
    assert_eq!(names(), 3, "without the guard there is no hole to close");
}

#[test]
fn a_later_mount_of_the_host_is_read_only_too() {
    // Written by the program itself, and by one that is not restricted by Landlock.
    let script = "while test ! -e /mnt/disk/ready; do :; done; \
                  echo mixed >/mnt/disk/file || exec sleep 1000";
    let bench = Bench::script(script).for_root();
    mount(NONE, HOST, NONE, MsFlags::MS_SHARED, NONE).unwrap();
    std::fs::create_dir(format!("{HOST}/disk")).unwrap();
    let running = bench.run().unwrap();
    let disk = format!("{HOST}/disk");
    mount(
        Some("late"),
        disk.as_str(),
        Some("tmpfs"),
        MsFlags::empty(),
        NONE,
    )
    .unwrap();
    write_file(format!("{disk}/ready"), "", 0o644);
    until("the program has tried", || {
        running.link("exe").ends_with("sleep")
    });
    let said = std::fs::read_to_string("/run/out").unwrap();
    assert!(said.contains("Permission denied"), "{said}");
    assert!(!Path::new(&disk).join("file").exists());
    let (pid, file) = (running.pid.to_string(), format!("{disk}/file"));
    let unrestricted = Command::new("nsenter")
        .args(["--mount", "-t", &pid, "touch", &file])
        .status();
    assert!(
        unrestricted.unwrap().success(),
        "without the guard there is no hole to close"
    );
}

#[test]
fn own_folders_are_empty_and_have_the_modes_of_the_hosts() {
    let look = "stat -c '%n %a %u %g' /run /tmp /var/tmp /dev/shm; ls -A /tmp /var/tmp /dev/shm; \
                touch /tmp/a /var/tmp/b /dev/shm/c && mv /tmp/a /tmp/d && ls -A /run";
    let bench = Bench::script(look);
    std::fs::create_dir("/run/lock").unwrap();
    let said = bench.output();
    let modes: Vec<String> = ["/run", "/tmp", "/var/tmp", "/dev/shm"]
        .map(|path| {
            let found = std::fs::metadata(path).unwrap();
            let mode = found.mode() & 0o7777;
            format!("{path} {mode:o} {} {}", found.uid(), found.gid())
        })
        .into();
    let empty = "/dev/shm:\n\n/tmp:\n\n/var/tmp:";
    assert_eq!(
        said,
        format!("{}\n{empty}\nexpected\nlock\n", modes.join("\n"))
    );
    assert!(!Path::new("/tmp/d").exists() && !Path::new("/dev/shm/c").exists());
}

#[test]
fn each_launch_has_folders_in_memory_of_its_own() {
    // A launch makes those of the next one.
    let fill = "for at in /run /tmp /var/tmp /dev/shm; do ls -A $at/mine; touch $at/mine; done 2>&1; \
                exec sleep 1000";
    let mut bench = Bench::script(fill).for_root();
    let missing = "No such file or directory\n";
    let mut running = Vec::new();
    for size in [1 << 20, 1 << 20, 2 << 20, 1 << 20] {
        bench.view().private_size = size;
        let one = bench.run().unwrap();
        until("the program has looked", || {
            one.link("exe").ends_with("sleep")
        });
        let said = std::fs::read_to_string("/run/out").unwrap();
        assert_eq!(said.matches(missing).count(), 4, "{said}");
        let mounts = one.proc("mountinfo");
        let sizes = mounts.matches(&format!("size={}k", size >> 10)).count();
        assert_eq!(sizes, 4, "{mounts}");
        running.push(one);
        bench.datastore.source = format!("/var/lib/tenantd/wiki/acme{}", running.len()).into();
        tenantd_host::datastore::ensure(&bench.datastore).unwrap();
    }
    let terminals = |running: &crate::launch::bench::Running| {
        std::fs::metadata(format!("/proc/{}/root/dev/pts", running.pid))
            .unwrap()
            .dev()
    };
    let mut all: Vec<u64> = running.iter().map(terminals).collect();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), running.len());
}

#[test]
fn own_folders_are_limited_in_size() {
    let fill = "dd if=/dev/zero of=/tmp/fill bs=64k count=64 2>&1; stat -c %s /tmp/fill";
    let said = Bench::script(fill).output();
    assert!(said.contains("No space left on device"), "{said}");
    assert!(said.ends_with("\n1048576\n"), "{said}");
}

#[test]
fn own_folders_are_limited_in_the_number_of_files() {
    let fill = "cd /tmp && seq 2000 | xargs touch 2>&1 | tail -n 1; ls | wc -l";
    let said = Bench::script(fill).output();
    assert!(said.contains("No space left on device"), "{said}");
    // One is the folder itself.
    assert!(said.ends_with("\n1023\n"), "{said}");
}

#[test]
fn the_small_dev_has_what_programs_use() {
    let script = "ls /dev; echo x >/dev/null; head -c 4 /dev/urandom | wc -c; \
                  touch /dev/mine; stat -c '%a %t' /dev/pts/ptmx";
    let said = Bench::script(script).for_root().output();
    let names =
        "fd\nfull\nlog\nnull\nptmx\npts\nrandom\nshm\nstderr\nstdin\nstdout\ntty\nurandom\nzero";
    assert_eq!(
        said,
        format!("{names}\n4\ntouch: cannot touch '/dev/mine': Read-only file system\n666 5\n")
    );
    let again = Bench::script("echo again >/dev/stdout").for_root();
    assert_eq!(again.output(), "again\n");
}

#[test]
fn no_launch_changes_the_dev_of_the_next() {
    let change = "cd /dev; for it in 'chmod 0 null' 'rm zero' 'mv full gone' 'ln -s x y' 'touch null' \
                  'chown 1 tty' 'setfattr -n trusted.x -v 1 null'; do $it 2>/dev/null && echo $it; done; \
                  stat -c '%n %a %u' *; stat -c '%d' /dev";
    let mut bench = Bench::script(change).for_root();
    let first = bench.output();
    assert!(
        !first.contains("chmod") && !first.contains("gone"),
        "{first}"
    );
    let second = bench.output();
    assert_eq!(first, second, "both have a copy of one mount");

    // A mount point in it is made in a /dev of its own.
    bench.launch.private = ["/dev/mine".into()].into();
    bench.set_script("touch /dev/mine/it && ls -A /dev/mine; stat -c '%d' /dev");
    let own = bench.output();
    assert!(own.starts_with("it\n"), "{own}");
    assert!(!first.ends_with(own.trim_start_matches("it")), "{own}");
    bench.launch.private = [].into();
    bench.set_script("test ! -e /dev/mine && touch /dev/mine");
    let mut after = bench.run().unwrap();
    assert_eq!(after.end(), tenantd_host::process::Ended::Status(1));
}

#[test]
fn a_shared_path_is_the_hosts_and_writable() {
    let mut bench = Bench::script("echo from >/mnt/media/it && ls /run/of-the-host");
    open_to_all("/mnt/media");
    open_to_all("/run/of-the-host");
    write_file("/run/of-the-host/seen", "", 0o644);
    bench.view().shared = vec!["/mnt/media".into(), "/run/of-the-host".into()];
    assert_eq!(bench.output(), "seen\n");
    let kept = std::fs::read_to_string("/mnt/media/it").unwrap();
    assert_eq!(kept, "from\n");
}

#[test]
fn a_visible_socket_is_the_hosts() {
    let mut bench = Bench::script("ls -A /run/service; test -S /run/service/socket && echo seen");
    std::fs::create_dir("/run/service").unwrap();
    let _listener = UnixListener::bind("/run/service/socket").unwrap();
    write_file("/run/service/secret", "", 0o644);
    bench.view().visible = vec!["/run/service/socket".into()];
    assert_eq!(bench.output(), "socket\nseen\n");
    bench.view().visible = vec!["/run/absent".into()];
    assert_eq!(
        bench.failure(),
        "cannot mount the visible path /run/absent: No such file or directory (ENOENT) [it does \
         not exist on the host: create it, or remove it from the manifest]"
    );
}

#[test]
fn missing_mount_points_are_made_inside_alone() {
    let script = "echo data >/mnt/new/deep/file && ls -A /mnt && \
                  touch /run/private/mine && stat -c %u /run/private";
    let mut bench = Bench::script(script);
    open_to_all(HOST);
    write_file(format!("{HOST}/of-the-host"), "", 0o644);
    bench.datastore.target = Some(Path::new("/mnt/new/deep").into());
    bench.launch.private = ["/run/private".into()].into();
    assert_eq!(bench.output(), "new\nof-the-host\n1000\n");
    assert!(!Path::new("/mnt/new").exists());
    assert!(!Path::new("/run/private").exists());
    let kept = std::fs::read_to_string("/var/lib/tenantd/wiki/acme/file").unwrap();
    assert_eq!(kept, "data\n");
    // Not over folders with the host's configuration.
    bench.datastore.target = Some(Path::new("/etc/no-such-folder").into());
    assert_eq!(
        bench.failure(),
        "cannot mount the datastore at /etc/no-such-folder: No such file or directory (ENOENT) \
         [the folder must exist on the host: create it, or install the program]"
    );
}

#[test]
fn a_folder_of_datastores_that_is_made_later_is_hidden() {
    let script = "while test ! -e /mnt/ready; do :; done; \
                  ls -A /mnt/disk /mnt/disk/not";
    let mut bench = Bench::script(script).for_root();
    open_to_all("/mnt/disk");
    bench.launch.hidden = ["/var/lib/tenantd".into(), "/mnt/disk/not".into()].into();
    let mut running = bench.run().unwrap();
    std::fs::create_dir_all("/mnt/disk/not/mounted/acme").unwrap();
    write_file("/mnt/ready", "", 0o644);
    assert_eq!(running.end(), tenantd_host::process::Ended::Status(0));
    let said = std::fs::read_to_string("/run/out").unwrap();
    assert_eq!(said, "/mnt/disk:\nnot\n\n/mnt/disk/not:\n");
    // It is covered also where it exists when the program starts.
    bench.set_script("ls -A /mnt/disk/not");
    assert_eq!(bench.output(), "");
}

#[test]
fn private_folders_have_the_mode_of_what_they_cover() {
    let mut bench = Bench::script("stat -c '%a %u %g' /mnt/spool /mnt/log");
    open_to_all(HOST);
    std::fs::create_dir("/mnt/log").unwrap();
    open_to_all("/mnt/spool");
    let sticky = std::os::unix::fs::PermissionsExt::from_mode(0o1777);
    std::fs::set_permissions("/mnt/spool", sticky).unwrap();
    bench.launch.private = ["/mnt/spool".into(), "/mnt/log".into()].into();
    assert_eq!(bench.output(), "1777 0 0\n755 1000 1000\n");
}

#[test]
fn files_in_the_own_folders_can_be_moved_between_folders() {
    let script = "mkdir /run/expected/a /run/expected/b && touch /run/expected/a/file && \
                  python3 -c 'import os; os.rename(\"/run/expected/a/file\", \
                  \"/run/expected/b/file\"); os.link(\"/run/expected/b/file\", \
                  \"/run/expected/a/other\")' && ls /run/expected/a /run/expected/b";
    let said = Bench::script(script).output();
    assert_eq!(said, "/run/expected/a:\nother\n\n/run/expected/b:\nfile\n");
}

#[test]
fn resolv_conf_may_be_a_link_into_run() {
    let bench = Bench::script("cat /etc/resolv.conf; ls /run; ls /run/resolve");
    // A file of the machine's own /etc is not touched: this is a copy.
    let etc = "/run/etc";
    let copied = Command::new("cp").args(["-a", "/etc", etc]).status();
    assert!(copied.unwrap().success());
    mount(Some(etc), "/etc", NONE, MsFlags::MS_BIND, NONE).unwrap();
    std::fs::create_dir("/run/resolve").unwrap();
    write_file("/run/resolve/resolv.conf", "nameserver 10.0.0.1\n", 0o644);
    std::fs::remove_file("/etc/resolv.conf").unwrap();
    symlink("../run/resolve/resolv.conf", "/etc/resolv.conf").unwrap();
    assert_eq!(
        bench.output(),
        "nameserver 10.0.0.1\nexpected\nresolve\nresolv.conf\n"
    );
}

#[test]
fn a_tenant_is_not_launched_without_its_syslog_socket() {
    let mut bench = Bench::new();
    bench.syslog = Some("/run/none".into());
    assert_eq!(
        bench.failure(),
        "cannot mount the visible path /run/none: No such file or directory (ENOENT) [it does not \
         exist on the host: create it, or remove it from the manifest]"
    );
    std::fs::create_dir("/run/none").unwrap();
    bench.run().unwrap();
}

/// Below a folder of the host, in one of the tenant's own, and one of these itself.
#[test]
fn private_folders_have_the_mode_that_the_manifest_says() {
    let look = "stat -c '%n %a %u' /mnt/spool /run/app /tmp /run/plain";
    let mut bench = Bench::script(look);
    open_to_all("/mnt/spool");
    bench.launch.private = ["/mnt/spool", "/run/app", "/run/plain", "/tmp"]
        .map(Into::into)
        .into();
    assert_eq!(
        bench.output(),
        "/mnt/spool 777 0\n/run/app 755 1000\n/tmp 1777 0\n/run/plain 755 1000\n"
    );
    bench.view().private_modes = [
        ("/mnt/spool".into(), 0o1770),
        ("/run/app".into(), 0o700),
        ("/tmp".into(), 0o777),
    ]
    .into();
    assert_eq!(
        bench.output(),
        "/mnt/spool 1770 0\n/run/app 700 1000\n/tmp 777 0\n/run/plain 755 1000\n"
    );
}

/// What `private = true` stands for there.
#[test]
fn on_a_writable_host_places_of_all_programs_can_be_private() {
    let places = ["/dev/shm", "/mnt/tmp"];
    let write = "touch /dev/shm/of-the-tenant /mnt/tmp/of-the-tenant; ls -A /mnt/tmp";
    let mut bench = Bench::script(write).on_a_writable_host();
    crate::support::place::fresh("/dev/shm", "mode=1777");
    open_to_all("/mnt/tmp");
    write_file("/mnt/tmp/of-the-host", "", 0o644);
    bench.launch.private = places.map(Into::into).into();
    assert_eq!(bench.output(), "of-the-tenant\n");
    let mixed = || places.map(|place| Path::new(place).join("of-the-tenant").exists());
    assert_eq!(mixed(), [false, false]);
    bench.launch.private = [].into();
    bench.output();
    assert_eq!(
        mixed(),
        [true, true],
        "without the guard there is no hole to close"
    );
}

#[test]
fn mounts_that_were_made_for_the_next_launch_are_empty() {
    let bench = Bench::script("ls -A /tmp; echo mine >/tmp/mine");
    for _ in 0..2 {
        let mut running = bench.run().unwrap();
        running.end();
        assert_eq!(std::fs::read_to_string("/run/out").unwrap(), "");
        bench.replenish(&mut running);
    }
}
