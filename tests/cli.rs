//! The program as a person meets it: the real binary in a test host, with a scripted supervisor
//! behind the control socket.

#[allow(unreachable_pub, reason = "each test file takes the same module")]
mod support;

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use tenantd::daemon::control;
use tenantd::daemon::desk::{self, Ask, NoDoor, Unknown};
use tenantd::name::{AppName, TenantName};
use tenantd::wire::{
    self, Answer, AppStatus, Door, LogPlace, StateWord, TenantAnswer, TenantStatus, Tracking, Verb,
    Want,
};

/// Far more than anything here takes: past it, a test has failed.
const LIMIT: Duration = Duration::from_secs(10);

fn tenantd(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tenantd"));
    command
        .args(arguments)
        .env_remove("TENANTD_APP")
        .env_remove("TENANTD_CONFIG")
        .stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> Output {
    tenantd(arguments).output().unwrap()
}

#[track_caller]
fn expect(output: &Output, code: i32, stdout: &str, stderr: &str) {
    assert_eq!(String::from_utf8_lossy(&output.stdout), stdout);
    assert_eq!(String::from_utf8_lossy(&output.stderr), stderr);
    assert_eq!(output.status.code(), Some(code));
}

/// Two tenants: acme does as told, beta cannot be started and cannot be stopped.
fn status(app: &AppName, names: &[TenantName]) -> Result<AppStatus, Unknown> {
    let one = |name: &str, state, pid: Option<u32>, why: Option<&str>| TenantStatus {
        name: name.parse().unwrap(),
        want: Want::Up,
        state,
        pid,
        address: "10.77.0.11".parse().unwrap(),
        restarts: 0,
        since: jiff::Timestamp::UNIX_EPOCH,
        ready: pid.map(|_| true),
        until: None,
        why: why.map(Into::into),
        failure: None,
    };
    let all = [
        one("acme", StateWord::Up, Some(123), None),
        one(
            "beta",
            StateWord::Held,
            None,
            Some("cannot execute /opt/wiki"),
        ),
    ];
    for name in names {
        if all.iter().all(|tenant| tenant.name != *name) {
            let tenant = name.clone();
            return Err(Unknown { tenant });
        }
    }
    let wanted = |tenant: &TenantStatus| names.is_empty() || names.contains(&tenant.name);
    Ok(AppStatus {
        app: app.clone(),
        pid: 4711,
        tracking: Tracking::Cgroup,
        logs: LogPlace::Files,
        tenants: all.into_iter().filter(wanted).collect(),
    })
}

struct Script {
    app: AppName,
    door: Option<Door>,
    /// Whether a stop is reached.
    down: bool,
    /// Dies instead of answering a settle.
    dies: bool,
}

impl Script {
    fn new() -> Self {
        let app: AppName = support::app_name().parse().unwrap();
        Self {
            app,
            door: None,
            down: false,
            dies: false,
        }
    }

    /// Gives its answer; false ends the supervisor.
    fn answer(&mut self, ask: Ask) -> bool {
        // A client that is gone needs no answer.
        match ask {
            Ask::Status { tenants, reply } => drop(reply.send(status(&self.app, &tenants))),
            Ask::Settle { tenants, reply } => {
                if self.dies {
                    return false;
                }
                let mut settled = status(&self.app, &tenants);
                if let (true, Ok(settled)) = (self.down, &mut settled) {
                    settled.tenants[0].state = StateWord::Down;
                }
                drop(reply.send(settled));
            }
            Ask::Act {
                verb,
                tenants,
                reply,
            } => {
                self.down = verb == Verb::Stop;
                let answer = |tenant: TenantStatus| TenantAnswer {
                    tenant: tenant.name,
                    answer: Answer::Accepted,
                };
                let answers = status(&self.app, &tenants)
                    .map(|status| status.tenants.into_iter().map(answer).collect());
                drop(reply.send(answers));
            }
            Ask::Enter { tenant, reply } => {
                let down = NoDoor::Down(StateWord::Held);
                let door = self.door.clone().filter(|_| tenant.as_str() == "acme");
                drop(reply.send(door.ok_or(down)));
            }
        }
        true
    }

    /// Serves from a thread of its own, in the caller's test host.
    fn serve(mut self) {
        let folder = wire::control_socket(&self.app);
        std::fs::create_dir_all(folder.parent().unwrap()).unwrap();
        let (bound, is_bound) = channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            tokio::task::LocalSet::new().block_on(&runtime, async {
                let listener = control::bind(&self.app).unwrap();
                let (desk, mut asks) = desk::open();
                tokio::task::spawn_local(listener.serve(desk));
                bound.send(()).unwrap();
                while let Some(ask) = asks.recv().await {
                    if !self.answer(ask) {
                        // As if killed: no answer, the connections just end.
                        return;
                    }
                }
            });
        });
        is_bound.recv_timeout(LIMIT).unwrap();
    }
}

