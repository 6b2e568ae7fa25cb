//! Groups with rights for some tenants, and the audit log of what they and others asked for.

use std::fs;

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
    daemon.end();
}
