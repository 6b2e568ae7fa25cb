//! Faults of every kind: each gives a clear message and a defined result, and nothing is lost or
//! left behind.

mod data;
mod host;
mod kernel;
mod manifest;
mod program;

use crate::support::daemon::Daemon;
use crate::support::place;
use tenantd_api::wire::StateWord;

/// A test host with the program `idle` and the folder that all programs here use for their data.
fn host() {
    place::host();
    place::folder("/srv/data");
    place::example("idle");
}

/// A manifest of two tenants with short time limits.
fn manifest(command: &str, app: &str, acme: &str) -> String {
    format!(
        "[app]\nname = \"APP\"\nuser = \"root\"\ncommand = [\"{command}\"]\ndatastore.path = \"/srv/data\"\n{app}\n\
         restart = {{ delay = \"10ms\", strikes = 3 }}\n\
         [tenants]\nacme = {{ ip = \"10.77.0.11\"{acme} }}\nbeta = {{ ip = \"10.77.0.12\" }}\n"
    )
}

/// Starts a supervisor, which must fail. Returns its output, which contains all of `wanted`.
#[track_caller]
fn fails_to_start(daemon: &Daemon, wanted: &[&str]) {
    let said = daemon.tell(&["start", "acme"]);
    assert_eq!(said.code, 1, "{said:?}");
    // It says so of the first attempt; after the last one the tenant is given up.
    daemon.until_state("acme", StateWord::Failed);
    let status = daemon.tell(&["status", "acme"]);
    assert_eq!(status.code, 1, "{status:?}");
    let failure = daemon.tenant("acme");
    for word in wanted {
        assert!(said.out.contains(word), "{word:?} is not in {said:?}");
        assert!(status.out.contains(word), "{word:?} is not in {status:?}");
    }
    assert_eq!((failure.pid, failure.ready), (None, None), "{failure:?}");
    // The other tenant is not affected.
    assert!(daemon.tenant("beta").is_as_wanted());
    assert_eq!(daemon.tenant("beta").restarts, 0);
}
