//! A process that collects residue is killed after each removal: the next one removes the rest, and
//! keeps objects of other owners and of planned tenants.

use std::fs;
use std::os::unix::process::ExitStatusExt;

use tenantd_api::wire::AppStatus;

use crate::crash::scene::{check_all, manifest};
use crate::support::daemon::{Daemon, PROGRAM, in_time, run, tenantd, until};
use crate::support::residue::{create, create_foreign, exist, kill_and_wait, remove};

/// The process that collects.
#[derive(Debug, Clone, Copy)]
enum Collector {
    /// A running supervisor, on request.
    Beside,
    /// A supervisor that starts.
    Beginning,
    /// `tenantd gc` with the manifest, without a supervisor but with running tenants.
    Alone,
    /// `tenantd gc` for everything of an application without running tenants.
    All,
}

macro_rules! points {
    ($($test:ident: $point:literal, $collector:ident;)*) => {
        $(
            #[test]
            fn $test() {
                let (point, of) = $point.split_once('@').unwrap_or(($point, ""));
                dies_at(point, of, Collector::$collector);
            }
        )*

        const DRIVEN: &[&str] = &[$($point),*];
    };
}

points! {
    beside_name_taken: "gc: name taken@gone", Beside;
    beside_cgroup_taken: "gc: cgroup taken@gone", Beside;
    beside_one_pipe_removed: "pipes: one removed@gone", Beside;
    beside_folder_taken: "gc: folder taken@gone", Beside;
    beside_link_taken: "gc: link taken@gone", Beside;

    beginning_one_pipe_removed: "pipes: one removed@gone", Beginning;
    beginning_stray_ended: "orphan: ended@gone", Beginning;
    beginning_link_taken: "gc: link taken@gone", Beginning;

    alone_begun: "gc: alone", Alone;
    alone_name_taken: "gc: name taken@gone", Alone;
    alone_cgroup_taken: "gc: cgroup taken@gone", Alone;
    alone_one_pipe_removed: "pipes: one removed@gone", Alone;
    alone_folder_taken: "gc: folder taken@gone", Alone;
    alone_link_taken: "gc: link taken@gone", Alone;

    all_hosts_file_taken: "gc: hosts file taken@acme", All;
    all_name_taken: "gc: name taken@acme", All;
    all_cgroup_taken: "gc: cgroup taken@acme", All;
    all_folder_taken: "gc: folder taken@acme", All;
    all_but_the_links_taken: "gc: folder taken@gone", All;
    all_hub_taken: "gc: link taken@hub", All;
    all_last_link_taken: "gc: link taken@gone", All;
    all_one_table_taken: "gc: table taken@netdev", All;
    all_tables_taken: "gc: table taken@inet", All;
    all_one_socket_gone: "gc: socket gone@control", All;
    all_sockets_gone: "gc: socket gone@notify", All;
    all_tenants_folder_gone: "finish: tenants' folder gone", All;
    all_ledger_gone: "finish: state file gone", All;
    all_folder_gone: "finish: folder gone", All;
    all_cgroups_gone: "gc: cgroups gone", All;
}

/// The crash points that are tested here.
pub fn points() -> impl Iterator<Item = &'static str> {
    let point = |driven: &&'static str| driven.split('@').next().unwrap();
    DRIVEN.iter().map(point)
}

/// The status of the tenants.
fn seen(status: &AppStatus) -> Vec<(Option<u32>, u32)> {
    let tenants = status.tenants.iter();
    tenants.map(|t| (t.pid, t.restarts)).collect()
}

#[track_caller]
fn dies_at(point: &str, of: &str, collector: Collector) {
    let armed = match of {
        "" => point.to_owned(),
        of => format!("{point}@{of}"),
    };
    let mut daemon = match collector {
        Collector::Beside => Daemon::spawn_armed(&manifest(false), &armed),
        Collector::Beginning | Collector::Alone | Collector::All => Daemon::spawn(&manifest(false)),
    };
    let before = daemon.settles();
    if !matches!(collector, Collector::Beside) {
        daemon.kill();
    }
    let (ours, mut foreign) = (create(&daemon.app), create_foreign(&daemon.app));
    let by_manifest = daemon.manifest.to_str().unwrap().to_owned();
    let by_manifest = ["--config", &by_manifest, "gc"];
    let by_name = ["--app", &daemon.app.clone(), "gc"];
    if matches!(collector, Collector::All) {
        end_all(&daemon.app, &before);
        // Another file in the application's folder would keep it, and with it everything shared.
        foreign.retain(|path| !path.starts_with("/run/tenantd"));
        fs::remove_file(format!("/run/tenantd/{}/notes", daemon.app)).unwrap();
    }
    let said = match collector {
        Collector::Beside => {
            daemon.tell(&["gc"]);
            dies(&mut daemon)
        }
        Collector::Beginning => {
            daemon.again_armed(&armed);
            dies(&mut daemon)
        }
        Collector::Alone => run(armed_gc(&armed).args(by_manifest)).err,
        Collector::All => run(armed_gc(&armed).args(by_name)).err,
    };
    let died = format!("crash point: {point}");
    assert!(said.lines().any(|line| line == died), "not reached: {said}");

    match collector {
        Collector::Beside | Collector::Beginning => daemon.again(),
        Collector::Alone => drop(tenantd(&by_manifest).expect(0)),
        Collector::All => drop(tenantd(&by_name).expect(0)),
    }
    all_removed(&ours);
    assert!(!exist(&foreign).contains(&false), "{foreign:?}");
    remove(&foreign);
    if matches!(collector, Collector::All) {
        let said = tenantd(&by_name).expect(0);
        assert!(said.contains(": nothing to remove\n"), "{said}");
        return daemon.left_nothing();
    }
    if matches!(collector, Collector::Alone) {
        daemon.again();
    }
    let after = daemon.settles();
    check_all(&daemon, &after);
    assert_eq!(
        seen(&after),
        seen(&before),
        "planned tenants are not touched"
    );
    daemon.end();
}

/// Waits until all residue is removed: a supervisor answers before that.
fn all_removed(ours: &[String]) {
    until("all residue is removed", || {
        (exist(ours) == [false; 4]).then_some(())
    });
}

fn end_all(app: &str, status: &AppStatus) {
    for tenant in &status.tenants {
        kill_and_wait(app, tenant.name.as_str(), tenant.pid.unwrap());
    }
}

fn dies(daemon: &mut Daemon) -> String {
    assert_eq!(daemon.wait().signal(), Some(9), "{}", daemon.output());
    daemon.output()
}

fn armed_gc(armed: &str) -> std::process::Command {
    let mut command = in_time(PROGRAM);
    command.env("TENANTD_CRASH_AT", armed);
    command
}
