//! A supervisor is killed while it initializes a datastore. The next one begins again with an empty
//! datastore, or finds that it is initialized; the program never runs with half of it.

use std::fs;
use std::os::unix::process::ExitStatusExt;

use tenantd_api::wire::StateWord;

use crate::support::daemon::{Daemon, until};
use crate::support::place::{self, example, folder, script};

macro_rules! points {
    ($($test:ident: $point:literal, $fails:literal;)*) => {
        $(
            #[test]
            fn $test() {
                dies_at($point, $fails);
            }
        )*

        const DRIVEN: &[&str] = &[$($point),*];
    };
}

points! {
    begun: "init: begun", false;
    before_the_record: "init: before the record", false;
    cleared: "init: cleared", true;
}

/// The crash points of this module.
pub fn points() -> impl Iterator<Item = &'static str> {
    DRIVEN.iter().copied()
}

#[track_caller]
fn dies_at(point: &str, fails: bool) {
    place::host();
    folder("/srv/data");
    if fails {
        fs::write("/srv/fail", "").unwrap();
    }
    let program = example("idle");
    // It stumbles over what an interrupted one left.
    let init = "mkdir /srv/data/half && test ! -e /srv/fail && mv /srv/data/half /srv/data/made";
    let mut daemon = Daemon::spawn_armed(
        &format!(
            "[app]\nname = \"APP\"\nuser = \"root\"\ncommand = [\"{program}\", \"80\"]\nready.tcp = 80\n\
             restart.delay = \"0s\"\ndatastore.path = \"/srv/data\"\n\
             [app.init]\ncommand = [\"/bin/sh\", \"-c\", \"{init}\"]\n\
             [tenants]\nacme = {{ ip = \"10.77.0.11\" }}\n"
        ),
        point,
    );
    let status = daemon.wait();
    let last = daemon.output();
    assert_eq!(status.signal(), Some(9), "{point} was not reached: {last}");
    if fails {
        fs::remove_file("/srv/fail").unwrap();
    }
    daemon.again();
    daemon.tell(&["start", "acme"]).expect(0);
    let after = daemon.settles();
    assert!(after.tenants[0].pid.is_some(), "{after:?}");
    let store = format!("/var/lib/tenantd/{}/acme", daemon.app);
    assert!(fs::metadata(format!("{store}/made")).is_ok(), "{after:?}");
    assert!(fs::metadata(format!("{store}/half")).is_err(), "{after:?}");
    daemon.end();
}

/// Starts a program, and kills its supervisor after the program was told to continue and before it is recorded.
fn unrecorded(more: &str, command: &str) -> Daemon {
    place::host();
    folder("/srv/data");
    script("app", command);
    let mut daemon = Daemon::spawn_armed(
        &format!(
            "[app]\nname = \"APP\"\nuser = \"root\"\ncommand = [\"/srv/app\"]\n\
             restart.delay = \"1h\"\nrestart.delay_max = \"1h\"\nrestart.strikes = 0\n\
             datastore.path = \"/srv/data\"\n{more}\n[tenants]\nacme = {{ ip = \"10.77.0.11\" }}\n"
        ),
        "launch: told to go on",
    );
    assert_eq!(daemon.wait().signal(), Some(9), "{}", daemon.output());
    let first = format!("/var/lib/tenantd/{}/acme/first", daemon.app);
    until("the first process has ended", || {
        let first = fs::read_to_string(&first).ok()?;
        let stat = fs::read_to_string(format!("/proc/{}/stat", first.trim())).unwrap_or_default();
        (!first.is_empty() && (stat.is_empty() || stat.contains(") Z "))).then_some(())
    });
    daemon.again();
    daemon
}

#[test]
fn what_a_failed_init_has_left_is_not_the_init() {
    let init = "[app.init]\ncommand = [\"/bin/sh\", \"-c\", \"sleep 2 & echo $$ > /srv/data/first; exit 1\"]";
    let daemon = unrecorded(init, "exec sleep 1000000");
    let acme = daemon.until_state("acme", StateWord::Waiting);
    assert_eq!(acme.pid, None);
    let said = daemon.output();
    assert!(!said.contains("init command finished"), "{said}");
    daemon.end();
}

#[test]
fn a_daemon_that_has_left_its_first_process_is_not_taken_for_that() {
    let forks = "(while :; do sleep 1000; done) &\necho $$ > /srv/data/first";
    let daemon = unrecorded("daemonizes = true", forks);
    let acme = daemon.until_tenant("acme", |acme| acme.main.is_some());
    assert_eq!(acme.state, StateWord::Up);
    daemon.end();
}
