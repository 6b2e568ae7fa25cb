//! Reading the state without root: the commands of an unprivileged user, and what stays closed to
//! that user.

use std::fs;
use std::process::Command;

use nix::sys::signal::Signal;

use crate::support::daemon::{CommandOutput, Daemon, PROGRAM, run};
use crate::support::place::{self, script};

const MANIFEST: &str = r#"
[app]
name = "APP"
user = "root"
command = ["/srv/app"]
environment = { TOKEN = "hush" }
datastore.path = "/srv/data"
[control]
read = [4242]
[tenants]
acme = { ip = "10.77.0.11" }
"#;

fn running() -> Daemon {
    place::host();
    place::folder("/srv/data");
    script("app", "exec sleep 1000000");
    Daemon::start_settled(MANIFEST)
}

/// The command of a user without privileges who is in this group.
fn user(group: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--groups", group]);
    command
}

fn told(daemon: &Daemon, group: &str, arguments: &[&str]) -> CommandOutput {
    let mut command = user(group);
    run(command
        .arg(PROGRAM)
        .args(["--app", &daemon.app])
        .args(arguments))
}

#[test]
fn a_member_of_the_group_sees_the_state_and_changes_nothing() {
    let daemon = running();
    let reader = |arguments: &[&str]| told(&daemon, "7,4242", arguments);
    let shown = reader(&["status"]).expect(0);
    assert!(shown.contains("acme"), "{shown}");
    reader(&["status", "--json", "acme"]).expect(0);
    assert!(reader(&["events"]).expect(0).contains("acme"));
    let list = run(user("4242").args([PROGRAM, "list"])).expect(0);
    assert!(list.contains(&daemon.app), "{list}");

    let before = daemon.tenant("acme");
    for arguments in [
        &["start", "acme"][..],
        &["stop", "acme"],
        &["restart", "acme"],
        &["restart", "--rolling", "acme"],
        &["kill", "-s", "HUP", "acme"],
        &["reload-app", "acme"],
        &["reload"],
        &["diff"],
        &["upgrade"],
        &["detach"],
        &["gc", "--dry-run"],
        &["exec", "acme", "--", "true"],
    ] {
        let refused = reader(arguments);
        assert_ne!(refused.code, 0, "{arguments:?}: {refused:?}");
        assert!(
            refused.err.contains("try again with sudo"),
            "{arguments:?}: {refused:?}"
        );
        assert!(!refused.err.contains("hush") && !refused.out.contains("hush"));
    }
    assert_eq!(daemon.tenant("acme"), before);

    let stranger = told(&daemon, "7", &["status"]);
    assert_eq!(stranger.code, 1, "{stranger:?}");
    assert!(stranger.err.contains("permission denied"), "{stranger:?}");
    daemon.end();
}

#[test]
fn a_reader_reaches_the_socket_and_no_other_file() {
    let daemon = running();
    let folder = format!("/run/tenantd/{}", daemon.app);
    let mut names: Vec<String> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let expected = [
        "collected",
        "collector",
        "control",
        "ledger",
        "lock",
        "notify",
        "tenants",
    ];
    assert_eq!(names, expected);
    let reads = |arguments: &[&str]| run(user("4242").args(arguments)).code == 0;
    assert!(!reads(&["ls", &folder]));
    for name in ["collected", "collector", "ledger", "lock"] {
        let path = format!("{folder}/{name}");
        assert!(!reads(&["cat", &path]), "{path}");
        assert!(!reads(&[
            "dd",
            "if=/dev/null",
            &format!("of={path}"),
            "conv=notrunc"
        ]));
    }
    assert!(!reads(&["ls", &format!("{folder}/tenants")]));
    assert!(!reads(&["ls", &format!("{folder}/tenants/acme/")]));
    assert!(!reads(&["ls", "/run/tenantd/locks/"]));
    assert!(!reads(&["touch", &format!("{folder}/mine")]));
    daemon.end();
}

#[test]
fn a_reload_and_an_upgrade_apply_the_groups() {
    let daemon = running();
    let code = |group: &str| told(&daemon, group, &["status"]).code;
    assert_eq!((code("4242"), code("4343")), (0, 1));
    daemon.tell(&["upgrade"]).expect(0);
    assert_eq!((code("4242"), code("4343")), (0, 1));

    let pid = daemon.tenant("acme").pid;
    let text = fs::read_to_string(&daemon.manifest).unwrap();
    let text = text.replace("[4242]", "[4343]");
    fs::write(&daemon.manifest, &text).unwrap();
    let shown = daemon.tell(&["diff"]).expect(3);
    let change = "application, live\n  read by 4343      + 4343\n  read by 4242      - 4242\n";
    assert!(shown.starts_with(change), "{shown}");
    assert!(
        shown.contains("application to change live, 1 unchanged\n"),
        "{shown}"
    );
    let said = daemon.tell(&["reload"]).expect(0);
    let line = format!("{}: changed live: read by 4343, read by 4242\n", daemon.app);
    assert_eq!(said, line);
    assert_eq!((code("4242"), code("4343")), (1, 0));
    assert_eq!(daemon.tell(&["diff"]).expect(0), "no changes\n");

    // As a reload by a signal does, and without the key.
    fs::write(&daemon.manifest, text.replace("[4343]", "[]")).unwrap();
    daemon.signal(Signal::SIGHUP);
    crate::support::until("nobody reads", || code("4343") == 1);
    assert_eq!(daemon.tenant("acme").pid, pid);

    fs::write(
        &daemon.manifest,
        text.replace("[4343]", "[\"no-such-group\"]"),
    )
    .unwrap();
    let bad = daemon.tell(&["diff"]);
    assert_eq!(bad.code, 78);
    assert!(
        bad.err.contains("group `no-such-group` does not exist"),
        "{}",
        bad.err
    );
    daemon.end();
}