#[test]
fn status_says_who_is_not_as_wanted() {
    support::enter();
    let script = Script::new();
    let app = script.app.to_string();
    script.serve();
    let output = run(&["status"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        text.starts_with(&format!("{app}: supervisor pid 4711, ")),
        "{text}"
    );
    assert!(
        text.contains("\n  WHY cannot execute /opt/wiki\n"),
        "{text}"
    );
    assert!(
        !text.contains('\u{1b}'),
        "no colours but on a terminal: {text}"
    );
    assert_eq!(output.status.code(), Some(1));
    let output = run(&["status", "acme", "--json", "--app", &app]);
    assert_eq!(output.status.code(), Some(0));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["app"], app.as_str());
    assert_eq!(json["tenants"].as_array().unwrap().len(), 1);
    assert_eq!(json["tenants"][0]["pid"], 123);
    let unknown = format!(
        "tenantd: error: typo: {app} has no tenant of this name: see `tenantd status --app {app}`\n"
    );
    expect(&run(&["status", "typo"]), 1, "", &unknown);
}

#[test]
fn start_and_stop_say_what_became_of_each() {
    support::enter();
    Script::new().serve();
    let accepted = "acme: accepted: it is being started\n";
    let up = "acme: up, ready, pid 123, 10.77.0.11\n";
    expect(&run(&["start", "acme"]), 0, &format!("{accepted}{up}"), "");
    expect(&run(&["start", "acme", "--no-wait"]), 0, accepted, "");
    let text = "beta: accepted: it is being restarted\nbeta: held: cannot execute /opt/wiki\n";
    expect(&run(&["restart", "beta"]), 1, text, "");
    expect(
        &run(&["stop", "acme"]),
        0,
        "acme: accepted: it is being stopped\nacme: down\n",
        "",
    );
    let output = run(&["stop", "--all"]);
    assert_eq!(output.status.code(), Some(1), "beta is not proved down");
}

