//! The timeline: a file that viewers of Chrome's trace events read, with what the supervisor and the children do
//! during a start, a restart and an adoption.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde::Deserialize;
use tenantd_host::timeline::VARIABLE;

use crate::support::daemon::{Daemon, PROGRAM, until};
use crate::support::place::{self, SRV, script};

/// One event, as the format requires it: see "Trace Event Format" of Chromium.
#[derive(Debug, Deserialize)]
struct Event {
    ph: String,
    name: String,
    pid: i64,
    tid: i64,
    /// In microseconds, as `dur`.
    ts: Option<f64>,
    dur: Option<f64>,
    id: Option<String>,
}

/// What a viewer reads: an array whose end may be missing.
fn read(path: &str) -> Vec<Event> {
    let text = fs::read_to_string(path).unwrap();
    let whole = text.trim_end().trim_end_matches(',');
    serde_json::from_str(&format!("{whole}]")).unwrap()
}

#[test]
fn a_viewer_reads_what_was_done_in_a_restart_and_an_adoption() {
    place::host();
    place::folder("/srv/data");
    script("app", "exec sleep 1000000");
    let path = format!("{SRV}/timeline.json");
    let manifest = "[app]\nname = \"APP\"\nuser = \"root\"\ncommand = [\"/srv/app\"]\ndatastore.path = \"/srv/data\"\n\
                    [tenants]\nacme = { ip = \"10.77.0.10\" }\n";
    let daemon = Daemon::spawn_with(PROGRAM, manifest, &[(VARIABLE, &path)]);
    daemon.settles();
    let started = read(&path).len();
    daemon.kill_tenant("acme");
    let restarted = read(&path).len();
    daemon.tell(&["upgrade"]).expect(0);
    daemon.settles();
    daemon.end();
    let events = read(&path);

    let named = |events: &[Event]| -> BTreeSet<String> {
        events.iter().map(|event| event.name.clone()).collect()
    };
    let restart = named(&events[started..restarted]);
    for name in [
        "end: first process ended",
        "loop: record",
        "launch: leaf",
        "blocking",
        "children: work",
        "child: enter-netns",
        "child: attach",
        "child: system-calls",
        "child: execve",
        "launch",
    ] {
        assert!(restart.contains(name), "{name}: {restart:?}");
    }
    let adoption = named(&events[restarted..]);
    for name in [
        "recovery: find one",
        "recovery: admit",
        "recovery: compare",
        "begin: ready",
    ] {
        assert!(adoption.contains(name), "{name}: {adoption:?}");
    }
    assert!(named(&events).contains("thread_name"));
    for event in &events {
        let is_timed = event.ph == "M" || event.ts.is_some();
        let has_end = event.ph != "X" || event.dur.is_some();
        let has_id = !["b", "e"].contains(&event.ph.as_str()) || event.id.is_some();
        assert!(is_timed && has_end && has_id, "{event:?}");
    }
    nest(&events);
}

#[test]
fn what_an_adoption_leaves_to_do_is_done_after_the_first_answer() {
    place::host();
    place::folder("/srv/data");
    script("app", "exec sleep 1000000");
    let path = format!("{SRV}/timeline.json");
    let manifest = "[app]\nname = \"APP\"\nuser = \"root\"\ncommand = [\"/srv/app\"]\ndatastore.path = \"/srv/data\"\n\
                    [tenants]\nacme = { ip = \"10.77.0.10\" }\nbeta = { ip = \"10.77.0.11\" }\n";
    let daemon = Daemon::spawn_with(PROGRAM, manifest, &[(VARIABLE, &path)]);
    daemon.settles();
    let before = read(&path).len();
    daemon.tell(&["upgrade"]).expect(0);
    let rest = ["recovery: watch one", "begin: residue removed"];
    let adoption = until("all is done", || {
        let adoption = read(&path).split_off(before);
        let count = |name| adoption.iter().filter(|it| it.name == name).count();
        let is_done = rest.map(count) == [2, 1];
        is_done.then_some(adoption)
    });
    let ready = adoption
        .iter()
        .find(|it| it.name == "begin: ready")
        .unwrap();
    for event in adoption.iter().filter(|it| rest.contains(&&*it.name)) {
        assert!(event.ts > ready.ts, "{event:?}, {ready:?}");
    }
    daemon.end();
}

/// A piece of work: its beginning, its end, and its name.
type Piece<'a> = (f64, f64, &'a str);

/// Viewers draw the work of a thread as a stack: pieces lie within each other, or apart.
fn nest(events: &[Event]) {
    let mut threads: BTreeMap<(i64, i64), Vec<Piece<'_>>> = BTreeMap::new();
    for event in events.iter().filter(|event| event.ph == "X") {
        let (begin, lasts) = (event.ts.unwrap(), event.dur.unwrap());
        let thread = threads.entry((event.pid, event.tid)).or_default();
        thread.push((begin, begin + lasts, &event.name));
    }
    // Of what is added to a number of microseconds.
    let rounded = 0.01;
    for mut pieces in threads.into_values() {
        pieces.sort_by(|one, other| one.0.total_cmp(&other.0).then(other.1.total_cmp(&one.1)));
        let mut around: Vec<Piece<'_>> = Vec::new();
        for piece in pieces {
            around.retain(|outer| outer.1 > piece.0 + rounded);
            if let Some(outer) = around.last() {
                assert!(piece.1 <= outer.1 + rounded, "{piece:?} in {outer:?}");
            }
            around.push(piece);
        }
    }
}
