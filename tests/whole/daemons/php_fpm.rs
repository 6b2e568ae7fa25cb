//! PHP-FPM: in the background with a pid file, and in the foreground, where it speaks sd_notify(3).

use std::fs;

use nix::sys::signal::Signal;
use tenantd_api::wire::StateWord;

use super::{known, restarted, start, stops};
use crate::support::daemon::{Daemon, signal, until};
use crate::support::place::{self, folder};

fn fpm(option: &str, more: &str) -> Daemon {
    place::host();
    folder("/srv/data");
    let pool = "[global]\npid = /run/fpm.pid\nerror_log = /run/fpm.log\n[www]\nuser = www-data\n\
                listen = 9000\npm = static\npm.max_children = 2\n";
    fs::write("/srv/fpm.conf", pool).unwrap();
    start(&format!(
        "user = \"root\"\ncommand = [\"/usr/sbin/php-fpm8.2\", \"{option}\", \"--fpm-config\", \"/srv/fpm.conf\"]\n\
         datastore.path = \"/srv/data\"\nprivate = [\"/run\"]\nstop.signal = \"SIGQUIT\"\n{more}"
    ))
}

/// The children of the master.
fn workers(master: u32) -> Vec<u32> {
    let path = format!("/proc/{master}/task/{master}/children");
    let text = fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace()
        .map(|pid| pid.parse().unwrap())
        .collect()
}

#[test]
fn in_the_background_its_master_counts() {
    let daemon = fpm(
        "--daemonize",
        "daemonizes = true\npid_file = \"/run/fpm.pid\"\nready.tcp = 9000",
    );
    let master = known(&daemon, "pid file").pid.unwrap();
    assert_eq!(workers(master).len(), 2);
    signal(master, Signal::SIGKILL);
    restarted(&daemon, 1);
    let again = known(&daemon, "pid file");
    assert_eq!(again.restarts, 1);
    assert_ne!(again.pid, Some(master));
    stops(&daemon);
    daemon.end();
}

#[test]
fn in_the_foreground_it_is_heard() {
    let daemon = fpm(
        "--nodaemonize",
        "ready.notify = true\nrestart.when = \"on-failure\"",
    );
    let acme = daemon.until_tenant("acme", |acme| acme.status_text.is_some());
    let master = acme.pid.unwrap();
    let before = workers(master);
    // A reload executes the program again in the same process.
    signal(master, Signal::SIGUSR2);
    until("it has new workers", || {
        let now = workers(master);
        let are_new = now.len() == 2 && now.iter().all(|pid| !before.contains(pid));
        are_new.then_some(())
    });
    let acme = daemon.until_tenant("acme", |acme| acme.reloading.is_none());
    assert_eq!((acme.pid, acme.restarts), (Some(master), 0));
    assert_eq!(acme.ready, Some(true));
    stops(&daemon);
    daemon.tell(&["start", "acme"]).expect(0);
    // Something else than tenantd stops it: it says so, and exits with 0.
    signal(daemon.tenant("acme").pid.unwrap(), Signal::SIGQUIT);
    let acme = daemon.until_state("acme", StateWord::Exited);
    assert_eq!(acme.exit.unwrap().status, Some(0));
    daemon.end();
}
