//! Groups with rights for some tenants, and the audit log of what they and others asked for.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::Value;

use crate::support::daemon::{CommandOutput, Daemon, PROGRAM, in_time, run, until};
use crate::support::place::{self, folder, script};

const MANIFEST: &str = r#"
[app]
name = "APP"
command = ["/srv/app"]
user = "root"
datastore.path = "/srv/data"
[control]
operators = [
    { group = 4242, rights = ["restart", "kill"], tenants = ["acme"] },
    { group = 4343, rights = ["stop", "start"] },
]
[tenants]
acme = { ip = "10.77.0.11" }
bolt = { ip = "10.77.0.12" }
"#;

fn start() -> Daemon {
    place::host();
    folder("/srv/data");
    script("app", "exec sleep 1000000");
    Daemon::start_settled(MANIFEST)
}

/// What a user without privileges who is in this group gets.
fn told(daemon: &Daemon, group: &str, arguments: &[&str]) -> CommandOutput {
    let mut command = in_time("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--groups", group]);
    command.args([PROGRAM, "--app", &daemon.app]);
    run(command.args(arguments))
}

/// The lines of the audit log, once there are so many.
fn audit(daemon: &Daemon, count: usize) -> Vec<Value> {
    let path = format!("/var/log/tenantd/{}.audit", daemon.app);
    until("the requests are noted", || {
        let text = fs::read_to_string(&path).unwrap_or_default();
        let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
        let lines: Vec<Value> = lines.collect();
        (lines.len() >= count).then_some(lines)
    })
}

#[test]
fn a_group_does_what_it_may_with_its_tenants_and_nothing_else() {
    let daemon = start();
    let of_acme = |arguments: &[&str]| told(&daemon, "4242", arguments);
    let bolt = daemon.tenant("bolt");
    let shown = of_acme(&["status"]).expect(0);
    assert!(shown.contains("acme") && !shown.contains("bolt"), "{shown}");
    let before = daemon.tenant("acme").pid;
    of_acme(&["restart", "acme"]).expect(0);
    assert_ne!(daemon.tenant("acme").pid, before);
    of_acme(&["restart", "*"]).expect(0);
    for arguments in [
        &["restart", "bolt"][..],
        &["status", "bolt"],
        &["events", "bolt"],
        &["stop", "acme"],
        &["kill", "-s", "TERM", "bolt"],
        &["exec", "acme", "--", "id"],
        &["exec", "--offline", "acme", "--", "id"],
        &["reload-app", "acme"],
        &["reload"],
        &["diff"],
        &["upgrade"],
        &["detach"],
        &["gc"],
    ] {
        let refused = of_acme(arguments);
        assert_ne!(refused.code, 0, "{arguments:?}: {refused:?}");
        let says_why = refused.err.contains("permission denied") || refused.err.contains("root");
        assert!(says_why, "{arguments:?}: {refused:?}");
    }
    let refused = of_acme(&["stop", "acme"]);
    let why = "permission denied: none of your groups may stop acme";
    assert!(refused.err.contains(why), "{refused:?}");
    assert_eq!(daemon.tenant("bolt").pid, bolt.pid);
    told(&daemon, "4343", &["stop", "acme", "bolt"]).expect(0);
    told(&daemon, "4343", &["start", "acme"]).expect(0);
    assert_eq!(told(&daemon, "4343", &["restart", "acme"]).code, 1);

    // A restart of what is stopped would be a start.
    told(&daemon, "4343", &["stop", "acme"]).expect(0);
    let refused = of_acme(&["restart", "acme"]);
    let why = "it is stopped: starting it needs the right `start`";
    assert!(
        refused.code == 1 && (refused.out + &refused.err).contains(why),
        "{why}"
    );
    assert_eq!(daemon.tenant("acme").pid, None);
    told(&daemon, "4343", &["start", "acme"]).expect(0);

    // Both groups together.
    told(&daemon, "4242,4343", &["restart", "acme"]).expect(0);
    daemon.end();
}

