//! Programs that put themselves into the background, and what is said of them.

use tenantd_api::wire::{StateWord, TenantStatus};

use crate::support::daemon::Daemon;
use crate::support::place::{self, script};

/// A tenant whose program leaves a process in the background.
fn tenant(app: &str) -> Daemon {
    place::host();
    place::folder("/srv/data");
    script("app", "sleep 1000000 &\nsleep 0.2");
    Daemon::start(&format!(
        "[app]\nname = \"APP\"\nuser = \"root\"\ncommand = [\"/srv/app\"]\ndatastore.path = \"/srv/data\"\nready.lived = \"1s\"\n\
         {app}\n         [defaults]\nautostart = false\n[tenants]\nacme = {{ ip = \"10.77.0.11\" }}\n"
    ))
}

#[test]
fn an_operator_is_told_to_set_daemonizes() {
    let daemon = tenant("restart = { delay = \"1ms\", strikes = 2 }");
    let started = daemon.tell(&["start", "acme", "--wait"]);
    assert_eq!(started.code, 1, "{started:?}");
    let why = "its first process exited with status 0 and left others running \
               [set daemonizes = true,";
    let said = started.out.clone() + &started.err;
    assert!(said.contains(why), "{started:?}");

    daemon.until_state("acme", StateWord::Failed);
    let shown = daemon.tell(&["status", "acme"]).expect(1);
    assert!(shown.contains(why), "{shown}");
    let next = "\n  NEXT set `daemonizes = true` in [app], then `tenantd reload`\n";
    assert!(shown.contains(next), "{shown}");
    let log = daemon.tell(&["logs", "acme"]).expect(0);
    assert!(log.contains("set daemonizes = true"), "{log}");
    assert!(
        daemon.output().contains("set daemonizes = true"),
        "{}",
        daemon.output()
    );

    // What is said to be typed next is enough.
    let manifest = std::fs::read_to_string(&daemon.manifest).unwrap();
    let daemonizes = manifest.replace("[app]\n", "[app]\ndaemonizes = true\n");
    std::fs::write(&daemon.manifest, daemonizes).unwrap();
    daemon.tell(&["reload"]).expect(0);
    daemon.until_tenant("acme", TenantStatus::is_as_wanted);
    daemon.end();
}

#[test]
fn it_is_told_where_status_0_is_no_failure() {
    let daemon = tenant("restart.when = \"on-failure\"");
    let started = daemon.tell(&["start", "acme"]);
    assert_eq!(started.code, 1, "{started:?}");
    daemon.until_state("acme", StateWord::Exited);
    let shown = daemon.tell(&["status", "acme"]).expect(1);
    let next =
        "NEXT set `daemonizes = true` in [app], then `tenantd reload` and `tenantd start acme`";
    assert!(shown.contains(next), "{shown}");
    daemon.end();
}
