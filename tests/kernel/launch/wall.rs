//! What a tenant's program can do to the program of another tenant of the same user.

use std::collections::BTreeSet;

use nix::mount::{MsFlags, mount};
use tenantd_core::capability::Capabilities;
use tenantd_core::plan::model::{HostAccess, WallPlan};
use tenantd_core::system_calls::Preset;
use tenantd_host::datastore;
use tenantd_host::launch::domain;

use crate::launch::bench::{Bench, Running, write_file};
use crate::support::reach::{self, SEEN, SIGNALS, TRACING, of};
use crate::support::until;

/// The program of the one: it lets everybody trace it whom nothing else prevents (`PR_SET_PTRACER`).
const VICTIM: &str = "import ctypes, signal; ctypes.CDLL(None).prctl(0x59616d61, ctypes.c_ulong(-1)); \
                      print('up', flush=True); signal.pause()";

fn python(bench: &mut Bench, arguments: &[&str]) {
    bench.launch.program = "/usr/bin/python3".into();
    let argv = ["python3", "-I", "-c"].iter().chain(arguments);
    bench.launch.argv = argv.map(|&it| it.to_owned()).collect();
}

/// Launches the one tenant. The bench is the other one's then.
fn victim(bench: &mut Bench) -> Running {
    python(bench, &[VICTIM]);
    let running = bench.run().unwrap();
    until("the program runs", || {
        std::fs::read_to_string("/run/out").unwrap() == "up\n"
    });
    bench.datastore.source = "/var/lib/tenantd/wiki/globex".into();
    datastore::ensure(&bench.datastore).unwrap();
    running
}

/// What the program of the other tenant can do to that of the one.
fn reached(bench: &mut Bench) -> BTreeSet<String> {
    let victim = victim(bench);
    python(bench, &[reach::SCRIPT, &victim.pid.to_string()]);
    reach::printed(&bench.output())
}

fn guards(landlock: bool, hidepid: bool) -> WallPlan {
    let mut guards = WallPlan {
        landlock,
        hidepid,
        ..WallPlan::default()
    };
    // Which refuse some of it themselves.
    guards.privileges.system_calls = Preset::None;
    guards
}

#[test]
fn without_guards_a_tenant_reaches_another_one_of_its_user() {
    let mut bench = Bench::new();
    bench.launch.wall = guards(false, false);
    assert_eq!(reached(&mut bench), of(&[&SIGNALS, &TRACING, &SEEN]));
}

#[test]
fn a_proc_of_its_own_closes_nothing_within_a_user() {
    let mut bench = Bench::new();
    bench.launch.wall = guards(false, true);
    assert_eq!(reached(&mut bench), of(&[&SIGNALS, &TRACING, &SEEN]));
}

#[test]
fn a_domain_closes_signals_and_tracing() {
    assert!(domain::version() >= domain::SIGNALS, "Linux 6.12");
    let mut bench = Bench::new();
    bench.launch.wall = guards(true, false);
    assert_eq!(reached(&mut bench), of(&[&SEEN]));
}

#[test]
fn a_domain_of_an_older_kernel_closes_tracing() {
    for host in [HostAccess::ReadOnly, HostAccess::Writable] {
        let older = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--ignored", "launch::wall::older"])
            .env("TENANTD_LANDLOCK", "5")
            .env("HOST", format!("{host:?}"))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&older.stdout).into_owned();
        assert!(older.status.success(), "{host:?}: {said}");
        assert!(said.contains("1 passed"), "{said}");
    }
}

#[test]
#[ignore = "a_domain_of_an_older_kernel_closes_tracing runs it"]
fn older() {
    let mut bench = Bench::new();
    if std::env::var("HOST").unwrap() == "Writable" {
        bench = bench.on_a_writable_host();
    }
    bench.launch.wall = guards(true, false);
    assert_eq!(reached(&mut bench), of(&[&SIGNALS, &SEEN]));
    // As on a kernel whose domains prevented it.
    bench.set_script("cd /run/expected && mkdir -p a b && touch a/f && mv a/f b/ && ln b/f a/g");
    bench.output();
}

#[test]
fn both_close_all_of_it() {
    let mut bench = Bench::new();
    bench.launch.wall = guards(true, true);
    assert_eq!(reached(&mut bench), of(&[]));
}

#[test]
fn so_on_a_writable_host() {
    let mut bench = Bench::new().on_a_writable_host();
    bench.launch.wall = guards(true, true);
    assert_eq!(reached(&mut bench), of(&[]));
}

#[test]
fn so_for_root() {
    let mut bench = Bench::new().for_root();
    bench.launch.wall = guards(true, true);
    assert_eq!(reached(&mut bench), of(&[]));
}

#[test]
fn a_program_reaches_its_own_processes() {
    let script = "sleep 1000 & kill -CONT $! && cat /proc/$!/environ >/dev/null && ls -d /proc/$! && \
                  ls -d /proc/1 2>/dev/null; kill $!";
    let said = Bench::script(script).output();
    assert_eq!(said.lines().count(), 1, "{said}");
}

/// A process of root that moves itself out of its cgroup would survive a stop.
fn cannot_leave_its_cgroup(mut bench: Bench) {
    bench.set_script("echo 0 >/sys/fs/cgroup/cgroup.procs || true");
    let said = bench.for_root().output();
    assert!(said.contains("Read-only file system"), "{said}");
}

#[test]
fn a_tenant_of_root_cannot_leave_its_cgroup() {
    cannot_leave_its_cgroup(Bench::new());
}

#[test]
fn nor_on_a_writable_host() {
    cannot_leave_its_cgroup(Bench::new().on_a_writable_host());
}

