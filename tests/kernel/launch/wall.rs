//! What a tenant's program can do to the program of another tenant of the same user.

use std::collections::BTreeSet;

use tenantd_core::capability::Capabilities;
use tenantd_core::plan::model::{HostAccess, WallPlan};
use tenantd_core::system_calls::Preset;
use tenantd_host::datastore;
use tenantd_host::launch::domain;

use crate::launch::bench::{Bench, Running};
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
