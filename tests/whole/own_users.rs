//! Tenants with a user of their own.

mod chown;
mod inside;
mod mapped;
mod queues;
mod userdb;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use serde_json::Value;

use crate::support::daemon::{Daemon, tenantd};
use crate::support::place::{self, example};

/// An application with two tenants, whose only wall is the user.
pub fn manifest(user: &str) -> String {
    let program = example("idle");
    format!(
        "[network]\nsubnet = \"10.77.0.0/24\"\n[app]\nname = \"APP\"\ncommand = [\"{program}\", \"80\"]\nuser = \"{user}\"\n\
         ready.tcp = 80\ndatastore.path = \"/srv/data\"\n\
         wall = {{ landlock = false, hidepid = false }}\n\
         [tenants]\nacme = {{ ip = \"10.77.0.11\" }}\nglobex = {{ ip = \"10.77.0.12\" }}\n"
    )
}

/// The user that a tenant's program has.
#[track_caller]
pub fn uid(daemon: &Daemon, tenant: &str) -> u32 {
    let pid = daemon.tenant(tenant).pid.unwrap();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = |key: &str| {
        let line = status.lines().find(|line| line.starts_with(key)).unwrap();
        let numbers: Vec<u32> = line
            .split_whitespace()
            .skip(1)
            .map(|it| it.parse().unwrap())
            .collect();
        assert!(numbers.iter().all(|it| *it == numbers[0]), "{line}");
        numbers[0]
    };
    assert_eq!(line("Uid:"), line("Gid:"));
    line("Uid:")
}

fn record(app: &str, tenant: &str) -> PathBuf {
    ["/var/lib/tenantd/.uids", app, tenant].iter().collect()
}

/// The user that is recorded for a tenant.
pub fn recorded(daemon: &Daemon, tenant: &str) -> u32 {
    let text = fs::read(record(&daemon.app, tenant)).unwrap();
    let record: Value = serde_json::from_slice(&text).unwrap();
    u32::try_from(record["uid"].as_u64().unwrap()).unwrap()
}

fn host() {
    place::host();
    place::folder("/srv/data");
}

fn rewrite(daemon: &Daemon, old: &str, new: &str) {
    let text = fs::read_to_string(&daemon.manifest).unwrap();
    assert!(text.contains(old), "{old} is not in {text}");
    fs::write(&daemon.manifest, text.replace(old, new)).unwrap();
}

/// What a process of acme's user can do to the program of globex.
fn reached(daemon: &Daemon) -> Vec<String> {
    let pid = daemon.tenant("globex").pid.unwrap();
    let try_all = format!(
        "cat /proc/{pid}/environ >/dev/null 2>&1 && echo environ; \
         kill -0 {pid} 2>/dev/null && echo signal; \
         ls /proc/{pid}/root/srv/data >/dev/null 2>&1 && echo data; \
         echo 1 2>/dev/null >/proc/{pid}/oom_score_adj && echo oom; true"
    );
    let said = daemon.tell(&["exec", "acme", "--", "/bin/sh", "-c", &try_all]);
    said.expect(0).lines().map(str::to_owned).collect()
}

#[test]
fn tenants_reach_each_other_with_one_user_and_not_with_their_own() {
    host();
    let daemon = Daemon::start_settled(&manifest("nobody"));
    assert_eq!(reached(&daemon), ["environ", "signal", "data", "oom"]);
    daemon.end();
    let daemon = Daemon::start_settled(&manifest("per-tenant"));
    assert_eq!(reached(&daemon), [""; 0]);
    assert_eq!(daemon.tenant("acme").confined.as_deref(), Some("uid"));
    daemon.end();
}

