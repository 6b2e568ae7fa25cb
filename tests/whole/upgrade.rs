//! Executes another program in the supervisor's process: no tenant is interrupted, and a program
//! that cannot take over is refused.

use std::fs;
use std::io::{BufRead as _, BufReader, ErrorKind, Write as _};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tenantd_api::wire::{StateWord, TenantStatus};

use crate::support::daemon::{
    Daemon, PROGRAM, ends, pidfd, signal, tenantd, until, write_manifest,
};
use crate::support::netns;
use crate::support::place::{self, INSTALLED, example, install, script};
use crate::support::visit::accepts;

const MANIFEST: &str = r#"
[app]
name = "APP"
user = "root"
command = ["/srv/app"]
environment = { WHO = "{tenant}" }
datastore.path = "/srv/data"
[app.restart]
delay = "10m"
delay_max = "10m"
strikes = 0
[tenants]
acme = { ip = "10.77.0.11" }
frail = { ip = "10.77.0.12" }
"#;

/// A supervisor whose program a test can replace: `acme` runs and prints a line when it is told to
/// end, and `frail` waits for a long time for its restart.
fn running() -> Daemon {
    place::host();
    place::folder("/srv/data");
    script(
        "app",
        "[ $WHO = acme ] || exit 1\ntrap 'echo last words; exit 7' TERM\necho ready\n\
         while :; do sleep 0.05; done",
    );
    install(PROGRAM);
    let daemon = Daemon::start_with(INSTALLED, MANIFEST);
    daemon.until_state("acme", StateWord::Up);
    daemon.until_state("frail", StateWord::Waiting);
    daemon
}

/// The status of the tenants, without values that change by themselves.
fn seen(daemon: &Daemon) -> Vec<(Option<u32>, StateWord, u32, Option<String>)> {
    let tenants = daemon.status().tenants;
    let seen = |t: TenantStatus| (t.pid, t.state, t.restarts, t.until.map(|u| u.to_string()));
    tenants.into_iter().map(seen).collect()
}

/// The network namespaces that the supervisor keeps, and its program's file.
fn held(daemon: &Daemon) -> (Vec<String>, u64) {
    let netns = netns::kept(daemon.pid()).into_iter();
    let netns = netns.map(|(tenant, inode)| format!("{tenant} {inode}"));
    let exe = format!("/proc/{}/exe", daemon.pid());
    let inode = std::os::unix::fs::MetadataExt::ino(&fs::metadata(exe).unwrap());
    (netns.collect(), inode)
}

#[test]
fn the_program_on_disk_takes_over_in_the_same_process() {
    let daemon = running();
    let (netns, program) = held(&daemon);
    let before = seen(&daemon);
    assert_eq!(netns.len(), 2);
    for round in 0..2 {
        install(PROGRAM);
        let said = daemon.tell(&["upgrade"]).expect(0);
        assert!(
            said.contains(&format!("still with pid {}", daemon.pid())),
            "{said}"
        );
        let (after, file) = held(&daemon);
        assert_eq!(after, netns, "{round}: {}", daemon.output());
        assert_ne!(file, program, "it is another file");
        assert_eq!(seen(&daemon), before);
    }
    // They are its children, so their exit status is known.
    let acme = daemon.tenant("acme").pid.unwrap();
    signal(acme, Signal::SIGTERM);
    let ended = daemon.until_state("acme", StateWord::Waiting);
    assert!(ended.why.as_ref().unwrap().contains('7'), "{ended:?}");
    let log = daemon.tell(&["logs", "acme"]).expect(0);
    assert_eq!(log.matches("ready").count(), 1, "{log}");
    assert!(log.contains("last words"), "{log}");
    daemon.end();
}

#[test]
fn a_signal_upgrades_too() {
    let daemon = running();
    let (_, program) = held(&daemon);
    let before = seen(&daemon);
    install(PROGRAM);
    daemon.signal(Signal::SIGUSR2);
    until("another program runs", || {
        (held(&daemon).1 != program).then_some(())
    });
    until("it answers", || {
        daemon.output().contains("upgraded from").then_some(())
    });
    assert_eq!(seen(&daemon), before);
    // It handles signals, too.
    daemon.end();
}

/// Makes upgrades that must fail, and checks that they changed nothing.
fn refused(daemon: &Daemon, why: &str) {
    let before = seen(daemon);
    let said = daemon.tell(&["upgrade"]);
    assert_eq!(said.code, 1, "{said:?}\n{}", daemon.output());
    assert!(said.err.contains(why), "{said:?}\n{}", daemon.output());
    assert_eq!(seen(daemon), before, "{}", daemon.output());
}

