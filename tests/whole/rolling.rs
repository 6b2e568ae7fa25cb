//! Rolling restarts, and tenants that run an older program than the one on disk.

use std::fs;
use std::io::Read;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::Signal;
use tenantd_api::client::watch::{Until, wait};
use tenantd_api::wire::{Program, StateWord, TenantStatus};

use crate::support::daemon::{Daemon, LIMIT, PROGRAM, ends, pidfd, signal};
use crate::support::place::{self, script};
use crate::support::until_it_waits;

const FOUR: &str = r#"
[app]
name = "APP"
user = "root"
command = ["/srv/app"]
datastore.path = "/srv/data"
ready.lived = "200ms"
[tenants]
acme = { ip = "10.77.0.11" }
beta = { ip = "10.77.0.12" }
crm = { ip = "10.77.0.13" }
delta = { ip = "10.77.0.14" }
"#;

/// Installs another version of the program, as a package does.
fn install(text: &str) {
    script("app.new", text);
    fs::rename("/srv/app.new", "/srv/app").unwrap();
}

fn running() -> Daemon {
    running_with(FOUR)
}

fn running_with(manifest: &str) -> Daemon {
    place::host();
    place::folder("/srv/data");
    install("# 1.0\nexec sleep 1000000");
    Daemon::start_settled(manifest)
}

fn programs(daemon: &Daemon) -> Vec<Option<Program>> {
    let tenants = daemon.status().tenants;
    tenants.iter().map(|tenant| tenant.program).collect()
}

fn pids(daemon: &Daemon) -> Vec<Option<u32>> {
    let tenants = daemon.status().tenants;
    tenants.iter().map(|tenant| tenant.pid).collect()
}

#[test]
fn a_replaced_program_is_shown_and_rolled_out_in_waves() {
    let daemon = running();
    let (current, older) = (Some(Program::Current), Some(Program::Older));
    assert_eq!(programs(&daemon), [current; 4]);
    install("# 1.1\nexec sleep 1000000");
    assert_eq!(programs(&daemon), [older; 4]);
    let shown = daemon.tell(&["status"]).expect(0);
    assert!(shown.contains("4 tenants run an older program"), "{shown}");

    daemon.tell(&["stop", "crm"]).expect(0);
    let before = pids(&daemon);
    let said = daemon
        .tell(&["restart", "--all", "--rolling", "--batch", "2"])
        .expect(0);
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 5, "{said}");
    assert_eq!(lines[0], "crm: skipped: it is stopped");
    assert!(lines[3].starts_with("delta: up, ready, pid "), "{said}");
    assert_eq!(lines[4], "4 tenants: 3 restarted, 1 skipped");
    assert_eq!(programs(&daemon), [current, current, None, current]);
    assert_eq!(daemon.tenant("crm").state, StateWord::Down);
    for (after, before) in pids(&daemon).iter().zip(before) {
        assert!(after.is_none() || *after != before);
    }
    // Removed: the running program is on no disk any more.
    fs::remove_file("/srv/app").unwrap();
    assert_eq!(programs(&daemon)[0], older);
    daemon.end();
}

#[test]
fn a_roll_halts_at_the_first_wave_that_does_not_become_ready() {
    // Nobody is started again before the roll has said which tenants do not run.
    let manifest =
        format!("{FOUR}[app.restart]\ndelay = \"1m\"\ndelay_max = \"1m\"\nstrikes = 0\n");
    let daemon = running_with(&manifest);
    let before = pids(&daemon);
    install("# 1.1, which is broken\nexit 3");
    let said = daemon
        .tell(&["restart", "--all", "--rolling", "--batch", "2"])
        .expect(1);
    assert!(
        said.contains(
            "halted after batch 1 of 2: not ready: acme, beta\n  \
             restarted: acme, beta\n  \
             not restarted: crm, delta\n  \
             still running an older program: crm, delta\n  \
             not running: acme, beta\n\
             4 tenants: 2 failed, 2 not restarted\n\
             `tenantd status --failed` shows why, "
        ),
        "{said}"
    );
    assert!(said.contains("acme: waiting: "), "{said}");
    assert_eq!(pids(&daemon)[2..], before[2..], "they were left alone");

    // The old program is installed and rolled out again.
    install("# 1.0\nexec sleep 1000000");
    daemon
        .tell(&["restart", "--all", "--rolling", "--batch", "4"])
        .expect(0);
    assert!(
        daemon
            .status()
            .tenants
            .iter()
            .all(TenantStatus::is_as_wanted)
    );
    daemon.end();
}

