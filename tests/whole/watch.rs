//! `events` and `status --watch` with the whole program, through all changes of a supervisor.

use std::io::{BufRead, BufReader, Read, Write as _};
use std::os::unix::net::UnixStream;
use std::process::{Child, ChildStdout, Command, Stdio};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::daemon::{Daemon, LIMIT, PROGRAM, ends, pidfd, signal};
use crate::support::place::{self, install, script};
use crate::support::until_it_waits;

const TWO: &str = r#"
[app]
name = "APP"
user = "root"
command = ["/srv/app"]
datastore.path = "/srv/data"
[tenants]
acme = { ip = "10.77.0.11" }
beta = { ip = "10.77.0.12" }
"#;

/// A command that keeps running, and its output.
struct Watching {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Watching {
    fn start(daemon: &Daemon, arguments: &[&str]) -> Self {
        let mut child = Command::new(PROGRAM)
            .args(["--app", &daemon.app])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self { child, lines }
    }

    /// Reads up to the line that contains this text.
    #[track_caller]
    fn until(&mut self, shown: &str) -> String {
        let mut seen = String::new();
        loop {
            let mut line = String::new();
            let read = self.lines.read_line(&mut line).unwrap();
            assert!(read > 0, "{shown:?} does not come: {seen}");
            if line.contains(shown) {
                return line;
            }
            seen += &line;
        }
    }

    /// The next event of a tenant. Requests are in `operators`.
    fn json(&mut self) -> Value {
        loop {
            let mut line = String::new();
            self.lines.read_line(&mut line).unwrap();
            let event: Value =
                serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
            if event["kind"] != "request" {
                return event;
            }
        }
    }

    /// Its standard error and its exit code.
    fn ends(mut self) -> (String, Option<i32>) {
        assert!(ends(&pidfd(self.child.id()), LIMIT));
        let mut said = String::new();
        let mut errors = self.child.stderr.take().unwrap();
        errors.read_to_string(&mut said).unwrap();
        (said, self.child.wait().unwrap().code())
    }
}

fn running() -> Daemon {
    place::host();
    place::folder("/srv/data");
    script("app", "exec sleep 1000000");
    Daemon::start_settled(TWO)
}

#[test]
fn each_event_is_a_line_of_json() {
    let daemon = running();
    let mut events = Watching::start(&daemon, &["events", "-f", "--json", "acme"]);
    let first = events.json();
    assert_eq!(first["kind"], "snapshot");
    assert_eq!(first["app"], *daemon.app);
    assert_eq!(first["status"]["name"], "acme");
    let pid = first["status"]["pid"].as_u64().unwrap();
    signal(pid.try_into().unwrap(), Signal::SIGKILL);
    let killed = events.json();
    assert_eq!(killed["kind"], "transition");
    assert_eq!([&killed["from"], &killed["state"]], ["up", "stopping"]);
    assert_eq!(killed["exit"]["signal"], 9);
    assert_eq!(killed["reason"], "its program was killed by SIGKILL");
    let mut from = "stopping".to_owned();
    while from != "up" {
        let event = events.json();
        assert_eq!(event["tenant"], "acme");
        assert_eq!(event["from"], from, "no transition is left out");
        from = event["state"].as_str().unwrap().to_owned();
    }
    // The other tenant was not selected.
    daemon.tell(&["restart", "beta"]).expect(0);
    daemon.tell(&["stop", "acme", "--permanent"]).expect(0);
    let asked = events.json();
    assert_eq!(asked["tenant"], "acme");
    assert_eq!(asked["reason"], "an operator requested a stop");
    let wanted = events.json();
    assert_eq!(wanted["kind"], "changed");
    assert_eq!(wanted["status"]["permanent"], "down");

    // Without -f only the current state is printed.
    let said = daemon.tell(&["events"]).expect(0);
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 2, "{said}");
    assert!(lines[0].ends_with("Z acme: down"), "{said}");
    assert!(lines[1].contains("Z beta: up, ready, pid "), "{said}");
    let said = daemon.tell(&["events", "-f", "typo"]);
    assert!(said.err.contains("no such tenant"), "{said:?}");
    said.expect(1);
    daemon.end();
}