#[test]
fn a_supervisor_that_dies_meanwhile_is_named() {
    support::enter();
    let script = Script {
        dies: true,
        ..Script::new()
    };
    let app = script.app.to_string();
    script.serve();
    let output = run(&["stop", "acme"]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let said = format!("tenantd: error: {app}: its supervisor ended before it answered");
    assert!(text.starts_with(&said), "{text}");
}

#[test]
fn the_exit_codes_are_told_apart() {
    support::enter();
    assert_eq!(run(&["stop"]).status.code(), Some(2));
    assert_eq!(run(&["frobnicate"]).status.code(), Some(2));
    assert_eq!(run(&["check"]).status.code(), Some(2));
    let output = run(&[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("EXAMPLES"));
    assert_eq!(run(&["--help"]).status.code(), Some(0));
    let none = "tenantd: error: no supervisor runs here: start one with `tenantd run --config \
                FILE`, or name the application with --app NAME\n";
    expect(&run(&["status"]), 1, "", none);
    let output = run(&["status", "--app", "wiki"]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        text.starts_with("tenantd: error: wiki: no supervisor runs for it"),
        "{text}"
    );
}

#[test]
fn several_applications_must_be_told_apart() {
    support::enter();
    let (one, two) = (Script::new(), Script::new());
    let mut apps = [one.app.to_string(), two.app.to_string()];
    apps.sort();
    let [first, second] = apps;
    one.serve();
    two.serve();
    let several = format!(
        "tenantd: error: several applications run here ({first}, {second}): say which with --app NAME\n"
    );
    expect(&run(&["status"]), 1, "", &several);
    let output = tenantd(&["status", "acme"])
        .env("TENANTD_APP", &second)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0));
    let folder = tempfile::tempdir().unwrap();
    let manifest = folder.path().join("a.toml");
    std::fs::write(&manifest, format!("[app]\nname = \"{first}\"\n")).unwrap();
    let output = run(&["status", "acme", "--config", manifest.to_str().unwrap()]);
    assert!(String::from_utf8_lossy(&output.stdout).starts_with(&first));
}

/// What a child writes, line by line, as it comes.
struct Lines {
    child: Child,
    lines: Receiver<String>,
}

