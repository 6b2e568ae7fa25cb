//! More tenants than the host has descriptors for are refused at once, and not one by one.

use std::fmt::Write;
use std::process::Command;

use crate::support::daemon::{self, Daemon, PROGRAM, in_time, run};
use crate::support::place::{self, script};

/// A manifest with this many tenants, none of which starts by itself.
fn tenants(count: u8) -> String {
    let mut manifest =
        "[app]\nname = \"APP\"\nuser = \"root\"\ncommand = [\"/srv/app\"]\ndatastore.path = \"/srv/data\"\n\
         [defaults]\nautostart = false\n[tenants]\n"
            .to_owned();
    for number in 1..=count {
        let address = 10 + number;
        writeln!(manifest, "t{number} = {{ ip = \"10.77.0.{address}\" }}").unwrap();
    }
    manifest
}

const WHY: &str = "too many tenants for this host: descriptors: 13 tenants need 135, the hard limit \
                   is 100: raise LimitNOFILE= in the unit, or `ulimit -Hn`";

#[test]
fn a_supervisor_does_not_begin_with_too_many_tenants() {
    place::host();
    place::folder("/srv/data");
    script("app", "exec sleep 1000000");
    let path = daemon::write_manifest("too-many", &tenants(13));
    let mut command = in_time("prlimit");
    command.args(["--nofile=100:100", PROGRAM, "run", "--config"]);
    let said = run(command.arg(path));
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.err.contains(WHY), "{said:?}");
}

#[test]
fn a_reload_with_too_many_tenants_changes_nothing() {
    place::host();
    place::folder("/srv/data");
    script("app", "exec sleep 1000000");
    let daemon = Daemon::start(&tenants(12));
    let pid = daemon.pid().to_string();
    let limited = Command::new("prlimit")
        .args(["--nofile=100:100", "--pid", &pid])
        .status();
    assert!(limited.unwrap().success());
    daemon::write_manifest(&daemon.app, &tenants(13));
    let said = daemon.tell(&["reload"]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.err.contains(WHY) || said.out.contains(WHY), "{said:?}");
    assert_eq!(daemon.status().tenants.len(), 12);
    daemon.end();
}