#[test]
fn a_reload_changes_the_rights_of_those_who_are_connected() {
    let daemon = start();
    let text = fs::read_to_string(&daemon.manifest).unwrap();
    let plan = run(in_time(PROGRAM)
        .args(["plan", "--config"])
        .arg(&daemon.manifest));
    let plan = plan.expect(0);
    assert!(plan.contains("4242 of acme"), "{plan}");
    let less = text.replace("\"restart\", \"kill\"", "\"kill\"");
    fs::write(&daemon.manifest, less).unwrap();
    let shown = daemon.tell(&["diff"]).expect(3);
    assert!(shown.contains("operators 4242 of acme"), "{shown}");
    assert_eq!(told(&daemon, "4242", &["restart", "acme"]).code, 0);
    daemon.tell(&["reload"]).expect(0);
    assert_eq!(told(&daemon, "4242", &["restart", "acme"]).code, 1);
    told(&daemon, "4242", &["kill", "-s", "CONT", "acme"]).expect(0);
    daemon.end();
}

#[test]
fn what_changes_something_and_what_is_refused_is_noted() {
    let daemon = start();
    daemon.tell(&["stop", "bolt"]).expect(0);
    told(&daemon, "4242", &["kill", "-s", "CONT", "acme"]).expect(0);
    told(&daemon, "4242", &["detach"]);
    told(&daemon, "4242", &["status"]).expect(0);
    let lines = audit(&daemon, 3);
    let short = |line: &Value| {
        let tenants = line["tenants"].to_string();
        let [outcome, verb] = ["outcome", "verb"].map(|key| line[key].as_str().unwrap());
        format!("{} {outcome} {verb} {tenants}", line["uid"])
    };
    let lines: Vec<_> = lines.iter().map(|line| (short(line), line)).collect();
    let texts: Vec<&str> = lines.iter().map(|(text, _)| text.as_str()).collect();
    assert_eq!(
        texts,
        [
            "0 done stop [\"bolt\"]",
            "65534 done kill -s 18 [\"acme\"]",
            "65534 refused detach []",
        ]
    );
    let (_, refused) = &lines[2];
    assert_eq!(refused["comm"], "tenantd");
    assert_eq!(refused["exe"], PROGRAM);
    assert_eq!(refused["inside"], Value::Null);
    assert_eq!(refused["detail"], "it needs root");
    daemon.end();
}

/// A flood of refusals leaves a few lines and a count, and an operator is served meanwhile.
#[test]
fn a_flood_of_refused_requests_is_counted() {
    let daemon = start();
    let mut root = Following::start(&daemon, &["--keep-groups"], &[]);
    root.until("snapshot");
    let text = format!(
        "import socket\nfor n in range(2000):\n  s = socket.socket(socket.AF_UNIX)\n  \
         s.connect('/run/tenantd/{}/control')\n  \
         s.sendall(b'{{\"method\":\"io.tenantd.Supervisor.Detach\"}}\\0')\n  \
         assert b'ReadOnly' in s.recv(9999)\n  s.close()",
        daemon.app
    );
    let mut flood = in_time("setpriv");
    flood.args(["--reuid", "65534", "--regid", "65534", "--groups", "4242"]);
    run(flood.args(["/usr/bin/python3", "-c", &text])).expect(0);
    daemon.tell(&["stop", "bolt"]).expect(0);
    let is_stop = |line: &&Value| line["verb"] == "stop";
    let lines = until("the stop is noted", || {
        let lines = audit(&daemon, 2);
        lines.iter().any(|it| is_stop(&it)).then_some(lines)
    });
    assert!(lines.len() < 500, "{}", lines.len());
    let missing = |line: &Value| line["missing_before"].as_u64().unwrap_or(0);
    let all = lines.len() as u64 - 1 + lines.iter().map(missing).sum::<u64>();
    assert_eq!(all, 2000);
    // The events are the lines.
    for line in &lines {
        let (_, event) = root.until("request");
        assert_eq!(event["verb"], line["verb"]);
        assert_eq!(event["missing_before"].as_u64().unwrap(), missing(line));
    }
    root.end();
    daemon.end();
}

/// `events -f --json` of this user and group.
struct Following {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Following {
    fn start(daemon: &Daemon, identity: &[&str], names: &[&str]) -> Self {
        let mut command = Command::new("setpriv");
        command.args(identity).args([PROGRAM, "--app", &daemon.app]);
        command.args(["events", "-f", "--json"]).args(names);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self { child, lines }
    }

    /// Reads up to the line of this kind, and returns the kinds of those before it too.
    fn until(&mut self, kind: &str) -> (Vec<String>, Value) {
        let mut before = Vec::new();
        loop {
            let mut line = String::new();
            assert!(self.lines.read_line(&mut line).unwrap() > 0, "{before:?}");
            let line: Value = serde_json::from_str(&line).unwrap();
            if line["kind"] == kind {
                return (before, line);
            }
            before.push(line["kind"].as_str().unwrap().to_owned());
        }
    }

