//! One guard, and no other: it closes ways that are open without it, and `leak-test` finds none open that it
//! should close.

use serde_json::Value;

use super::table::{Found, found};
use super::{NO_FIREWALL, ONE_USER, forward, manifest};
use crate::support::daemon::Daemon;
use crate::support::place;

/// What a manifest says that leaves out the others.
fn without_all_but(guard: &str) -> String {
    let keys = [
        ("landlock", "landlock = false"),
        ("hidepid", "hidepid = false"),
        ("system_calls", "system_calls = \"none\""),
        ("set_id_programs", "set_id_programs = true"),
        (
            "capabilities",
            "capabilities = [\"net_raw\", \"sys_nice\", \"syslog\"]",
        ),
    ];
    let off = keys.iter().filter(|(key, _)| *key != guard);
    let off: Vec<&str> = off.map(|(_, off)| *off).collect();
    let host = if guard == "host" {
        "read-only"
    } else {
        "writable"
    };
    let strict = if guard == "strict" {
        off.join(", ").replace("\"none\"", "\"strict\"")
    } else {
        off.join(", ")
    };
    format!("host = \"{host}\"\nwall = {{ {strict} }}\nready.notify = true")
}

/// Tries all ways with one guard: each that is open in the golden file is open, or closed by one of these.
#[track_caller]
fn closes(golden: &str, user: &str, guard: &str, by: &[&str], least: usize) {
    place::host();
    place::folder("/var/lib/store");
    forward();
    let more = without_all_but(guard);
    let daemon = Daemon::start_settled(&manifest(user, &more, NO_FIREWALL, ONE_USER));
    let said = daemon.tell(&["leak-test", "acme", "globex", "--json"]);
    let json: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(json["ok"], true, "{}", said.out);
    let open: Found = found(golden);
    let open = open.iter().filter(|(_, (word, _))| word == "open");
    let open: Vec<&str> = open.map(|((_, way), _)| way.as_str()).collect();
    let groups = json["groups"].as_array().unwrap().iter();
    let ways = groups.flat_map(|group| group["ways"].as_array().unwrap());
    let mut closed = Vec::new();
    for way in ways.filter(|way| open.contains(&way["way"].as_str().unwrap())) {
        if way["result"] == "closed" && way["by"].as_str().is_some_and(|it| by.contains(&it)) {
            closed.push(way["way"].as_str().unwrap());
        }
    }
    assert!(closed.len() >= least, "{}: {closed:#?}", closed.len());
    daemon.end();
}

#[test]
fn landlock_closes_tracing_and_signals() {
    closes("no-guards", "nobody", "landlock", &["Landlock domain"], 40);
}

#[test]
fn a_proc_of_its_own_hides_the_supervisor() {
    closes(
        "no-guards",
        "nobody",
        "hidepid",
        &["own /proc (hidepid)"],
        5,
    );
}

#[test]
fn the_filter_closes_calls() {
    let by = ["system-call filter"];
    closes("no-guards", "nobody", "system_calls", &by, 5);
}

#[test]
fn the_strict_filter_closes_what_changes_others() {
    let by = ["system-call filter", "strict system-call filter"];
    closes("no-guards", "nobody", "strict", &by, 10);
}

#[test]
fn a_read_only_host_closes_files_and_sockets() {
    let by = ["own /run, /tmp and /dev", "read-only host"];
    closes("no-guards", "nobody", "host", &by, 4);
}

#[test]
fn no_new_privileges_closes_set_id_programs() {
    closes(
        "no-guards",
        "nobody",
        "set_id_programs",
        &["no_new_privs"],
        1,
    );
}

#[test]
fn no_capabilities_close_what_needs_one() {
    let by = [
        "no capability net_raw",
        "no capability sys_nice",
        "no capability syslog",
    ];
    closes("no-guards", "nobody", "capabilities", &by, 4);
}

#[test]
fn a_user_of_its_own_closes_what_one_user_may() {
    closes("no-guards", "per-tenant", "user", &["own user"], 30);
}
