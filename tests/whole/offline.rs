//! `exec --offline`: commands for repairs in a tenant that is not up. They have what the program would have,
//! and never run beside a launch.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::mount::{MsFlags, mount};
use nix::sys::signal::Signal;
use tenantd_api::wire::{StateWord, TenantStatus};

use crate::guestbook::three;
use crate::support::daemon::{CommandOutput, Daemon, LIMIT, PROGRAM, ends, pidfd, signal, until};
use crate::support::place::{self, unmount};

/// A command that says its process number and stays until its input ends.
const STAYS: &str = "echo $$; cat";

fn sh(daemon: &Daemon, tenant: &str, script: &str) -> CommandOutput {
    daemon.tell(&["exec", "--offline", tenant, "--", "sh", "-c", script])
}

/// Such a command in a process of its own, and the number of the command.
fn begin(daemon: &Daemon, tenant: &str, script: &str) -> (Child, u32) {
    let mut child = Command::new(PROGRAM)
        .args(["--app", &daemon.app, "exec", "--offline", tenant])
        .args(["--", "sh", "-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut lines = BufReader::new(child.stdout.as_mut().unwrap());
    lines.read_line(&mut line).unwrap();
    (child, line.trim().parse().unwrap())
}

fn done(mut child: Child) -> Option<i32> {
    drop(child.stdin.take());
    child.wait().unwrap().code()
}

fn is_down(tenant: &TenantStatus) -> bool {
    tenant.state == StateWord::Down && tenant.offline.is_none()
}

fn data(daemon: &Daemon) -> String {
    format!("/var/lib/tenantd/{}/acme", daemon.app)
}

/// Nothing but the datastore is left of the tenant.
fn left_nothing(daemon: &Daemon) {
    let leaf = format!("/sys/fs/cgroup/tenantd/{}/acme", daemon.app);
    assert!(!Path::new(&leaf).exists(), "{leaf}");
    let claims = fs::read_dir("/run/tenantd/locks").unwrap();
    let claims = claims.map(|claim| fs::read_to_string(claim.unwrap().path()).unwrap_or_default());
    let parts = [format!("\"{}\"", daemon.app), "\"acme\"".to_owned()];
    let is_its = |claim: &String| parts.iter().all(|part| claim.contains(part));
    assert!(!claims.into_iter().any(|claim| is_its(&claim)));
}

#[test]
fn a_tenant_that_is_down_has_what_its_program_would_have() {
    let daemon = three();
    let seen = "id -un; pwd; ip -br -4 addr show eth0 | tr -s ' ' | cut -d' ' -f3; ls /var/lib/guestbook; \
                echo repaired > /var/lib/guestbook/repaired; touch /etc/x 2>/dev/null; echo $?; \
                touch /tmp/mine && ls /tmp; ulimit -n; env | grep -c TENANTD_; readlink /proc/self/ns/net";
    let online = daemon.tell(&["exec", "acme", "--", "sh", "-c", seen]);
    daemon.tell(&["stop", "acme"]).expect(0);
    let offline = sh(&daemon, "acme", seen);
    let lines = |said: &CommandOutput| {
        let lines: Vec<String> = said.out.lines().map(str::to_owned).collect();
        lines[..lines.len() - 1].to_vec()
    };
    assert_eq!(online.code, 0, "{online:?}");
    let mut expected = lines(&online);
    let repaired = expected.iter().position(|line| line == "entries").unwrap();
    expected.insert(repaired + 1, "repaired".to_owned());
    assert_eq!(lines(&offline), expected, "{offline:?}");
    assert!(Path::new(&format!("{}/repaired", data(&daemon))).exists());
    assert!(is_down(&daemon.tenant("acme")));
    left_nothing(&daemon);
    assert_eq!(sh(&daemon, "acme", "exit 42").code, 42);
    assert_eq!(sh(&daemon, "acme", "kill -9 $$").code, 137);
    let none = daemon.tell(&["exec", "--offline", "acme", "/no/such/program"]);
    assert_eq!(none.code, 127, "{none:?}");
    let root = ["exec", "--offline", "--user", "root", "acme", "id", "-u"];
    assert_eq!(daemon.tell(&root).expect(0), "0\n");
    daemon.tell(&["start", "acme"]).expect(0);
    daemon.end();
}

#[test]
fn a_repair_lets_a_tenant_that_has_failed_start() {
    place::host();
    place::folder("/srv/data");
    let program = place::script(
        "program",
        "test -e /srv/data/made || exit 3; exec sleep 1000",
    );
    let daemon = Daemon::start(&format!(
        "[app]\nname = \"APP\"\ncommand = [\"{program}\"]\nuser = \"nobody\"\n\
         datastore.path = \"/srv/data\"\nrestart = {{ strikes = 1 }}\n[tenants]\nacme = {{ ip = \"10.77.0.11\" }}\n"
    ));
    let before = daemon.until_state("acme", StateWord::Failed);
    assert_eq!(sh(&daemon, "acme", "exit 1").code, 1);
    let after = daemon.tenant("acme");
    let state = |tenant: &TenantStatus| (tenant.state, tenant.want, tenant.why.clone());
    assert_eq!(state(&after), state(&before));
    sh(&daemon, "acme", "touch /srv/data/made").expect(0);
    daemon.tell(&["start", "acme"]).expect(0);
    assert_eq!(daemon.tenant("acme").restarts, 0);
    daemon.end();
}

#[test]
fn nothing_is_launched_beside_it_and_it_is_not_begun_beside_a_launch() {
    let daemon = three();
    let up = sh(&daemon, "acme", "true");
    assert_eq!(up.code, 125, "{up:?}");
    assert!(up.err.contains("use `exec` without --offline"), "{up:?}");
    daemon.tell(&["stop", "acme"]).expect(0);
    let (shell, inside) = begin(&daemon, "acme", STAYS);
    let acme = daemon.tenant("acme");
    let (pid, offline) = (shell.id(), acme.offline.clone().unwrap());
    assert_eq!((offline.pid, acme.pid), (pid, None));
    let group = fs::read_to_string(format!("/proc/{inside}/cgroup")).unwrap();
    assert!(group.contains("/acme/visitors"), "{group}");
    for verb in ["start", "restart"] {
        let refused = daemon.tell(&[verb, "acme"]);
        assert_eq!(refused.code, 1, "{refused:?}");
        let named = format!("pid {pid}: sh -c {STAYS}");
        assert!(refused.out.contains(&named), "{refused:?}");
    }
    let second = sh(&daemon, "acme", "true");
    assert_eq!(second.code, 125, "{second:?}");
    assert!(second.err.contains(&format!("pid {pid}")), "{second:?}");
    let online = daemon.tell(&["exec", "acme", "true"]);
    assert_eq!(online.code, 125, "{online:?}");
    assert_eq!(done(shell), Some(0));
    assert!(is_down(&daemon.tenant("acme")));

    // A stop ends it.
    let (mut shell, inside) = begin(&daemon, "acme", STAYS);
    let command = pidfd(inside);
    daemon.tell(&["stop", "acme"]).expect(0);
    assert!(ends(&command, Duration::ZERO));
    shell.wait().unwrap();
    left_nothing(&daemon);
    daemon.end();
}

/// Two applications with one datastore, as in `one_writer`.
#[test]
fn another_application_with_the_datastore_is_refused_meanwhile() {
    place::host();
    place::folder("/srv/data");
    place::folder("/srv/alias/acme");
    let manifest = |ip: &str, more: &str| {
        let subnet = ip.replace(".11", ".0/24");
        format!(
            "[app]\nname = \"APP\"\nuser = \"root\"\ncommand = [\"/bin/sleep\", \"1000\"]\ndatastore.path = \"/srv/data\"\n\
             restart = {{ strikes = 1 }}\n[network]\nsubnet = \"{subnet}\"\n\
             [tenants]\nacme = {{ ip = \"{ip}\", autostart = false{more} }}\n"
        )
    };
    let second = Daemon::start(&manifest("10.78.0.11", ", datastore = \"/srv/alias/acme\""));
    let first = Daemon::start_settled(&manifest("10.77.0.11", ""));
    sh(&first, "acme", "true").expect(0);
    let (source, none): (String, Option<&str>) = (data(&first), None);
    mount(
        Some(&*source),
        "/srv/alias/acme",
        none,
        MsFlags::MS_BIND,
        none,
    )
    .unwrap();
    let (shell, _) = begin(&first, "acme", STAYS);
    let refused = [second.tell(&["start", "acme"]), sh(&second, "acme", "true")];
    assert_eq!(
        refused.each_ref().map(|said| said.code),
        [1, 125],
        "{refused:?}"
    );
    for said in &refused {
        let text = format!("{}{}", said.out, said.err);
        assert!(text.contains(&format!("{}/acme", first.app)), "{said:?}");
    }
    assert_eq!(done(shell), Some(0));
    second.tell(&["start", "acme"]).expect(0);
    let said = sh(&first, "acme", "true");
    assert_eq!(said.code, 125, "{said:?}");
    assert!(
        said.err.contains(&format!("{}/acme", second.app)),
        "{said:?}"
    );
    second.tell(&["stop", "acme"]).expect(0);
    sh(&first, "acme", "true").expect(0);
    unmount("/srv/alias/acme");
    first.end();
    second.end();
}

#[test]
fn what_a_command_leaves_behind_ends_with_it() {
    let daemon = three();
    daemon.tell(&["stop", "acme"]).expect(0);
    let (shell, left) = begin(
        &daemon,
        "acme",
        "trap '' HUP TERM; setsid sh -c 'echo $$; exec sleep 1000' & cat >/dev/null",
    );
    let left = pidfd(left);
    assert_eq!(done(shell), Some(0));
    assert!(ends(&left, Duration::ZERO));
    left_nothing(&daemon);
    daemon.end();
}

/// The client is killed, and its command wants to stay.
#[test]
fn the_end_of_the_client_is_the_end_of_the_command() {
    let daemon = three();
    daemon.tell(&["stop", "acme"]).expect(0);
    for which in [Signal::SIGKILL, Signal::SIGHUP, Signal::SIGTERM] {
        let stays = match which {
            Signal::SIGKILL => "trap '' HUP TERM INT; echo $$; while :; do sleep 0.1; done",
            _ => "echo $$; exec sleep 1000",
        };
        let (mut client, inside) = begin(&daemon, "acme", stays);
        let command = pidfd(inside);
        signal(client.id(), which);
        assert!(ends(&command, LIMIT), "{which}");
        client.wait().unwrap();
        daemon.until_tenant("acme", is_down);
        left_nothing(&daemon);
    }
    daemon.tell(&["start", "acme"]).expect(0);
    daemon.end();
}

#[test]
fn it_goes_on_under_the_next_supervisor() {
    let mut daemon = three();
    daemon.tell(&["stop", "acme"]).expect(0);
    let (mut shell, inside) = begin(
        &daemon,
        "acme",
        "echo $$; read line; echo $line > /var/lib/guestbook/line",
    );
    let pid = shell.id();
    daemon.kill();
    daemon.again();
    let acme = daemon.until_tenant("acme", |acme| acme.offline.is_some());
    assert_eq!(acme.offline.unwrap().pid, pid);
    let refused = daemon.tell(&["start", "acme"]);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.out.contains(&format!("pid {pid}")), "{refused:?}");
    assert!(!ends(&pidfd(inside), Duration::ZERO));
    shell
        .stdin
        .as_mut()
        .unwrap()
        .write_all(b"written\n")
        .unwrap();
    assert_eq!(done(shell), Some(0));
    let written = fs::read_to_string(format!("{}/line", data(&daemon))).unwrap();
    assert_eq!(written, "written\n");
    assert!(is_down(&daemon.tenant("acme")));

    // An upgrade, and a client that ends while no supervisor runs.
    let (mut shell, inside) = begin(
        &daemon,
        "acme",
        "trap '' HUP; echo $$; while :; do sleep 0.1; done",
    );
    let command = pidfd(inside);
    daemon.tell(&["upgrade"]).expect(0);
    assert!(!ends(&command, Duration::ZERO));
    daemon.kill();
    signal(shell.id(), Signal::SIGKILL);
    shell.wait().unwrap();
    daemon.again();
    assert!(ends(&command, LIMIT));
    daemon.until_tenant("acme", is_down);
    left_nothing(&daemon);
    daemon.tell(&["start", "acme"]).expect(0);
    daemon.end();
}

/// Commands of `exec` that enter at any moment of a restart cost it no failed launch.
#[test]
fn a_command_that_meets_a_restart_fails_no_launch() {
    let daemon = three();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    // It runs, is ended with the program, or comes too late.
                    daemon.tell(&["exec", "acme", "sleep", "0.01"]);
                }
            });
        }
        for _ in 0..6 {
            let before = daemon.tenant("acme").pid;
            let said = daemon.tell(&["restart", "acme"]);
            assert_eq!(said.code, 0, "{said:?}");
            assert_ne!(daemon.tenant("acme").pid, before);
        }
        over.store(true, Ordering::Relaxed);
    });
    let acme = daemon.tenant("acme");
    assert_eq!(
        (acme.state, acme.restarts, acme.why),
        (StateWord::Up, 0, None)
    );
    let output = daemon.output();
    assert!(!output.contains("acme: launching → waiting"), "{output}");
    daemon.end();
}

