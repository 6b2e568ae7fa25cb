//! A supervisor is killed when it has just noticed that the main process of a program that put itself
//! into the background has ended. The next one ends what is left, and starts the program again.

use std::fs;
use std::os::unix::process::ExitStatusExt;

use nix::sys::signal::Signal;

use crate::support::daemon::{Daemon, LIMIT, ends, pidfd, signal};
use crate::support::place::{self, example, folder, script};
use crate::support::store::{Store, guard};

const DATA: &str = "/srv/data";
const POINT: &str = "end: main process ended";

/// The crash points of this module.
pub fn points() -> impl Iterator<Item = &'static str> {
    [POINT].into_iter()
}

#[test]
fn main_process_ended() {
    place::host();
    folder(DATA);
    let idle = example("idle");
    let program = script(
        "background",
        &format!(
            "sleep 1000 & echo $! > {DATA}/left\n{idle} 80 & echo $! > /run/new; mv /run/new /run/it.pid"
        ),
    );
    let guard = guard(DATA, "");
    let mut daemon = Daemon::spawn_armed(
        &format!(
            "[app]\nname = \"APP\"\nuser = \"root\"\ncommand = [\"{guard}\", \"{program}\"]\ndaemonizes = true\n\
             pid_file = \"/run/it.pid\"\nready.tcp = 80\nrestart.delay = \"0s\"\n\
             datastore.path = \"{DATA}\"\n[tenants]\nacme = {{ ip = \"10.77.0.11\" }}\n"
        ),
        POINT,
    );
    daemon.settles();
    let main = daemon.until_tenant("acme", |acme| acme.main.is_some());
    let left = format!("/var/lib/tenantd/{}/acme/left", daemon.app);
    let left = pidfd(fs::read_to_string(left).unwrap().trim().parse().unwrap());
    signal(main.pid.unwrap(), Signal::SIGKILL);
    let status = daemon.wait();
    let last = daemon.output();
    assert_eq!(status.signal(), Some(9), "{POINT} was not reached: {last}");

    daemon.again();
    assert!(ends(&left, LIMIT), "{}", daemon.output());
    let after = daemon.until_tenant("acme", |acme| {
        acme.is_as_wanted() && acme.main.is_some() && acme.pid != main.pid
    });
    assert_eq!(after.restarts, main.restarts + 1, "{}", daemon.output());
    let store = Store::of(&daemon.app, "acme");
    assert!(!store.had_two_launches(), "{}", daemon.output());
    daemon.end();
}