#[test]
fn a_program_that_fails_the_preflight_is_refused() {
    let daemon = running();
    let (_, program) = held(&daemon);
    install("/bin/false");
    refused(&daemon, "printed no reason");
    install(&script("hello", "echo hello"));
    refused(&daemon, "did not print a version");
    install(PROGRAM);
    let manifest = fs::read_to_string(&daemon.manifest).unwrap();
    fs::write(&daemon.manifest, format!("{manifest}\ncolour = 3\n")).unwrap();
    refused(&daemon, "colour");
    fs::write(&daemon.manifest, manifest).unwrap();
    fs::remove_file(INSTALLED).unwrap();
    refused(&daemon, "cannot be executed");
    assert_eq!(held(&daemon).1, program);
    daemon.end();
}

/// The manifest was edited, and not reloaded.
#[test]
fn an_upgrade_that_would_restart_tenants_is_refused() {
    let daemon = running();
    let before = seen(&daemon);
    let edit = |line: &str| write_manifest(&daemon.app, &MANIFEST.replace("[tenants]", line));
    edit("[tenants]\nnew = { ip = \"10.77.0.13\", autostart = false }");
    daemon.tell(&["upgrade"]).expect(0);
    daemon.until("the added one is there", |it| it.tenants.len() == 3);
    // One that does not run is not interrupted.
    let frail = MANIFEST.replace("\"10.77.0.12\"", "\"10.77.0.12\", arguments = [\"x\"]");
    write_manifest(&daemon.app, &frail);
    daemon.tell(&["upgrade"]).expect(0);
    let all: Vec<_> = seen(&daemon).into_iter().take(1).collect();
    assert_eq!(all[..], before[..1]);
    write_manifest(
        &daemon.app,
        &frail.replace("WHO = ", "MORE = \"1\", WHO = "),
    );
    let said = daemon.tell(&["upgrade"]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(
        said.err.contains("which interrupt acme. `tenantd diff`"),
        "{said:?}"
    );
    assert_eq!(seen(&daemon)[0], before[0]);
    daemon.tell(&["upgrade", "--apply"]).expect(0);
    daemon.until_tenant("acme", |it| {
        it.pid != before[0].0 && it.state == StateWord::Up
    });
    daemon.end();
}

#[test]
fn a_program_removed_after_its_preflight_does_not_end_the_supervisor() {
    let daemon = running();
    let text = format!("rm {INSTALLED}; exec {PROGRAM} \"$@\"");
    for _ in 0..2 {
        install(&script("next", &text));
        refused(&daemon, "No such file");
    }
    install(PROGRAM);
    daemon.tell(&["upgrade"]).expect(0);
    daemon.end();
}

/// Passes its preflight, and fails once it was executed: with an error, and with a panic.
#[test]
fn a_program_that_fails_before_it_is_ready_is_rolled_back() {
    let daemon = running();
    let (netns, _) = held(&daemon);
    let fails = |how: &str, why: &str| {
        let text = format!("[ -n \"$TENANTD_TRIAL\" ] || {{ {how}; }}\nexec {PROGRAM} \"$@\"");
        install(&script("next", &text));
        refused(&daemon, why);
        assert_eq!(held(&daemon).0, netns);
        let name = fs::read_to_string(format!("/proc/{}/comm", daemon.pid())).unwrap();
        assert_eq!(name, "tenantd\n");
    };
    fails("set -- --config /nonexistent", "/nonexistent");
    // It can still be upgraded, to the program at the same path.
    install(PROGRAM);
    daemon.tell(&["upgrade"]).expect(0);
    fails(
        "export TENANTD_PANIC_AT_UPGRADE=1",
        "TENANTD_PANIC_AT_UPGRADE is set",
    );
    daemon.end();
}

/// Holds a lease of a file (`F_SETLEASE`, fcntl(2)), so that opening it blocks, until its standard
/// input ends. Says when another process waits for the lease.
const LEASE: &str = "$| = 1; $SIG{IO} = 'IGNORE'; open(F, '+<', $ARGV[0]) or die; \
     fcntl(F, 1024, 1) or die; print qq(leased\\n); \
     select(undef, undef, undef, 0.01) while fcntl(F, 1025, 0) == 1; print qq(waited for\\n); <STDIN>";

/// Reading the manifest blocks, and with it the upgrade that waits for the answer to the reload.
#[test]
fn the_supervisor_can_be_ended_while_it_waits_to_upgrade() {
    let mut daemon = running();
    let good = daemon.manifest.with_extension("good");
    fs::copy(&daemon.manifest, &good).unwrap();
    let in_preflight = format!(
        "[ -z \"$TENANTD_TRIAL\" ] || set -- --config {}",
        good.display()
    );
    install(&script(
        "next",
        &format!("{in_preflight}\nexec {PROGRAM} \"$@\""),
    ));
    let mut lease = Command::new("perl")
        .args(["-e", LEASE])
        .arg(&daemon.manifest)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(lease.stdout.take().unwrap()).lines();
    assert_eq!(said.next().unwrap().unwrap(), "leased");
    let app = daemon.app.clone();
    let hangs = std::thread::spawn(move || tenantd(&["--app", &app, "reload"]));
    // It reads the manifest.
    assert_eq!(said.next().unwrap().unwrap(), "waited for");
    daemon.signal(Signal::SIGUSR2);
    until("it is about to upgrade", || {
        daemon.output().contains("upgrading from").then_some(())
    });
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.wait().code(), Some(0), "{}", daemon.output());
    daemon.left_nothing();
    drop(lease.stdin.take());
    assert!(lease.wait().unwrap().success());
    assert_ne!(hangs.join().unwrap().code, 0);
}

