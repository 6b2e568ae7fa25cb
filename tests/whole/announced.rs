//! Programs that say that they are stopping (`STOPPING`) or reloading (`RELOADING`).

use tenantd_api::wire::StateWord;

use crate::support::daemon::Daemon;
use crate::support::place;
use crate::support::puppet;

const ACME: &str = "10.77.0.11";

fn start(more: &str) -> Daemon {
    place::host();
    place::folder("/srv/data");
    puppet::make();
    let command = puppet::COMMAND;
    let daemon = Daemon::start_settled(&format!(
        "[app]\nname = \"APP\"\nuser = \"root\"\ncommand = {command}\ndatastore.path = \"/srv/data\"\n{more}\n\
         ready = {{ notify = true, within = \"1m\" }}\nrestart.delay = \"10ms\"\n\
         environment = {{ FIRST = \"say('READY=1')\" }}\n[tenants]\nacme = {{ ip = \"{ACME}\" }}\n"
    ));
    // It dies of the stop signal, but not silently.
    puppet::tell(
        ACME,
        "def stops(*_):\n print('got SIGTERM', flush=True)\n os._exit(1)\n\
         signal.signal(signal.SIGTERM, stops)",
    );
    daemon
}

#[test]
fn a_program_that_stops_by_itself_has_ended_by_itself() {
    let daemon = start("restart.when = \"on-failure\"");
    puppet::tell(ACME, "say('STOPPING=1')");
    let acme = daemon.until_state("acme", StateWord::Stopping);
    assert_eq!((acme.why, acme.ready), (None, Some(false)));
    puppet::tell(ACME, "os._exit(0)");
    let acme = daemon.until_state("acme", StateWord::Exited);
    assert_eq!(acme.exit.unwrap().status, Some(0));
    let log = daemon.output();
    let said = "acme: up → stopping: its program says that it is stopping (STOPPING=1)";
    assert!(log.contains(said), "{log}");
    let logs = daemon.tell(&["logs", "acme"]).expect(0);
    assert!(!logs.contains("got SIGTERM"), "{logs}");
    daemon.end();
}

#[test]
fn a_program_that_says_so_and_does_not_stop_is_asked_to() {
    let daemon = start("stop.grace = \"1s\"");
    puppet::tell(ACME, "say('STOPPING=1')");
    daemon.until_tenant("acme", |acme| acme.restarts == 1 && acme.is_as_wanted());
    let log = daemon.output();
    assert!(log.contains("still running 1 s after STOPPING=1"), "{log}");
    let logs = daemon.tell(&["logs", "acme"]).expect(0);
    assert!(logs.contains("got SIGTERM"), "{logs}");
    daemon.end();
}

#[test]
fn a_stop_that_is_requested_meanwhile_asks_it() {
    let daemon = start("stop.grace = \"1h\"");
    puppet::tell(ACME, "say('STOPPING=1')");
    daemon.until_state("acme", StateWord::Stopping);
    daemon.tell(&["stop", "acme"]).expect(0);
    assert!(daemon.tenant("acme").killed.is_none());
    daemon.end();
}

#[test]
fn a_reload_of_the_program_is_shown_until_it_is_ready_again() {
    let mut daemon = start("");
    puppet::tell(
        ACME,
        "say('RELOADING=1\\nMONOTONIC_USEC=1\\nSTATUS=reads its configuration')",
    );
    let acme = daemon.until_tenant("acme", |acme| acme.reloading == Some(true));
    assert_eq!((acme.state, acme.ready), (StateWord::Up, Some(true)));
    let status = daemon.tell(&["status", "acme"]).expect(0);
    assert!(
        status.contains("\n  RELOADING its configuration"),
        "{status}"
    );
    // What it says is not lost with the supervisor.
    daemon.kill();
    daemon.again();
    let acme = daemon.tenant("acme");
    let text = acme.status_text.as_deref();
    assert_eq!(
        (acme.reloading, text),
        (Some(true), Some("reads its configuration"))
    );
    puppet::tell(ACME, "say('READY=1\\nSTATUS=')");
    let acme = daemon.until_tenant("acme", |acme| acme.reloading.is_none());
    assert_eq!(acme.status_text, None);
    daemon.end();
}