#[test]
fn a_user_is_recorded_shown_and_stays_the_tenants() {
    host();
    let mut daemon = Daemon::start_settled(&manifest("per-tenant"));
    let config = daemon.manifest.display().to_string();
    let both = |daemon: &Daemon| ["acme", "globex"].map(|tenant| uid(daemon, tenant));
    assert_eq!(both(&daemon), [70000, 70001]);
    assert_eq!(recorded(&daemon, "globex"), 70001);
    let data = fs::metadata(format!("/var/lib/tenantd/{}/globex", daemon.app)).unwrap();
    assert_eq!((data.uid(), data.gid()), (70001, 70001));
    let plan = tenantd(&["plan", "globex", "--config", &config]).expect(0);
    let name = format!("{}-globex", daemon.app);
    assert!(plan.contains(&name) && plan.contains("70001"), "{plan}");
    let check = tenantd(&["check", "--config", &config]);
    assert!(
        check
            .out
            .contains("2 of 2 tenants have a user of their own"),
        "{check:?}"
    );
    // Its own programs are no strangers.
    assert!(!check.out.contains("the running program of"), "{check:?}");

    // The supervisor dies, and is upgraded: the same processes with the same users.
    daemon.kill();
    daemon.again();
    daemon.settles();
    assert_eq!(both(&daemon), [70000, 70001]);
    daemon.tell(&["upgrade"]).expect(0);
    assert_eq!(both(&daemon), [70000, 70001]);

    // Removed, while another one comes, and added again.
    let line = "acme = { ip = \"10.77.0.11\" }\n";
    rewrite(&daemon, line, "initech = { ip = \"10.77.0.13\" }\n");
    let diff = daemon.tell(&["diff"]).expect(3);
    assert!(diff.contains("initech"), "{diff}");
    assert!(
        !record(&daemon.app, "initech").exists(),
        "diff changes nothing"
    );
    daemon.tell(&["reload"]).expect(0);
    assert_eq!(uid(&daemon, "initech"), 70002);
    rewrite(&daemon, "[tenants]\n", &format!("[tenants]\n{line}"));
    daemon.tell(&["reload"]).expect(0);
    assert_eq!(uid(&daemon, "acme"), 70000);
    daemon.end();
}

#[test]
fn a_number_is_never_another_tenants() {
    host();
    let daemon = Daemon::start_settled(&manifest("per-tenant"));
    let app = daemon.app.clone();
    daemon.end();
    // Its record is lost, and its data is not.
    fs::remove_file(record(&app, "acme")).unwrap();
    let other = Daemon::start_settled(&manifest("per-tenant"));
    assert_eq!(uid(&other, "acme"), 70002);
    assert_eq!(uid(&other, "globex"), 70003);
    let again = Daemon::spawn_named(&app, &manifest("per-tenant").replace("10.77.", "10.78."));
    again.settles();
    assert_eq!(uid(&again, "acme"), 70000);
    // The same name for both users.
    assert_ne!(app, other.app);
    again.end();
    other.end();
}

#[test]
fn numbers_of_others_are_passed_over_and_reported() {
    host();
    let bound = |path: &str, text: &str| {
        let copy = format!("/srv/{}", path.replace('/', "-"));
        let old = fs::read_to_string(path).unwrap_or_default();
        fs::write(&copy, old + text).unwrap();
        let none: Option<&str> = None;
        let flags = nix::mount::MsFlags::MS_BIND;
        nix::mount::mount(Some(&*copy), path, none, flags, none).unwrap();
    };
    bound("/etc/passwd", "other:x:70000:70000::/:/bin/false\n");
    bound("/etc/group", "some:x:70001:\n");
    bound("/etc/subuid", "other:70002:3\n");
    let daemon = Daemon::start_settled(&manifest("per-tenant"));
    assert_eq!(uid(&daemon, "acme"), 70005);
    let config = daemon.manifest.display().to_string();
    bound("/etc/passwd", "late:x:70005:70005::/:/bin/false\n");
    let check = tenantd(&["check", "--config", &config]).out;
    assert!(
        check.contains("70005, the user of acme, is also the host's user late"),
        "{check}"
    );
    crate::support::place::unmount("/etc/passwd");
    daemon.end();
}
