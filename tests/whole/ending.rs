//! The supervisor's end: by either signal, by a second signal, and a second supervisor.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tenantd_api::wire::StateWord;

use crate::guestbook::three;
use crate::support::daemon::{self, Daemon, tenantd};
use crate::support::place::{self, script};
use crate::support::visit::get;

const DEAF: &str = r#"
[app]
name = "APP"
user = "root"
command = ["/srv/deaf"]
datastore.path = "/srv/data"
stop.grace = "1h"
[tenants]
acme = { ip = "10.77.0.11" }
beta = { ip = "10.77.0.12" }
"#;

/// Two tenants that ignore SIGTERM, with a grace of an hour.
fn slow_to_end() -> Daemon {
    place::host();
    place::folder("/srv/data");
    script(
        "deaf",
        "trap '' TERM INT\ntouch /srv/data/deaf\nwhile :; do sleep 1000; done",
    );
    let daemon = Daemon::start_settled(DEAF);
    for name in ["acme", "beta"] {
        let sign = format!("/var/lib/tenantd/{}/{name}/deaf", daemon.app);
        daemon::until("it ignores the signal", || std::fs::metadata(&sign).ok());
    }
    daemon
}

/// One that was removed from the manifest, and whose program does not end.
#[test]
fn a_tenant_that_is_being_removed_is_no_residue() {
    let mut daemon = slow_to_end();
    let manifest = DEAF.replace("beta = { ip = \"10.77.0.12\" }\n", "");
    daemon::write_manifest(&daemon.app, &manifest);
    daemon.tell(&["reload", "--no-wait"]).expect(0);
    daemon.until_state("beta", StateWord::Stopping);
    let said = daemon.tell(&["gc"]).expect(0);
    assert!(!said.contains("beta"), "{said}");
    daemon.until_state("beta", StateWord::Stopping);
    daemon.signal(Signal::SIGTERM);
    daemon.until_state("acme", StateWord::Stopping);
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.wait().code(), Some(0), "{}", daemon.output());
    daemon.left_nothing();
}

#[test]
fn either_signal_ends_all_tenants_and_leaves_nothing() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut daemon = three();
        let pids: Vec<_> = daemon
            .status()
            .tenants
            .iter()
            .map(|t| t.pid.unwrap())
            .collect();
        daemon.signal(signal);
        assert_eq!(daemon.wait().code(), Some(0), "{}", daemon.output());
        daemon.left_nothing();
        for pid in pids {
            assert!(
                std::fs::metadata(format!("/proc/{pid}")).is_err(),
                "{pid} is gone"
            );
        }
    }
}

#[test]
fn a_second_signal_skips_the_grace() {
    let mut daemon = slow_to_end();
    daemon.signal(Signal::SIGTERM);
    daemon.until("all are being stopped", |status| {
        status
            .tenants
            .iter()
            .all(|tenant| tenant.state == StateWord::Stopping)
    });
    let begun = Instant::now();
    daemon.signal(Signal::SIGTERM);
    daemon.wait();
    assert!(begun.elapsed() < Duration::from_secs(20));
    daemon.left_nothing();
}

#[test]
fn a_supervisor_that_ends_refuses_to_start_tenants() {
    let mut daemon = slow_to_end();
    daemon.signal(Signal::SIGTERM);
    daemon.until_state("acme", StateWord::Stopping);
    let said = daemon.tell(&["start", "acme"]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.out.contains("refused"), "{said:?}");
    daemon.signal(Signal::SIGTERM);
    daemon.wait();
}

#[test]
fn a_second_supervisor_of_one_application_is_refused() {
    let daemon = three();
    let before = daemon.status();
    let second = tenantd(&["--config", daemon.manifest.to_str().unwrap()]);
    assert_eq!(second.code, 1, "{second:?}");
    assert!(second.err.contains(&daemon.app), "{second:?}");
    assert_eq!(daemon.status(), before, "the first one continues");
    assert_eq!(get("10.77.0.13", "/healthz").0, 200);
}