/// A rolling restart as an operator sees it.
struct Roll {
    child: Child,
    seen: String,
}

impl Roll {
    fn start(daemon: &Daemon) -> Self {
        let child = Command::new(PROGRAM)
            .args(["restart", "--app", &daemon.app, "--all", "--rolling"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let seen = String::new();
        Self { child, seen }
    }

    /// Interrupts it once it waits for a batch.
    fn interrupt(&self, daemon: &Daemon) {
        until_it_waits(&daemon.app, self.child.id());
        signal(self.child.id(), Signal::SIGINT);
    }

    /// Reads until this text is printed on standard error, and sends SIGINT.
    fn interrupt_at(&mut self, shown: &str) {
        let mut byte = [0];
        while !self.seen.contains(shown) {
            let stderr = self.child.stderr.as_mut().unwrap();
            let read = stderr.read_exact(&mut byte);
            read.unwrap_or_else(|error| panic!("{error}: {}", self.seen));
            self.seen.push(char::from(byte[0]));
        }
        signal(self.child.id(), Signal::SIGINT);
    }

    /// Its output until its end.
    fn ends(self) -> String {
        assert!(ends(&pidfd(self.child.id()), LIMIT));
        let output = self.child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(130), "{output:?}");
        self.seen
            + &String::from_utf8_lossy(&output.stdout)
            + &String::from_utf8_lossy(&output.stderr)
    }
}

/// Its delay is over when it is found not to be ready, so that no snapshot shows it waiting.
#[test]
fn who_waits_for_a_program_that_never_listens_learns_of_its_first_failure() {
    place::host();
    place::folder("/srv/data");
    install("# 1.0\nexec sleep 1000000");
    let manifest = FOUR.replace(
        "ready.lived = \"200ms\"",
        "ready = { tcp = 1, within = \"1s\" }",
    );
    let daemon = Daemon::start(&manifest.replace("acme = {", "acme = { autostart = false,"));
    daemon.tell(&["start", "--no-wait", "acme"]).expect(0);
    let app = daemon.app.parse().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let acme = ["acme".parse().unwrap()];
    let tried = runtime
        .block_on(async { tokio::time::timeout(LIMIT, wait(&app, &acme, Until::Tried)).await });
    let [acme] = &tried.expect("it ends").unwrap().reached[..] else {
        panic!("one tenant");
    };
    assert_eq!(acme.state, StateWord::Waiting);
    let why = acme.why.as_deref().unwrap();
    assert!(why.contains("no connection accepted within 1 s"), "{why}");

    // The roll goes by it.
    let roll = daemon.tell(&["restart", "--rolling", "acme", "beta"]);
    assert_eq!(roll.code, 1, "{roll:?}");
    assert!(roll.out.contains("halted after batch 1"), "{roll:?}");
    assert!(
        roll.out.contains("no connection accepted within 1 s"),
        "{roll:?}"
    );
    daemon.end();
}

#[test]
fn an_interrupted_roll_ends_after_its_wave_and_lists_the_rest() {
    let daemon = running_with(&FOUR.replace("200ms", "2s"));
    let before = pids(&daemon);
    install("# 1.1\nexec sleep 1000000");
    let roll = Roll::start(&daemon);
    roll.interrupt(&daemon);
    let said = roll.ends();
    for line in [
        "acme: up, ready",
        "halting: waiting for batch 1",
        "halted after batch 1 of 4: interrupted\n  restarted: acme\n  \
         not restarted: beta, crm, delta\n  still running an older program: beta, crm, delta\n\
         interrupted: 4 tenants: 1 restarted, 3 not restarted\n\
         `tenantd restart --rolling beta crm delta` restarts the rest.\n",
    ] {
        assert!(said.contains(line), "{line:?} in {said}");
    }
    assert_eq!(pids(&daemon)[1..], before[1..], "they were left alone");
    daemon.end();
}

#[test]
fn a_second_interrupt_ends_a_roll_at_once() {
    place::host();
    place::folder("/srv/data");
    install("exec sleep 1000000");
    let never = FOUR.replace(
        "ready.lived = \"200ms\"",
        "ready = { tcp = 81, within = \"10m\" }",
    );
    let daemon = Daemon::start(&never);
    let mut roll = Roll::start(&daemon);
    roll.interrupt(&daemon);
    roll.interrupt_at("halting: waiting for batch 1");
    let said = roll.ends();
    let counts = "interrupted: 4 tenants: 3 not restarted, 1 restarting\n";
    assert!(said.contains(counts), "{said}");
    assert!(!said.contains("batch 2"), "{said}");
    daemon.end();
}
