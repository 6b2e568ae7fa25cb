//! Programs that end by themselves, with success, and are not restarted.

use serde_json::Value;
use tenantd_api::wire::{StateWord, Want};

use crate::support::daemon::Daemon;
use crate::support::place::{self, script};

/// A tenant whose program ends once there is a file `end` in its datastore, with the status in it.
fn tenant(restart: &str) -> Daemon {
    place::host();
    place::folder("/srv/data");
    script(
        "app",
        "until [ -e end ]; do sleep 0.02; done\nread -r status <end\nrm end\nexit \"$status\"",
    );
    Daemon::start(&format!(
        "[app]\nname = \"APP\"\nuser = \"root\"\ncommand = [\"/srv/app\"]\ndatastore.path = \"/srv/data\"\n\
         working_directory = \"/srv/data\"\nrestart = {{ {restart} }}\n[tenants]\n\
         acme = {{ ip = \"10.77.0.11\" }}\n"
    ))
}

fn ends(daemon: &Daemon, status: &str) {
    daemon.until_tenant("acme", |tenant| tenant.ready == Some(true));
    let folder = format!("/var/lib/tenantd/{}/acme", daemon.app);
    let new = format!("{folder}/end.new");
    std::fs::write(&new, format!("{status}\n")).unwrap();
    std::fs::rename(new, format!("{folder}/end")).unwrap();
}

#[test]
fn a_program_that_ends_by_itself_is_not_stopped_by_an_operator() {
    let mut daemon = tenant("when = \"on-failure\", success = [143]");
    ends(&daemon, "143");
    let acme = daemon.until_state("acme", StateWord::Exited);
    assert_eq!((acme.want, acme.pid), (Want::Up, None));
    let exit = acme.exit.unwrap();
    assert_eq!((exit.status, exit.signal), (Some(143), None));

    // Monitors can tell: by the exit code, by the text, by JSON, and by the log.
    let shown = daemon.tell(&["status", "acme"]);
    assert_eq!(shown.code, 1, "{shown:?}");
    let why = "\n  WHY exited with status 143; not restarted\n  NEXT `tenantd start acme`";
    assert!(shown.out.contains(why), "{shown:?}");
    let json: Value = serde_json::from_str(&daemon.tell(&["status", "--json"]).expect(1)).unwrap();
    assert_eq!(json["tenants"][0]["state"], "exited", "{json}");
    assert_eq!(json["tenants"][0]["want"], "up", "{json}");
    assert_eq!(json["tenants"][0]["exit"]["status"], 143, "{json}");
    let log = daemon.output();
    let said =
        "acme: stopping → releasing: its program exited with status 143 and is not restarted";
    assert!(log.contains(said), "{log}");

    // Neither a reload nor the next supervisor starts it.
    daemon.tell(&["reload"]).expect(0);
    daemon.kill();
    daemon.again();
    let after = daemon.tenant("acme");
    assert_eq!((after.state, after.exit), (StateWord::Exited, acme.exit));
    assert_eq!((after.want, after.restarts), (Want::Up, 0));

    // An operator does, and a stop is a stop.
    daemon.tell(&["start", "acme"]).expect(0);
    ends(&daemon, "0");
    daemon.until_state("acme", StateWord::Exited);
    daemon.tell(&["stop", "acme"]).expect(0);
    let acme = daemon.tenant("acme");
    assert_eq!((acme.state, acme.want), (StateWord::Down, Want::Down));
    assert_eq!(acme.exit, None);
    daemon.tell(&["start", "acme"]).expect(0);
    ends(&daemon, "3");
    daemon.until_tenant("acme", |tenant| tenant.restarts == 1);

    // The next full start begins as the manifest says.
    ends(&daemon, "0");
    daemon.until_state("acme", StateWord::Exited);
    daemon.signal(nix::sys::signal::Signal::SIGTERM);
    assert!(daemon.wait().success(), "{}", daemon.output());
    daemon.again();
    daemon.until_tenant("acme", |tenant| tenant.ready == Some(true));
    daemon.end();
}

#[test]
fn never_also_holds_for_a_program_that_cannot_be_executed() {
    place::host();
    place::folder("/srv/data");
    script("app", "exec sleep 1000000");
    script("first", "echo no >&2\nexit 4");
    let daemon = Daemon::start(
        "[app]\nname = \"APP\"\nuser = \"root\"\ncommand = [\"/srv/app\"]\ndatastore.path = \"/srv/data\"\n\
         restart.when = \"never\"\nbefore.command = [\"/srv/first\"]\n[tenants]\n\
         acme = { ip = \"10.77.0.11\" }\n",
    );
    let acme = daemon.until_tenant("acme", |tenant| {
        [StateWord::Waiting, StateWord::Failed].contains(&tenant.state)
    });
    assert_eq!(acme.state, StateWord::Failed, "{acme:?}");
    daemon.end();
}
