//! State files of the previous program: the next supervisor continues from them, and a file that it
//! cannot read is refused.

use std::fs;
use std::time::Duration;

use serde_json::Value;
use tenantd_api::wire::{StateWord, TenantStatus};

use crate::support::daemon::{Daemon, PROGRAM, ends, pidfd};
use crate::support::place::{self, INSTALLED, example, folder, install, script};
use crate::support::state_file;

/// The state file that the program of commit 2157092 left, see `tests/fixtures/state-2157092`.
const BEFORE: &str = include_str!("../fixtures/state-2157092/ledger");

/// The record of a tenant in it.
fn before(tenant: &str) -> Value {
    let records = BEFORE.lines().skip(1).filter_map(|line| {
        let (_, text) = line.split_once(' ')?;
        serde_json::from_str::<Value>(text).ok()
    });
    let mut records = records.filter(|record| record["tenant"] == tenant);
    records.next().unwrap()
}

/// Puts the numbers and texts of a current record into an old one, whose form is kept.
fn patch(before: &mut Value, today: &Value) {
    match (before, today) {
        (Value::Object(before), Value::Object(today)) => {
            for (key, value) in before {
                // It had a meaning of its own then, and has none now.
                if key != "plan" {
                    patch(value, &today[key]);
                }
            }
        }
        (before, today) => *before = today.clone(),
    }
}

/// Tenants in the situations that their names in the fixture describe.
fn tenants() -> Daemon {
    place::host();
    folder("/srv/data");
    let idle = example("idle");
    let program = script(
        "program",
        &format!(
            "case $1 in fails) exit 3;; silent) exec sleep 1d;; background) {idle} 80 & exit 0;;\n\
             esac; exec {idle} 80"
        ),
    );
    install(PROGRAM);
    let daemon = Daemon::start_with(
        INSTALLED,
        &format!(
            r#"
[app]
name = "APP"
user = "root"
command = ["{program}"]
daemonizes = true
datastore.path = "/srv/data"
ready = {{ tcp = 80, within = "1h" }}
restart = {{ delay = "1h", delay_max = "1h", strikes = 0 }}
[tenants]
ready = {{ ip = "10.77.0.11" }}
unready = {{ ip = "10.77.0.12", arguments = ["silent"] }}
background = {{ ip = "10.77.0.13", arguments = ["background"] }}
stopped = {{ ip = "10.77.0.14" }}
waiting = {{ ip = "10.77.0.15", arguments = ["fails"] }}
"#
        ),
    );
    for name in ["ready", "background", "stopped"] {
        daemon.until_tenant(name, |t| t.ready == Some(true));
    }
    daemon.until_tenant("background", |t| t.main.is_some());
    daemon.until_state("unready", StateWord::Up);
    daemon.until_state("waiting", StateWord::Waiting);
    daemon.tell(&["stop", "stopped"]).expect(0);
    daemon
}

const NAMES: [&str; 5] = ["ready", "unready", "background", "stopped", "waiting"];

/// The processes of a tenant.
fn processes(daemon: &Daemon, tenant: &str) -> String {
    let leaf = format!("/sys/fs/cgroup/tenantd/{}/{tenant}", daemon.app);
    fs::read_to_string(format!("{leaf}/program/cgroup.procs")).unwrap_or_default()
}

/// The status of the tenants, and their processes.
fn seen(daemon: &Daemon) -> Vec<String> {
    let tenants = daemon.status().tenants.into_iter();
    let seen = |t: TenantStatus| {
        let processes = processes(daemon, t.name.as_str());
        let (state, ready, restarts, pid) = (t.state, t.ready, t.restarts, t.pid);
        format!("{state:?} {ready:?} {restarts} {pid:?} {processes:?}")
    };
    tenants.map(seen).collect()
}

#[test]
fn tenants_recorded_by_2157092_are_adopted() {
    let mut daemon = tenants();
    let was = seen(&daemon);
    daemon.kill();
    for name in NAMES {
        state_file::edit(&daemon.app, name, |record| {
            let mut old = before(name);
            patch(&mut old, record);
            let mut expected = record.clone();
            expected["plan"] = old["plan"].clone();
            assert_ne!(old["plan"], 0);
            // It knew nothing of what protects the host's files.
            let _view = expected.as_object_mut().unwrap().remove("view");
            // It knew no main process.
            let _main = expected.as_object_mut().unwrap().remove("main");
            // Nor what is remembered of the last start.
            let memory = expected["memory"].as_object_mut().unwrap();
            let _last = memory.remove("last");
            // The previous program would have written the same, except for the number `plan`.
            assert_eq!(old, expected);
            *record = old;
        });
    }
    let said = daemon.output().len();
    daemon.again();
    // It knew no main process: the next one looks for it.
    daemon.until_tenant("background", |t| t.main.is_some());
    assert_eq!(seen(&daemon), was);
    let said = &daemon.output()[said..];
    assert!(!said.contains("damaged"), "{said}");
    assert!(!said.contains("launching"), "{said}");
    daemon.tell(&["stop", "unready", "background"]).expect(0);
    daemon.end();
}

#[test]
fn a_state_file_without_new_features_is_read_by_2157092() {
    let mut daemon = tenants();
    daemon.kill();
    let file = fs::read_to_string(format!("/run/tenantd/{}/ledger", daemon.app)).unwrap();
    let (_, head) = file.lines().next().unwrap().split_once(' ').unwrap();
    let head: Value = serde_json::from_str(head).unwrap();
    // The previous program reads these two, and no later version.
    assert_eq!(head["version"], 2);
    assert!(head["boot"].is_string());
    for name in NAMES {
        assert!(state_file::record(&daemon.app, name)["plan"].is_u64());
    }
    daemon.again();
    daemon.tell(&["stop", "unready"]).expect(0);
    daemon.end();
}

#[test]
fn an_upgrade_refuses_a_later_state_file_and_the_running_program_continues() {
    let daemon = tenants();
    let was = seen(&daemon);
    let ready = pidfd(daemon.tenant("ready").pid.unwrap());
    state_file::edit_head(&daemon.app, |head| head["version"] = 4.into());
    let said = daemon.tell(&["upgrade"]);
    assert_eq!(said.code, 1, "{said:?}");
    let why = "a newer tenantd (version 4, this one reads up to 3); nothing was changed";
    assert!(said.err.contains(why), "{said:?}");
    assert_eq!(seen(&daemon), was);
    assert!(!ends(&ready, Duration::ZERO));
    state_file::edit_head(&daemon.app, |head| head["version"] = 2.into());
    daemon.tell(&["upgrade"]).expect(0);
    assert_eq!(seen(&daemon), was);
    daemon.tell(&["stop", "unready"]).expect(0);
    daemon.end();
}