#[test]
fn adding_and_removing_a_tenant_are_events() {
    let daemon = running();
    let mut events = Watching::start(&daemon, &["events", "-f"]);
    events.until(" beta: up, ready");
    daemon
        .tell(&["add", "crm", "ip=10.77.0.13", "autostart=false"])
        .expect(0);
    events.until(" crm: added");
    daemon.tell(&["start", "crm"]).expect(0);
    events.until(" crm: launching → up: ");
    daemon.tell(&["remove", "crm"]).expect(0);
    events.until(" crm: releasing → down: ");
    events.until(" crm: removed");
    daemon.end();
    let (said, code) = events.ends();
    assert!(
        said.ends_with("the supervisor has exited and stopped its tenants\n"),
        "{said}"
    );
    assert_eq!(code, Some(1));
}

#[test]
fn without_a_terminal_a_table_is_followed_by_lines() {
    let daemon = running();
    let mut watch = Watching::start(&daemon, &["status", "--watch"]);
    watch.until("supervisor pid ");
    watch.until("NAME ");
    watch.until("acme  up    up ");
    watch.until("beta  up    up ");
    daemon.tell(&["restart", "beta"]).expect(0);
    watch.until(" beta: up → stopping: an operator requested a restart");
    daemon.tell(&["detach"]).expect(0);
    let (said, code) = watch.ends();
    assert!(
        said.contains("has detached; its tenants keep running"),
        "{said}"
    );
    assert_eq!(code, Some(1));
    let mut daemon = daemon;
    daemon.wait();
    daemon.again();
    daemon.end();
}

#[test]
fn events_continue_through_an_upgrade_and_report_a_dead_supervisor() {
    place::host();
    place::folder("/srv/data");
    script("app", "exec sleep 1000000");
    install(PROGRAM);
    let mut daemon = Daemon::start_with(place::INSTALLED, TWO);
    daemon.tell(&["start", "--all"]).expect(0);
    let mut events = Watching::start(&daemon, &["events", "-f"]);
    events.until(" beta: up, ready");
    daemon.tell(&["upgrade"]).expect(0);
    let mut line = String::new();
    events.lines.read_line(&mut line).unwrap();
    assert!(line.contains(" request: upgrade: done "), "{line}");
    // No tenant has changed, so this is the next event.
    daemon.tell(&["stop", "acme"]).expect(0);
    line.clear();
    events.lines.read_line(&mut line).unwrap();
    assert!(line.contains(" acme: up → stopping: "), "{line}");
    events.until(" acme: releasing → down: ");
    daemon.kill();
    let (said, code) = events.ends();
    assert!(said.contains("has taken over"), "{said}");
    assert!(
        said.contains("lost the connection to the supervisor"),
        "{said}"
    );
    assert_eq!(code, Some(1));
    daemon.again();
    daemon.end();
}

#[test]
fn a_waiting_start_continues_through_an_upgrade() {
    place::host();
    place::folder("/srv/data");
    script("app", "exec sleep 1000000");
    install(PROGRAM);
    let never = TWO.replace(
        "[tenants]",
        "ready = { tcp = 81, within = \"10m\" }\n[tenants]",
    );
    let daemon = Daemon::start_with(place::INSTALLED, &never);
    let mut start = Watching::start(&daemon, &["start", "acme"]);
    // Its request is answered, and it waits.
    until_it_waits(&daemon.app, start.child.id());
    daemon.tell(&["upgrade"]).expect(0);
    daemon.tell(&["stop", "acme"]).expect(0);
    start.until("acme: down");
    let (said, code) = start.ends();
    assert_eq!((&*said, code), ("", Some(1)), "it is not up");
    daemon.end();
}

#[test]
fn a_repeated_name_counts_once() {
    let daemon = running();
    let path = format!("/run/tenantd/{}/control", daemon.app);
    let mut stream = UnixStream::connect(path).unwrap();
    let request = "{\"method\":\"io.tenantd.Supervisor.Status\",\
                   \"parameters\":{\"tenants\":[\"acme\",\"beta\",\"acme\"]}}\0";
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    BufReader::new(stream).read_until(0, &mut answer).unwrap();
    answer.pop();
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    let tenants = answer["parameters"]["tenants"].as_array().unwrap();
    let names: Vec<&str> = tenants
        .iter()
        .map(|t| t["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["acme", "beta"]);
    daemon.end();
}