impl Lines {
    fn of(mut child: Child) -> Self {
        let (sender, lines): (Sender<String>, _) = channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in stdout.lines() {
                if sender.send(line.unwrap()).is_err() {
                    return;
                }
            }
        });
        Self { child, lines }
    }

    #[track_caller]
    fn next(&self, expected: &str) {
        assert_eq!(self.lines.recv_timeout(LIMIT).unwrap(), expected);
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn log_file(app: &str) -> PathBuf {
    let folder = PathBuf::from("/var/log/tenantd").join(app);
    std::fs::create_dir_all(&folder).unwrap();
    folder.join("acme.log")
}

fn append(path: &PathBuf, text: &str) {
    let mut file = std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)
        .unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

#[test]
fn logs_are_followed_through_rotations_without_a_supervisor() {
    support::enter();
    let log = log_file("wiki");
    let older = log.with_extension("log.1");
    append(&older, "1\n2\n");
    append(&log, "3\n4\n");
    expect(
        &run(&["logs", "acme", "--app", "wiki", "-n", "3"]),
        0,
        "2\n3\n4\n",
        "",
    );
    let child = tenantd(&["logs", "acme", "--app", "wiki", "-n", "1", "-f"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = Lines::of(child);
    lines.next("4");
    append(&log, "5\n");
    lines.next("5");
    for round in 6..12 {
        std::fs::rename(&log, &older).unwrap();
        append(&log, &format!("{round}\n"));
        lines.next(&round.to_string());
    }
    append(&log, "12\n");
    lines.next("12");
}

#[test]
fn logs_of_a_stranger_are_an_error() {
    support::enter();
    let output = run(&["logs", "acme", "--app", "wiki"]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let said = "tenantd: error: acme: it has no log file /var/log/tenantd/wiki/acme.log: wiki: \
                no supervisor runs for it";
    assert!(text.starts_with(said), "{text}");
    let script = Script::new();
    let app = script.app.to_string();
    script.serve();
    // A file of this name does not make a tenant.
    append(&log_file(&app).with_file_name("typo.log"), "1\n");
    let output = run(&["logs", "typo"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("has no tenant of this name"));
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    support::enter();
    let log = log_file("wiki");
    append(
        &log,
        &"a line that is long enough to fill a pipe\n".repeat(20_000),
    );
    for follow in [false, true] {
        let mut arguments = vec!["logs", "acme", "--app", "wiki", "-n", "20000"];
        arguments.extend(follow.then_some("-f"));
        let mut child = tenantd(&arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        drop(stdout);
        let output = child.wait_with_output().unwrap();
        expect(&output, 0, "", "");
    }
}

/// A tenant: a process in namespaces of its own.
struct Tenant(Child);

impl Tenant {
    fn start() -> (Self, Door) {
        let mut command = Command::new("unshare");
        command
            .args(["--net", "--mount", "sh", "-c"])
            .arg("mount -t tmpfs data /mnt && echo private > /mnt/data && echo up && exec cat")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        assert_eq!(line, "up\n");
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
        let (_, fields) = stat.rsplit_once(')').unwrap();
        let ticks = fields.split_ascii_whitespace().nth(19).unwrap();
        let door = Door {
            pid: child.id(),
            start_ticks: ticks.parse().unwrap(),
            cgroup: None,
            uid: 65534,
            gid: 65534,
            groups: vec![65534],
            environment: [
                ("PATH".to_owned(), "/usr/bin:/bin".to_owned()),
                ("WIKI".to_owned(), "acme".to_owned()),
            ]
            .into(),
            working_directory: "/mnt".into(),
        };
        (Self(child), door)
    }
}

impl Drop for Tenant {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn exec_runs_a_command_as_the_tenant_runs() {
    support::enter();
    let (tenant, door) = Tenant::start();
    let cgroup = PathBuf::from(format!("/sys/fs/cgroup/{}", support::app_name()));
    std::fs::create_dir(&cgroup).unwrap();
    let script = Script {
        door: Some(Door {
            cgroup: Some(cgroup.display().to_string()),
            ..door
        }),
        ..Script::new()
    };
    script.serve();
    let told = "cat data; id -u; id -G; echo $WIKI; pwd; ls /sys/class/net >/dev/null; \
                readlink /proc/self/ns/net /proc/self/ns/mnt; grep -c . /proc/net/dev; \
                grep NoNewPrivs /proc/self/status; tail -n1 /proc/self/cgroup; test -e /proc/self/fd/9 && echo leak; \
                grep CapBnd /proc/self/status; exit 7";
    // As from a shell that has a file of the host open.
    let output = Command::new("sh")
        .args(["-c", "exec 9</etc/passwd; exec \"$@\"", "sh"])
        .args([
            env!("CARGO_BIN_EXE_tenantd"),
            "exec",
            "acme",
            "--",
            "sh",
            "-c",
            told,
        ])
        .output()
        .unwrap();
    let link = |kind| {
        let link = std::fs::read_link(format!("/proc/{}/ns/{kind}", tenant.0.id())).unwrap();
        link.display().to_string()
    };
    let leaf = cgroup.file_name().unwrap().to_str().unwrap().to_owned();
    let said = format!(
        "private\n65534\n65534\nacme\n/mnt\n{}\n{}\n3\nNoNewPrivs:\t1\n0::/{leaf}\nCapBnd:\t",
        link("net"),
        link("mnt")
    );
    std::fs::remove_dir(&cgroup).unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let bounding = text
        .strip_prefix(&said)
        .unwrap_or_else(|| panic!("{text}\n{said}"));
    let bounding = u64::from_str_radix(bounding.trim(), 16).unwrap();
    let (sys_ptrace, sys_admin) = (1 << 19, 1 << 21);
    assert_eq!(bounding & (sys_ptrace | sys_admin), 0, "{bounding:x}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(output.status.code(), Some(7));
}

#[test]
fn exec_says_why_it_could_not() {
    support::enter();
    let (tenant, door) = Tenant::start();
    let script = Script {
        door: Some(door),
        ..Script::new()
    };
    script.serve();
    let missing = "tenantd: error: acme: nonsense: there is no such command in the tenant\n";
    expect(&run(&["exec", "acme", "--", "nonsense"]), 127, "", missing);
    let output = run(&["exec", "acme", "--", "/etc/passwd"]);
    assert_eq!(output.status.code(), Some(126));
    let output = run(&["exec", "beta", "--", "true"]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        text.starts_with("tenantd: error: beta: no process of it runs, it is held"),
        "{text}"
    );
    drop(tenant);
    let output = run(&["exec", "acme", "--", "true"]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("has ended meanwhile"), "{text}");
}
