//! What `status NAME` tells of a tenant that has failed and is up again, and of what it waits for.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use nix::sys::signal::Signal;
use tenantd_api::wire::StateWord;

use crate::support::daemon::{Daemon, signal, write_manifest};
use crate::support::place::{self, folder, script};
use crate::support::until;

const MANIFEST: &str = "[app]\nname = \"APP\"\nuser = \"root\"\ncommand = [\"/srv/app\"]\ndatastore.path = \"/srv/data\"\n\
     restart = { delay = \"100ms\", strikes = 3 }\n[tenants]\nbolt = { ip = \"10.77.0.12\" }\n";

const ACME: &str = "acme = { ip = \"10.77.0.11\" }\n";

fn start() -> Daemon {
    place::host();
    folder("/srv/data");
    script("app", "echo no room for more >&2\nexec sleep 1000000");
    Daemon::start_settled(&format!("{MANIFEST}{ACME}"))
}

/// Kills the program of acme, and waits until it was started again this often.
fn dies(daemon: &Daemon, restarts: u32) {
    let pid = daemon.tenant("acme").pid.unwrap();
    signal(pid, Signal::SIGKILL);
    daemon.until_tenant("acme", |it| {
        it.restarts == restarts && it.pid.is_some_and(|it| it != pid)
    });
}

/// The lines below a tenant that is shown alone.
fn below(daemon: &Daemon) -> Vec<String> {
    let said = daemon.tell(&["status", "acme"]);
    let lines = said.out.lines().filter_map(|line| line.strip_prefix("  "));
    lines.map(str::to_owned).collect()
}

#[test]
fn a_failure_is_known_once_the_tenant_is_up_again() {
    let daemon = start();
    assert!(!below(&daemon).iter().any(|it| it.starts_with("STRIKES")));
    let is = |lines: &[String], begin: &str, end: &str| {
        assert!(
            lines
                .iter()
                .any(|it| it.starts_with(begin) && it.ends_with(end)),
            "{begin} ... {end}: {lines:?}"
        );
    };
    dies(&daemon, 1);
    let lines = below(&daemon);
    is(&lines, "FAILED ", "ago: was killed by SIGKILL");
    is(&lines, "STDERR no room for more", "");
    is(&lines, "STRIKES 1 of 3, the oldest counts for ", "s");
    is(&lines, "NEXT `tenantd ", "logs acme` shows what it said");
    dies(&daemon, 2);
    is(&below(&daemon), "STRIKES 2 of 3", "s");
    // Of several tenants, one that is left by a filter was not named.
    daemon.tell(&["stop", "bolt"]).expect(0);
    let said = daemon.tell(&["status", "--state", "up"]).expect(0);
    assert!(
        !said.contains("  CPU ") && !said.contains("FAILED"),
        "{said}"
    );
    // A request of an operator clears strikes; what happened stays known.
    daemon.tell(&["restart", "acme"]).expect(0);
    let lines = below(&daemon);
    is(&lines, "FAILED ", "SIGKILL");
    assert!(
        !lines.iter().any(|it| it.starts_with("STRIKES")),
        "{lines:?}"
    );
    daemon.end();
}

/// A live change of what its start reads: the reload waits for the start, and fails with it.
#[test]
fn a_reload_waits_for_the_failed_tenants_that_it_starts_again() {
    place::host();
    folder("/srv/data");
    script("app", "exec sleep 1000000");
    for (name, ends) in [
        ("first", "exit 7"),
        ("second", "sleep 1; exit 8"),
        ("third", "sleep 1"),
    ] {
        script(name, ends);
    }
    let manifest = |command: &str| {
        let init = format!("[app.init]\ncommand = [\"/srv/{command}\"]\n[tenants]");
        let manifest = MANIFEST.replace("strikes = 3", "strikes = 1");
        format!("{}{ACME}", manifest.replace("[tenants]", &init))
    };
    let daemon = Daemon::start(&manifest("first"));
    for name in ["acme", "bolt"] {
        daemon.until_state(name, StateWord::Failed);
    }
    write_manifest(&daemon.app, &manifest("second"));
    let said = daemon.tell(&["reload"]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.out.contains("started again; now failed: "), "{said:?}");
    write_manifest(&daemon.app, &manifest("third"));
    let said = daemon.tell(&["reload"]).expect(0);
    assert!(said.contains("started again; now up"), "{said}");
    daemon.end();
}

/// Whether a process of it is left when it fails, or not.
#[test]
fn a_command_that_fails_before_the_program_is_a_failure() {
    for (fails, left) in [("exit 7", false), ("sleep 1000 & exit 7", true)] {
        place::host();
        folder("/srv/data");
        script("app", "exec sleep 1000000");
        script("first", &format!("test -e /srv/good || {{ {fails}; }}"));
        let before = "[app.before]\ncommand = [\"/srv/first\"]\n[tenants]";
        let manifest = MANIFEST.replace("strikes = 3", "strikes = 0");
        let daemon = Daemon::start(&format!("{}{ACME}", manifest.replace("[tenants]", before)));
        let failed = daemon.until_tenant("acme", |it| it.last_failure.is_some());
        let reason = failed.last_failure.unwrap().reason.unwrap();
        assert!(reason.contains("exited with status 7"), "{left}: {reason}");
        daemon.end();
    }
}

#[test]
fn the_next_supervisor_knows_the_last_failure() {
    let mut daemon = start();
    // The times pass.
    let shown = |daemon: &Daemon| {
        let lines = below(daemon).into_iter();
        let lines = lines.filter(|it| {
            ["FAILED", "STDERR", "STRIKES", "NEXT"]
                .iter()
                .any(|word| it.starts_with(word))
        });
        let lines = lines.map(|it| match it.split_once(" ago: ") {
            Some((_, reason)) => reason.to_owned(),
            None => it
                .split(" counts for ")
                .next()
                .unwrap_or_default()
                .to_owned(),
        });
        lines.collect::<Vec<_>>()
    };
    let when = |daemon: &Daemon| daemon.tenant("acme").last_failure.unwrap().time;
    dies(&daemon, 1);
    let file = PathBuf::from(format!("/run/tenantd/.failures/{}/acme", daemon.app));
    until("the failure is written", || file.exists());
    let (before, time) = (shown(&daemon), when(&daemon));
    assert_eq!(before.len(), 4, "{before:?}");
    assert!(time.is_some());
    let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(file.parent().unwrap()), mode(&file)), (0o700, 0o600));
    daemon.kill();
    daemon.again();
    assert_eq!((shown(&daemon), when(&daemon)), (before.clone(), time));
    daemon.tell(&["upgrade"]).expect(0);
    assert_eq!((shown(&daemon), when(&daemon)), (before, time));
    daemon.kill();
    fs::write(&file, "{\"time\":").unwrap();
    daemon.again();
    let lines = shown(&daemon);
    assert!(!lines.iter().any(|it| it.contains("SIGKILL")), "{lines:?}");
    let said = daemon.output();
    let warned = format!("cannot understand {}, which is removed", file.display());
    assert!(said.contains(&warned), "{said}");
    dies(&daemon, 2);
    until("the next failure is written", || file.exists());
    write_manifest(&daemon.app, MANIFEST);
    daemon.tell(&["reload"]).expect(0);
    until("what is removed has no failure", || !file.exists());
    daemon.end();
}
