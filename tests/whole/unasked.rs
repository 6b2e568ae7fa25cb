//! A tenant that was proved stopped on another host a moment ago takes its addresses without asking for them.

use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use rustix::fs::{XattrFlags, setxattr};
use tenantd_api::wire::StateWord;
use tenantd_host::{datastore, owner};

use crate::macvlan::{MACVLAN, Machine, manifest};
use crate::run_tenant::record;
use crate::support::daemon::Daemon;
use crate::support::place::{self, example};

/// Writes the record of the tenant acme as another host leaves it after a stop.
fn left(daemon: &Daemon, ago: Duration) {
    let mut left = serde_json::to_value(record(daemon)).unwrap();
    assert_eq!(left["live"], false);
    left["machine"] = "elsewhere".into();
    left["left"] = (Timestamp::now() - ago).to_string().into();
    let path = format!("/var/lib/tenantd/{}/acme", daemon.app);
    let text = left.to_string();
    setxattr(
        &*path,
        owner::ATTRIBUTE,
        text.as_bytes(),
        XattrFlags::empty(),
    )
    .unwrap();
}

/// Writes the record of the tenant acme as the end of a move to this host does.
fn handed_over(daemon: &Daemon, ago: Option<Duration>) {
    let path = PathBuf::from(format!("/var/lib/tenantd/{}/acme", daemon.app));
    let here = owner::this_host(&path).unwrap();
    let now = (
        record(daemon).generation + 1,
        ago.map(|ago| Timestamp::now() - ago),
    );
    let label = format!("{}/acme", daemon.app);
    let folder = datastore::open(&path).unwrap();
    owner::assign(folder.as_fd(), &path, &label, &here, now).unwrap();
}

#[test]
fn the_addresses_of_a_tenant_are_asked_for_unless_another_host_has_just_left_it() {
    place::host();
    place::folder("/srv/data");
    example("idle");
    let machine = Machine::new();
    let daemon = Daemon::start_settled(&manifest(MACVLAN));
    daemon.tell(&["stop", "acme"]).expect(0);
    // Whether it is asked is seen by who answers.
    machine.run("ip address add 10.20.0.11/24 dev lan1");
    let refused = |daemon: &Daemon| {
        let said = daemon.tell(&["start", "acme"]);
        assert!(said.out.contains("has it"), "{said:?}");
        daemon.tell(&["stop", "acme"]).expect(0);
    };
    // This host has left it, or another one long ago: another machine may have taken them meanwhile.
    refused(&daemon);
    left(&daemon, Duration::from_secs(60));
    refused(&daemon);
    left(&daemon, Duration::ZERO);
    daemon.tell(&["start", "acme"]).expect(0);
    assert_eq!(daemon.tenant("acme").state, StateWord::Up);
    daemon.tell(&["stop", "acme"]).expect(0);
    // A `move` has handed it over to this host, as after another one's stop, or after a stop long ago.
    handed_over(&daemon, Some(Duration::from_secs(60)));
    refused(&daemon);
    handed_over(&daemon, None);
    refused(&daemon);
    handed_over(&daemon, Some(Duration::ZERO));
    daemon.tell(&["start", "acme"]).expect(0);
    assert_eq!(daemon.tenant("acme").state, StateWord::Up);
    // It is asked at the next start, which follows a stop on this host.
    daemon.tell(&["stop", "acme"]).expect(0);
    refused(&daemon);
    daemon.end();
}
