//! Programs that ask for more time to become ready or to stop (`EXTEND_TIMEOUT_USEC`).

use crate::support::daemon::Daemon;
use crate::support::place;
use crate::support::puppet;

const ACME: &str = "10.77.0.11";

fn start(more: &str) -> Daemon {
    place::host();
    place::folder("/srv/data");
    puppet::make();
    let command = puppet::COMMAND;
    Daemon::start_settled(&format!(
        "[app]\nname = \"APP\"\nuser = \"root\"\ncommand = {command}\ndatastore.path = \"/srv/data\"\n{more}\n\
         [tenants]\nacme = {{ ip = \"{ACME}\" }}\n"
    ))
}

/// Has the program do this when it gets the stop signal.
fn on_stop(text: &str) {
    puppet::tell(
        ACME,
        &format!("def stops(*_):\n{text}\nsignal.signal(signal.SIGTERM, stops)\nsay('READY=1')"),
    );
}

#[test]
fn a_program_gets_more_time_to_become_ready() {
    // The message may come before the supervisor knows that the program was executed.
    let first = "say('EXTEND_TIMEOUT_USEC=60000000'); time.sleep(2.2); say('READY=1')";
    let daemon = start(&format!(
        "ready = {{ notify = true, within = \"2s\" }}\nenvironment = {{ FIRST = \"{first}\" }}"
    ));
    let acme = daemon.until_tenant("acme", |acme| acme.ready == Some(true));
    assert_eq!(acme.restarts, 0);
    daemon.end();
}

const BRIEF: &str = "ready = { notify = true, within = \"1m\" }\nstop.grace = \"200ms\"\n\
                     environment = { FIRST = \"say('READY=1')\" }";

#[test]
fn a_program_gets_more_time_to_stop() {
    let daemon = start(BRIEF);
    on_stop(" say('EXTEND_TIMEOUT_USEC=1500000')\n time.sleep(0.5)\n os._exit(0)");
    daemon.tell(&["stop", "acme"]).expect(0);
    assert!(daemon.tenant("acme").killed.is_none());
    daemon.end();
}

#[test]
fn a_program_cannot_hold_up_its_stop_for_ever() {
    let daemon = start(BRIEF);
    on_stop(" while True:\n  say('EXTEND_TIMEOUT_USEC=60000000')\n  time.sleep(0.05)");
    daemon.tell(&["stop", "acme"]).expect(0);
    let killed = daemon.tenant("acme").killed.unwrap().to_string();
    assert!(killed.contains("killed after a grace of 2s"), "{killed}");
    let log = daemon.output();
    let said = "acme: its program asks for more time to stop (EXTEND_TIMEOUT_USEC), and gets no more \
                than 2s in all: 10 times `stop.grace`";
    assert_eq!(log.matches(said).count(), 1, "{log}");
    daemon.end();
}
