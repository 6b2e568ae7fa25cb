//! A supervisor is killed while it records the users of its tenants. The next one has each of them once.

use std::os::unix::process::ExitStatusExt;

use crate::own_users::{manifest, recorded, uid};
use crate::support::daemon::Daemon;
use crate::support::place;

/// The crash points of this module.
pub fn points() -> impl Iterator<Item = &'static str> {
    ["uids: before the record", "uids: recorded"].into_iter()
}

#[track_caller]
fn dies_at(point: &str, second: bool) {
    place::host();
    let mut daemon = Daemon::spawn_armed(&manifest("per-tenant"), point);
    let status = daemon.wait();
    let last = daemon.output();
    assert_eq!(status.signal(), Some(9), "{point} was not reached: {last}");
    // Another application starts before this one is started again.
    let text = manifest("per-tenant").replace("10.77.", "10.78.");
    let other = Daemon::start_settled(&text);
    let others = ["acme", "globex"].map(|tenant| uid(&other, tenant));
    other.end();
    daemon.again();
    daemon.settles();
    let uids = ["acme", "globex"].map(|tenant| uid(&daemon, tenant));
    let mut all: Vec<u32> = uids.iter().chain(&others).copied().collect();
    all.sort_unstable();
    assert_eq!(all, [70000, 70001, 70002, 70003], "{uids:?} {others:?}");
    assert_eq!(uids[0] == 70000, second, "{uids:?}");
    assert_eq!(uids, ["acme", "globex"].map(|it| recorded(&daemon, it)));
    daemon.end();
}

#[test]
fn before_the_first_record() {
    dies_at("uids: before the record@acme", false);
}

#[test]
fn after_the_first_record() {
    dies_at("uids: recorded@acme", true);
}

#[test]
fn before_the_last_record() {
    dies_at("uids: before the record@globex", true);
}

#[test]
fn after_the_last_record() {
    dies_at("uids: recorded@globex", true);
}
