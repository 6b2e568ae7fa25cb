//! Each system call with several arguments, as a tenant's own program makes them.

use std::process::Command;

use super::{is_over, is_up_with};
use crate::support::daemon::{Daemon, until};
use crate::support::place::{self, SRV, folder};

/// Compiles the program for all users.
fn program() -> String {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/whole/sweeps/calls.c");
    let path = format!("{SRV}/calls");
    let built = Command::new("cc")
        .args(["-O1", "-Wall", "-o", &path, source])
        .status();
    assert!(built.unwrap().success());
    path
}

fn sweep(more: &str) {
    place::host();
    folder("/srv/data");
    let program = program();
    let daemon = Daemon::start_settled(&format!(
        "[app]\nname = \"APP\"\ncommand = [\"{program}\"]\ndatastore.path = \"/srv/data\"\n\
         user = \"nobody\"\nprivate = [\"/tmp\"]\nstop.grace = \"10s\"\nrestart.when = \"never\"\n{more}\n\
         [tenants]\nacme = {{ ip = \"10.77.0.11\" }}\nbeta = {{ ip = \"10.77.0.12\", autostart = false }}\n"
    ));
    let swept = |times| {
        until("all calls were made", || {
            let said = daemon.tell(&["logs", "acme"]).expect(0);
            let lines = said.lines().filter(|line| line.ends_with("swept"));
            (lines.count() == times).then_some(())
        });
    };
    swept(1);
    is_up_with(&daemon, 1);
    daemon.tell(&["restart", "acme"]).expect(0);
    swept(2);
    is_up_with(&daemon, 1);
    let acme = daemon.tenant("acme");
    assert_eq!((acme.restarts, acme.why, acme.killed), (0, None, None));
    daemon.tell(&["stop", "acme"]).expect(0);
    assert_eq!(daemon.tenant("acme").killed, None);
    is_over(&daemon);
    daemon.end();
}

#[test]
fn with_all_system_calls() {
    sweep("wall.system_calls = \"none\"");
}

#[test]
fn with_those_of_a_service() {
    sweep("");
}
