//! Kills the supervisor while it exchanges the network of its application. The next one completes it.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use crate::crash::scene::manifest;
use crate::support::daemon::Daemon;
use crate::support::visit::accepts;

const POINTS: [&str; 3] = ["exchange: begun", "exchange: removed", "exchange: made"];

/// The crash points that are tested here.
pub(super) fn points() -> impl Iterator<Item = &'static str> {
    POINTS.into_iter()
}

fn dies_at(point: &str) {
    let mut daemon = Daemon::spawn_armed(&manifest(false), point);
    daemon.settles();
    let text = fs::read_to_string(&daemon.manifest).unwrap();
    let network = "[network]\nsubnet = \"10.78.0.0/24\"\n[tenants]";
    let text = text
        .replace("10.77.", "10.78.")
        .replace("[tenants]", network);
    fs::write(&daemon.manifest, text).unwrap();
    daemon.tell(&["reload"]);
    let status = daemon.wait();
    assert_eq!(
        status.signal(),
        Some(9),
        "{point} was not reached: {}",
        daemon.output()
    );
    daemon.again();
    daemon.settles();
    daemon.tell(&["verify"]).expect(0);
    for tenant in daemon.status().tenants {
        assert!(
            accepts(&tenant.addresses.first().to_string(), 80),
            "{point}"
        );
    }
    let mut command = Command::new("ip");
    let said = command.args(["route", "show", "table", "all"]).output();
    let routes = String::from_utf8(said.unwrap().stdout).unwrap();
    assert!(
        routes.contains("10.78.0.0/24") && !routes.contains("10.77."),
        "{routes}"
    );
    daemon.end();
}

#[test]
fn an_exchange_that_dies_before_the_former_network_is_removed_is_completed() {
    dies_at(POINTS[0]);
}

#[test]
fn an_exchange_that_dies_without_a_network_is_completed() {
    dies_at(POINTS[1]);
}

#[test]
fn an_exchange_that_dies_with_the_next_network_is_completed() {
    dies_at(POINTS[2]);
}

#[test]
fn an_exchange_that_dies_with_half_of_the_next_network_is_completed() {
    dies_at("hub: made#2");
}
