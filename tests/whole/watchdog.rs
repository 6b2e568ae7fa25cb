//! The watchdog of a program: `[app.ready] watchdog`.

use std::fs;

use nix::sys::signal::Signal;

use crate::support::daemon::{Daemon, signal};
use crate::support::place;
use crate::support::puppet;

const ACME: &str = "10.77.0.11";
const BOLT: &str = "10.77.0.12";

/// Says in each third of a second that it works, until it is to be quiet.
const FIRST: &str = "
import threading
quiet = threading.Event()
def works():
    while not quiet.wait(0.3):
        try: say('WATCHDOG=1')
        except OSError: pass
threading.Thread(target=works, daemon=True).start()
say('READY=1')
";

/// Longer than the period.
const LONG: &str = "time.sleep(2.3)";

fn start() -> Daemon {
    place::host();
    place::folder("/srv/data");
    puppet::make();
    let command = puppet::COMMAND;
    Daemon::start_settled(&format!(
        "[app]\nname = \"APP\"\nuser = \"root\"\ncommand = {command}\ndatastore.path = \"/srv/data\"\n\
         ready = {{ notify = true, within = \"1m\", watchdog = \"2s\" }}\nrestart.delay = \"10ms\"\n\
         environment = {{ FIRST = '''{FIRST}''' }}\n[tenants]\nacme = {{ ip = \"{ACME}\" }}\n\
         bolt = {{ ip = \"{BOLT}\" }}\n"
    ))
}

/// Waits until the tenant was started again so often, and is ready.
#[track_caller]
fn is_restarted(daemon: &Daemon, times: u32) {
    daemon.until_tenant("acme", |acme| {
        acme.restarts == times && acme.ready == Some(true)
    });
}

#[track_caller]
fn is_left(daemon: &Daemon, restarts: u32) {
    puppet::tell(BOLT, LONG);
    assert_eq!(
        daemon.tenant("acme").restarts,
        restarts,
        "{}",
        daemon.output()
    );
}

#[test]
fn a_program_that_falls_silent_is_started_again() {
    let mut daemon = start();
    let look = "out = os.environ['WATCHDOG_USEC'], int(os.environ['WATCHDOG_PID']) == os.getpid()";
    assert_eq!(puppet::tell(ACME, look), "('2000000', True)");
    puppet::tell(ACME, "quiet.set()");
    is_restarted(&daemon, 1);
    let log = daemon.output();
    let why =
        "acme: up → stopping: cannot get an answer from its notify socket: no WATCHDOG=1 for 2s";
    assert!(log.contains(why), "{log}");
    // It takes more time for itself, also under the next supervisor.
    puppet::tell(ACME, "say('WATCHDOG_USEC=600000000'); quiet.set()");
    is_left(&daemon, 1);
    daemon.kill();
    daemon.again();
    is_left(&daemon, 1);
    puppet::tell(ACME, "say('WATCHDOG=trigger')");
    is_restarted(&daemon, 2);
    let bolt = daemon.tenant("bolt");
    assert_eq!(bolt.restarts, 0);
    daemon.end();
}

#[test]
fn a_pause_is_no_silence() {
    let mut daemon = start();
    let acme = daemon.tenant("acme").pid.unwrap();
    signal(acme, Signal::SIGSTOP);
    is_left(&daemon, 0);
    signal(acme, Signal::SIGCONT);
    let freeze = format!("/sys/fs/cgroup/tenantd/{}/acme/cgroup.freeze", daemon.app);
    fs::write(&freeze, "1").unwrap();
    is_left(&daemon, 0);
    fs::write(&freeze, "0").unwrap();
    // Nor is a time without a supervisor, or in which that is paused.
    daemon.signal(Signal::SIGSTOP);
    puppet::tell(BOLT, LONG);
    daemon.signal(Signal::SIGCONT);
    daemon.kill();
    puppet::tell(BOLT, LONG);
    daemon.again();
    is_left(&daemon, 0);
    // It is watched as before.
    puppet::tell(ACME, "quiet.set()");
    is_restarted(&daemon, 1);
    daemon.end();
}