/// Version 1, also where it is mounted after the first launch.
fn cannot_leave_an_old_cgroup(mut bench: Bench) {
    bench.set_script("true");
    bench.output();
    // A hierarchy without controllers, as of a hybrid host. It goes with its last mount.
    mount(
        Some("old"),
        "/mnt",
        Some("cgroup"),
        MsFlags::empty(),
        Some("none,name=tenantd-test"),
    )
    .unwrap();
    bench.set_script("test -e /mnt/cgroup.procs && echo 0 >/mnt/cgroup.procs || true");
    let said = bench.for_root().output();
    assert!(said.contains("Read-only file system"), "{said}");
}

#[test]
fn a_tenant_of_root_cannot_leave_an_old_cgroup() {
    cannot_leave_an_old_cgroup(Bench::new());
}

#[test]
fn nor_one_that_is_mounted_later_on_a_writable_host() {
    cannot_leave_an_old_cgroup(Bench::new().on_a_writable_host());
}

/// Tries to open all files below `/proc` that root may write to, but for those of processes, and prints those
/// that it could open. Nothing is written. What is written to `pressure` concerns that descriptor alone.
const WRITABLE_IN_PROC: &str = r#"
import os, stat
for folder, folders, files in os.walk("/proc"):
    if folder == "/proc":
        folders[:] = [it for it in folders if not it.isdigit() and it not in ("self", "thread-self", "net", "pressure")]
    for name in files:
        path = f"{folder}/{name}"
        mode = os.lstat(path).st_mode
        if not stat.S_ISREG(mode) or not mode & 0o222:
            continue
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
            print(path)
        except OSError:
            pass
"#;

fn writable_in_proc(mut bench: Bench) -> BTreeSet<String> {
    python(&mut bench, &[WRITABLE_IN_PROC]);
    reach::printed(&bench.for_root().output())
}

/// Whatever this kernel has there. On the host, root could write to the first.
#[test]
fn root_sets_nothing_below_proc() {
    for hidepid in [true, false] {
        let mut bench = Bench::new();
        bench.launch.wall.hidepid = hidepid;
        assert_eq!(writable_in_proc(bench), of(&[]), "{hidepid}");
    }
    let host = std::process::Command::new("python3")
        .args(["-I", "-c", WRITABLE_IN_PROC])
        .output()
        .unwrap();
    let host = reach::printed(&String::from_utf8(host.stdout).unwrap());
    assert!(host.contains("/proc/sys/kernel/core_pattern"), "{host:?}");
}

/// Such as binfmt_misc, by which root makes the kernel execute a program.
#[test]
fn what_the_host_mounts_below_the_settings_does_not_appear() {
    let script = "while test ! -e /mnt/ready; do :; done; ls /proc/fs /proc/sys/fs/inotify";
    for hidepid in [true, false] {
        let mut bench = Bench::script(script);
        bench.launch.wall.hidepid = hidepid;
        let none: Option<&str> = None;
        mount(none, "/proc", none, MsFlags::MS_SHARED, none).unwrap();
        let late = |point: &str| {
            mount(Some("late"), point, Some("tmpfs"), MsFlags::empty(), none).unwrap();
            write_file(format!("{point}/seen"), "", 0o666);
        };
        late("/proc/sys/fs/inotify");
        let mut running = bench.run().unwrap();
        late("/proc/fs");
        write_file("/mnt/ready", "", 0o644);
        assert_eq!(running.end(), tenantd_host::process::Ended::Status(0));
        let said = std::fs::read_to_string("/run/out").unwrap();
        assert!(!said.contains("seen"), "{said}");
        // Otherwise the next test host has a copy of it.
        nix::mount::umount("/proc/fs").unwrap();
        // Nor does the host get what the tenant has there.
        let table = std::fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
        assert!(!table.contains(" /proc/irq "), "{table}");
    }
}

/// What root could write there: `core_pattern`, for one, names a program that the kernel runs as root of the
/// host. The files are opened and not written.
fn cannot_set_the_kernel(mut bench: Bench, before: &str) {
    bench.set_script(&format!(
        "{before} sh -c 'for file in sys/kernel/core_pattern sys/vm/drop_caches irq/default_smp_affinity; do
            (: >>/proc/$file) && echo open: $file
         done 2>&1; (: >>/proc/self/oom_score_adj) && echo own'"
    ));
    let said = bench.output();
    assert!(!said.contains("open:"), "{said}");
    assert_eq!(said.matches("Read-only file system").count(), 3, "{said}");
    assert!(said.contains("own"), "{said}");
}

#[test]
fn a_tenant_of_root_cannot_set_the_kernel() {
    cannot_set_the_kernel(Bench::new().for_root(), "");
}

#[test]
fn nor_without_a_proc_of_its_own_on_a_writable_host() {
    let mut bench = Bench::new().on_a_writable_host();
    bench.launch.wall.hidepid = false;
    cannot_set_the_kernel(bench.for_root(), "");
}

#[test]
fn nor_one_that_becomes_root_by_a_capability() {
    let mut bench = Bench::new();
    bench.launch.wall.privileges.capabilities = Some(Capabilities::SERVICE);
    cannot_set_the_kernel(bench, "setpriv --reuid 0");
}

/// `exec --user root` makes one of root in it.
#[test]
fn nor_a_command_of_root_in_a_tenant_of_another_user() {
    let bench = Bench::new();
    let running = bench.run().unwrap();
    let opened = std::process::Command::new("nsenter")
        .args(["--mount", "-t", &running.pid.to_string(), "sh", "-c"])
        .arg("exec 3>>/proc/sys/kernel/core_pattern")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&opened.stderr).into_owned();
    assert!(said.contains("Read-only file system"), "{said}");
}
