//! A supervisor that detaches: its tenants continue, and the next one adopts them.

use std::fs;

use nix::sys::signal::Signal;
use tenantd_api::wire::TenantStatus;

use crate::guestbook::{TENANTS, three};
use crate::support::daemon::{CommandOutput, Daemon, PROGRAM, in_time, run, until};
use crate::support::place::{self, script};
use crate::support::visit::get;

/// The status of the tenants, as far as it must not change with the supervisor.
fn seen(daemon: &Daemon) -> Vec<TenantStatus> {
    daemon.status().tenants
}

#[test]
fn tenants_continue_when_the_supervisor_detaches() {
    let mut daemon = three();
    daemon.kill_tenant("globex");
    daemon.until_tenant("globex", TenantStatus::is_as_wanted);
    let before: Vec<_> = seen(&daemon).iter().map(|t| (t.pid, t.restarts)).collect();
    let (app, pid) = (daemon.app.clone(), daemon.pid());
    let said = daemon.tell(&["detach"]).expect(0);
    let farewell = format!("{app}: supervisor {pid} has detached, and 3 tenants keep running; ");
    assert!(said.starts_with(&farewell), "{said}");
    assert_eq!(daemon.wait().code(), Some(0), "{}", daemon.output());
    for (_, ip) in TENANTS {
        assert_eq!(get(ip, "/entries").0, 200);
    }
    for command in ["detach", "status"] {
        let said = daemon.tell(&[command]);
        assert_eq!(said.code, 1, "{said:?}");
        assert!(said.err.contains("its tenants keep running"), "{said:?}");
    }
    let said = run(in_time(PROGRAM).arg("list"));
    assert_eq!(said.code, 1, "{said:?}");
    assert!(
        said.out.contains(&format!("\n{app}  detached ")),
        "{said:?}"
    );
    // The application needs no name, because it is the only one.
    let said = run(in_time(PROGRAM).args(["stop", "--all"]));
    assert!(said.err.contains(&app), "{said:?}");

    daemon.again();
    run(in_time(PROGRAM).arg("list")).expect(0);
    let after: Vec<_> = seen(&daemon).iter().map(|t| (t.pid, t.restarts)).collect();
    assert_eq!(after, before);
    daemon.end();
}

/// systemd sends SIGTERM also to a supervisor that is about to end.
#[test]
fn a_signal_does_not_end_the_tenants_of_a_supervisor_that_detaches() {
    let mut daemon = slow_to_start();
    let detaching = std::thread::scope(|scope| {
        let detach = scope.spawn(|| daemon.tell(&["detach"]));
        until("it leaves", || {
            daemon.output().contains("detaching").then_some(())
        });
        daemon.signal(Signal::SIGTERM);
        detach.join().unwrap()
    });
    detaching.expect(0);
    assert_eq!(daemon.wait().code(), Some(0), "{}", daemon.output());
    daemon.again();
    daemon.until("all are up", |status| {
        status.tenants.iter().all(TenantStatus::is_as_wanted)
    });
    assert!(
        !daemon.output().contains("stopping all"),
        "{}",
        daemon.output()
    );
    daemon.end();
}

/// Twenty tenants; the supervisor detaches during their provisions and launches.
fn slow_to_start() -> Daemon {
    place::host();
    place::folder("/srv/data");
    script("app", "exec sleep 1000000");
    let tenants: String = (0..20)
        .map(|i| format!("t{i} = {{ ip = \"10.77.0.{}\" }}\n", 11 + i))
        .collect();
    Daemon::start(&format!(
        "[app]\nname = \"APP\"\nuser = \"root\"\ncommand = [\"/srv/app\"]\ndatastore.path = \"/srv/data\"\n\
         [tenants]\n{tenants}"
    ))
}

#[test]
fn the_supervisor_detaches_only_for_a_restart_of_its_unit() {
    let mut daemon = three();
    let bin = place::folder("/srv/bin");
    let detach_if = |daemon: &Daemon, jobs: &str| -> CommandOutput {
        script("bin/systemctl", &format!("echo '{jobs}'"));
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
        let detach = [
            "detach",
            "--app",
            &daemon.app,
            "--if-restarting",
            "a.service",
        ];
        run(in_time(PROGRAM).args(detach).env("PATH", path))
    };
    detach_if(&daemon, "No jobs running.").expect(0);
    detach_if(&daemon, "7 a.service stop running").expect(0);
    detach_if(&daemon, "7 b.service restart running").expect(0);
    assert!(
        !daemon.output().contains("detaching"),
        "{}",
        daemon.output()
    );
    // systemd does not read the output, so there is none.
    let said = detach_if(&daemon, "7 a.service restart running").expect(0);
    assert_eq!(said, "");
    assert_eq!(daemon.wait().code(), Some(0), "{}", daemon.output());
    // It is not an error if there is no supervisor any more.
    detach_if(&daemon, "8 a.service restart running").expect(0);
    assert!(fs::exists(format!("/run/tenantd/{}/tenants/acme", daemon.app)).unwrap());
    daemon.again();
    daemon.end();
}