/// A stop of the supervisor ends the command.
#[test]
fn a_stop_of_the_supervisor_ends_it() {
    let mut daemon = three();
    daemon.tell(&["stop", "acme"]).expect(0);
    let (mut shell, inside) = begin(&daemon, "acme", STAYS);
    let command = pidfd(inside);
    daemon.signal(Signal::SIGTERM);
    assert!(daemon.wait().success());
    assert!(ends(&command, Duration::ZERO));
    until("the client ends", || shell.try_wait().unwrap());
    daemon.left_nothing();
}

/// Opens the file of each process of tenantd that it may, by `/proc/PID/exe`. Then it ends the process that holds the
/// tenant, so that no process executes the file, and writes to it.
const OVERWRITE: &str = r#"
import os, select, signal, sys
signal.signal(signal.SIGHUP, signal.SIG_IGN)
for pid in filter(str.isdigit, os.listdir("/proc")):
    try:
        try: line = open(f"/proc/{pid}/cmdline", "rb").read()
        # It has ended meanwhile.
        except (FileNotFoundError, ProcessLookupError): continue
        if not line.startswith(b"tenantd\0exec --offline of"):
            continue
        # Other tests have such processes too.
        if f"/{sys.argv[1]}/" not in open(f"/proc/{pid}/cgroup").read():
            continue
        program = os.open(f"/proc/{pid}/exe", os.O_RDONLY)
        ended = os.pidfd_open(int(pid))
        os.kill(int(pid), signal.SIGKILL)
        select.select([ended], [], [])
        while True:
            try:
                written = os.open(f"/proc/self/fd/{program}", os.O_WRONLY)
                os.write(written, b"changed")
                break
            except OSError as error:
                # Until the process has released its file.
                if error.errno != 26:
                    raise
    except OSError as error:
        print(error.strerror, flush=True)
"#;

/// A command of root without a domain. Without the copy, nothing but the supervisor prevents it, as long as it executes
/// the same file.
#[test]
fn a_tenant_of_root_cannot_write_to_the_file_of_tenantd() {
    place::host();
    place::install(PROGRAM);
    let daemon = Daemon::start_with(
        place::INSTALLED,
        "[app]\nname = \"APP\"\ncommand = [\"/bin/sleep\", \"1000\"]\nuser = \"root\"\n\
         wall = { landlock = false, hidepid = false, system_calls = \"none\" }\n\
         [tenants]\nacme = { ip = \"10.77.0.11\", autostart = false }\n",
    );
    let before = fs::read(place::INSTALLED).unwrap();
    let command = [
        "exec",
        "--offline",
        "acme",
        "python3",
        "-I",
        "-c",
        OVERWRITE,
        daemon.app.as_str(),
    ];
    let said = daemon.tell(&command);
    assert!(before == fs::read(place::INSTALLED).unwrap(), "{said:?}");
    assert_eq!(said.out, "Operation not permitted\n", "{said:?}");
    daemon.end();
}
