//! Programs that misbehave, and programs that are missing.

use std::fs;
use std::time::{Duration, Instant};

use tenantd_api::wire::{StateWord, TenantStatus};

use crate::bad_days::{fails_to_start, host, manifest};
use crate::support::daemon::{Daemon, in_time, run, until};
use crate::support::place::{example, script};
use crate::support::visit::accepts;

/// A program that behaves as its first argument says.
fn misbehaves(how: &str) -> String {
    script(
        "program",
        &format!("if [ \"$1\" != badly ]; then exec /srv/idle; fi\n{how}"),
    )
}

const BADLY: &str = ", arguments = [\"badly\"]";

#[test]
fn a_program_that_exits_at_once_fails_with_a_reason() {
    host();
    let program = misbehaves("echo 'no licence' >&2; exit 3");
    let daemon = Daemon::start(&manifest(&program, "ready.lived = \"300ms\"", BADLY));
    daemon.until_tenant("beta", TenantStatus::is_as_wanted);
    let held = daemon.until_state("acme", StateWord::Failed);
    assert_eq!(
        held.restarts, 2,
        "three launches, of which two were restarts: {held:?}"
    );
    assert!(held.why.as_ref().unwrap().contains("status 3"), "{held:?}");
    fails_to_start(&daemon, &["status 3"]);
    assert_eq!(daemon.tenant("acme").state, StateWord::Failed);
    until("its last words are in the log", || {
        let said = daemon.tell(&["logs", "acme"]).expect(0);
        said.contains(" stderr  no licence\n").then_some(())
    });
    // Once it is repaired, a request starts it again.
    script("program", "exec /srv/idle");
    daemon.tell(&["start", "acme"]).expect(0);
}

#[test]
fn a_removed_program_is_named() {
    host();
    let program = misbehaves("exec /srv/idle");
    let daemon = Daemon::start_settled(&manifest(&program, "", BADLY));
    fs::rename(&program, "/srv/elsewhere").unwrap();
    let pid = daemon.tenant("acme").pid.unwrap();
    crate::support::daemon::signal(pid, nix::sys::signal::Signal::SIGKILL);
    let held = daemon.until_state("acme", StateWord::Failed);
    assert!(held.failure.is_some(), "{held:?}");
    fails_to_start(&daemon, &[&program, "ENOENT"]);
    fs::rename("/srv/elsewhere", &program).unwrap();
    daemon.tell(&["start", "acme"]).expect(0);
}

/// A start is refused with all of `wanted`, and changes nothing.
#[track_caller]
fn is_refused(daemon: &Daemon, wanted: &[&str]) {
    let said = daemon.tell(&["start", "acme"]);
    assert_eq!(said.code, 1, "{said:?}");
    for word in wanted {
        assert!(said.out.contains(word), "{word:?} is not in {said:?}");
    }
    assert_eq!(daemon.tenant("acme").state, StateWord::Down);
    assert!(daemon.tenant("beta").is_as_wanted());
}

#[test]
fn a_program_that_cannot_be_executed_is_reported() {
    use std::os::unix::fs::PermissionsExt;
    host();
    let program = misbehaves("exec /srv/idle");
    let daemon = Daemon::start_settled(&manifest(&program, "", BADLY));
    daemon.tell(&["stop", "acme"]).expect(0);
    fs::set_permissions(&program, fs::Permissions::from_mode(0o644)).unwrap();
    is_refused(&daemon, &[&program, "EACCES"]);

    let done = std::process::Command::new("sh")
        .args([
            "-c",
            "printf 'no program' > /srv/program; chmod 755 /srv/program",
        ])
        .status();
    assert!(done.unwrap().success());
    is_refused(&daemon, &[&program, "ENOEXEC", "a script needs #!"]);
    // The head of a 64-bit program for s390x, whose numbers have the first byte first.
    let head = "\\177ELF\\2\\2\\1\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\2\\0\\26";
    let text = format!("printf '{head}' > /srv/program");
    let done = std::process::Command::new("sh")
        .args(["-c", &text])
        .status();
    assert!(done.unwrap().success());
    let machine = "it is a 64-bit program for s390x, and this machine is";
    is_refused(&daemon, &[&program, "ENOEXEC", machine]);
    let done = std::process::Command::new("sh")
        .args(["-c", "printf '#!/bin/sh\\r\\n' > /srv/program"])
        .status();
    assert!(done.unwrap().success());
    is_refused(
        &daemon,
        &[&program, "its interpreter \"/bin/sh\\r\" is not"],
    );
    script("program", "exec /srv/idle");
    daemon.tell(&["start", "acme"]).expect(0);
}