    fn end(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

const NOBODY: [&str; 6] = ["--reuid", "65534", "--regid", "65534", "--groups", "4242"];

#[test]
fn events_tell_root_of_requests_and_nobody_else() {
    let daemon = start();
    let mut root = Following::start(&daemon, &["--keep-groups"], &[]);
    let mut of_acme = Following::start(&daemon, &["--keep-groups"], &["acme"]);
    let mut nobody = Following::start(&daemon, &NOBODY, &["acme"]);
    for following in [&mut root, &mut of_acme, &mut nobody] {
        following.until("snapshot");
    }
    told(&daemon, "4242", &["status", "bolt"]);
    told(&daemon, "4242", &["detach"]);
    daemon.tell(&["stop", "bolt", "acme"]).expect(0);
    told(&daemon, "4242", &["status"]).expect(0);

    let (_, refused) = root.until("request");
    let text = |line: &Value, key: &str| line[key].as_str().unwrap().to_owned();
    assert_eq!(text(&refused, "app"), daemon.app);
    assert_eq!(text(&refused, "verb"), "status");
    assert_eq!(refused["tenants"], serde_json::json!(["bolt"]));
    assert_eq!(text(&refused, "outcome"), "refused");
    assert!(text(&refused, "detail").contains("no group of it has the right to"));
    let who = ["uid", "gid", "missing_before"].map(|key| refused[key].as_u64().unwrap());
    assert_eq!(who, [65534, 65534, 0]);
    assert!(refused["pid"].as_u64().unwrap() > 1);
    assert_eq!(text(&refused, "exe"), PROGRAM);
    assert_eq!(refused["inside"], Value::Null);
    let (_, detach) = root.until("request");
    assert_eq!(text(&detach, "verb"), "detach");
    let (before, stop) = root.until("request");
    let what = ["verb", "outcome"].map(|key| text(&stop, key));
    assert_eq!(what, ["stop", "done"]);
    assert!(before.contains(&"transition".to_owned()), "{before:?}");
    // It is not told about a request for another tenant.
    let (_, detach) = of_acme.until("request");
    assert_eq!(text(&detach, "verb"), "detach");
    assert_eq!(text(&of_acme.until("request").1, "verb"), "stop");
    // Each tenant's events have come by then, and no request.
    let (mut kinds, _) = nobody.until("transition");
    daemon.tell(&["start", "acme"]).expect(0);
    loop {
        let (before, line) = nobody.until("transition");
        kinds.extend(before);
        if line["state"] == "up" {
            break;
        }
    }
    assert!(!kinds.contains(&"request".to_owned()), "{kinds:?}");
    for following in [root, of_acme, nobody] {
        following.end();
    }
    daemon.end();
}

/// A connection from inside of a tenant is refused, and root is told of which tenant it was.
#[test]
fn events_tell_of_a_connection_from_inside_a_tenant() {
    let daemon = start();
    let mut root = Following::start(&daemon, &["--keep-groups"], &[]);
    root.until("snapshot");
    let pid = daemon.tenant("acme").pid.unwrap().to_string();
    let mut inside = in_time("nsenter");
    inside.args(["--target", &pid, "--net", PROGRAM, "--app", &daemon.app]);
    assert_ne!(run(inside.arg("status")).code, 0);
    let (_, refused) = root.until("request");
    let what = ["verb", "outcome"].map(|key| refused[key].as_str().unwrap());
    assert_eq!(what, ["connect", "refused"]);
    assert_eq!(refused["inside"], "another network namespace");
    root.end();
    daemon.end();
}

/// A request that ends the subscription is its last event.
#[test]
fn events_tell_of_an_upgrade_and_of_a_detachment() {
    let mut daemon = start();
    let mut following = Following::start(&daemon, &["--keep-groups"], &[]);
    following.until("snapshot");
    for verb in ["upgrade", "detach"] {
        daemon.tell(&[verb]).expect(0);
        let (_, event) = following.until("request");
        let what = ["verb", "outcome"].map(|key| event[key].as_str().unwrap());
        assert_eq!(what, [verb, "done"]);
    }
    let mut rest = String::new();
    following.lines.read_line(&mut rest).unwrap();
    assert_eq!(rest, "");
    following.end();
    daemon.wait();
    daemon.again();
    daemon.end();
}