#[test]
fn requests_during_an_upgrade_are_answered() {
    let daemon = running();
    let over = AtomicBool::new(false);
    let asked = AtomicU32::new(0);
    std::thread::scope(|scope| {
        // It waits for a tenant that will not be up for ten minutes, and sends its request again.
        let waiting = scope.spawn(|| daemon.tell(&["start", "acme"]));
        let asking = scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                daemon.tell(&["status", "--json", "acme"]).expect(0);
                asked.fetch_add(1, Ordering::Relaxed);
            }
        });
        let reloading = scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                daemon.tell(&["reload", "--no-wait"]).expect(0);
                daemon.tell(&["diff"]).expect(0);
            }
        });
        for _ in 0..3 {
            daemon.tell(&["upgrade"]).expect(0);
        }
        over.store(true, Ordering::Relaxed);
        waiting.join().unwrap().expect(0);
        asking.join().unwrap();
        reloading.join().unwrap();
    });
    assert!(asked.into_inner() > 3);
    daemon.end();
}

#[test]
fn an_upgrade_interrupts_no_connection_to_a_tenant() {
    place::host();
    place::folder("/var/lib/guestbook");
    let program = example("guestbook");
    install(PROGRAM);
    let daemon = Daemon::start_with(
        INSTALLED,
        &format!(
            "[app]\nname = \"APP\"\ncommand = [\"{program}\"]\nuser = \"nobody\"\n\
             datastore.path = \"/var/lib/guestbook\"\nready.tcp = 80\n\
             [tenants]\nacme = {{ ip = \"10.77.0.11\" }}\n"
        ),
    );
    daemon.until_tenant("acme", TenantStatus::is_as_wanted);
    let process = pidfd(daemon.tenant("acme").pid.unwrap());
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let visits = scope.spawn(|| {
            let mut visits = 0;
            while !over.load(Ordering::Relaxed) {
                let begun = Instant::now();
                assert!(accepts("10.77.0.11", 80), "visit {visits}");
                visits += 1;
                std::thread::sleep(Duration::from_millis(5).saturating_sub(begun.elapsed()));
            }
            visits
        });
        for _ in 0..3 {
            daemon.tell(&["upgrade"]).expect(0);
        }
        over.store(true, Ordering::Relaxed);
        assert!(visits.join().unwrap() > 20);
    });
    assert!(!ends(&process, Duration::ZERO));
    daemon.end();
}

#[test]
fn a_client_that_does_not_read_does_not_hold_up_an_upgrade() {
    let daemon = running();
    let path = format!("/run/tenantd/{}/control", daemon.app);
    let mut deaf = UnixStream::connect(path).unwrap();
    deaf.set_nonblocking(true).unwrap();
    // Until neither of both can send: the supervisor waits for room for an answer.
    let request = b"{\"method\":\"io.tenantd.Supervisor.Status\"}\0";
    let moment = Timespec::try_from(Duration::from_millis(200)).unwrap();
    loop {
        match deaf.write(request) {
            Ok(sent) => assert!(sent > 0),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                let mut room = [PollFd::new(&deaf, PollFlags::OUT)];
                if poll(&mut room, Some(&moment)).unwrap() == 0 {
                    break;
                }
            }
        }
    }
    daemon.tell(&["upgrade"]).expect(0);
    let output = daemon.output();
    assert!(!output.contains("stale control socket"), "{output}");
    daemon.end();
}