#[test]
fn a_program_that_ignores_the_signal_is_killed_after_its_grace() {
    host();
    let program = misbehaves("trap '' TERM; touch /srv/data/deaf; while :; do sleep 1000; done");
    let daemon = Daemon::start_settled(&manifest(&program, "stop.grace = \"300ms\"", BADLY));
    let sign = format!("/var/lib/tenantd/{}/acme/deaf", daemon.app);
    until("it ignores the signal", || fs::metadata(&sign).ok());
    let begun = Instant::now();
    daemon.tell(&["stop", "acme"]).expect(0);
    assert!(
        begun.elapsed() >= Duration::from_millis(300),
        "it had its grace"
    );
    assert_eq!(daemon.tenant("acme").state, StateWord::Down);
}

#[test]
fn a_program_that_forks_and_exits_is_ended_with_its_children() {
    host();
    let program =
        misbehaves("setsid sleep 1000 </dev/null >/dev/null 2>&1 & echo $! >> /srv/data/left");
    let app = "restart.when = \"never\"";
    let text =
        manifest(&program, "", BADLY).replace("restart = { delay = \"10ms\", strikes = 3 }", app);
    let daemon = Daemon::start(&text);
    // Status 0 with `never`: it has completed.
    daemon.until_state("acme", StateWord::Exited);
    let left = format!("/var/lib/tenantd/{}/acme/left", daemon.app);
    for pid in fs::read_to_string(left).unwrap().lines() {
        assert!(
            fs::metadata(format!("/proc/{pid}/exe")).is_err(),
            "{pid} runs"
        );
    }
}

#[test]
fn a_program_may_close_its_output() {
    host();
    let program = misbehaves("exec >&- 2>&-; exec /srv/idle");
    let daemon = Daemon::start_settled(&manifest(&program, "ready.tcp = 80", BADLY));
    assert!(accepts("10.77.0.11", 80));
    let acme = daemon.kill_tenant("acme");
    assert_eq!(acme.restarts, 1);
    daemon.tell(&["restart", "acme"]).expect(0);
}

#[test]
fn a_program_that_never_becomes_ready_fails() {
    host();
    example("idle");
    let program = misbehaves("exec /srv/idle 81");
    let app = "ready = { tcp = 80, within = \"300ms\" }";
    let daemon = Daemon::start(&manifest(&program, app, BADLY));
    daemon.until_state("acme", StateWord::Failed);
    fails_to_start(&daemon, &["port 80", "0.3 s"]);
}

#[test]
fn a_program_that_never_notifies_fails() {
    host();
    let program = misbehaves("exec /srv/idle");
    let app = "ready = { notify = true, within = \"300ms\" }";
    let daemon = Daemon::start(&manifest(&program, app, BADLY));
    let held = daemon.until_state("acme", StateWord::Failed);
    assert!(held.why.as_ref().unwrap().contains("READY=1"), "{held:?}");
}

#[test]
fn a_notification_of_an_earlier_launch_does_not_count() {
    host();
    let program = misbehaves("exec /srv/idle");
    let app = "ready = { notify = true, within = \"300ms\" }";
    let daemon = Daemon::start(&manifest(&program, app, BADLY));
    daemon.until_state("acme", StateWord::Failed);
    // Only root reaches it there.
    let socket = format!("/run/tenantd/{}/tenants/acme/notify/notify", daemon.app);
    let mut speaker = in_time("systemd-notify");
    run(speaker.arg("--ready").env("NOTIFY_SOCKET", socket)).expect(0);
    let said = daemon.tell(&["start", "acme"]).expect(1);
    assert!(said.contains("READY=1"), "{said}");
}
