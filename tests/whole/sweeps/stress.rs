//! Stressors of stress-ng(1) that make, end, trace and signal processes.

use tenantd_api::wire::StateWord;

use super::is_over;
use crate::support::daemon::Daemon;
use crate::support::place::{self, folder};

/// Each runs as two processes, with their children.
const STRESSORS: [&str; 16] = [
    "clone",
    "daemon",
    "exec",
    "exit-group",
    "fork",
    "kill",
    "nice",
    "pidfd",
    "pthread",
    "ptrace",
    "session",
    "sigchld",
    "sigq",
    "sigsuspend",
    "vfork",
    "zombie",
];

fn stressed(more: &str) {
    place::host();
    folder("/srv/data");
    let stressors: Vec<String> = STRESSORS
        .iter()
        .map(|it| format!("\"--{it}\", \"1\""))
        .collect();
    let daemon = Daemon::start(&format!(
        "[app]\nname = \"APP\"\ncommand = [\"/usr/bin/stress-ng\", \"--timeout\", \"4s\", \"--temp-path\", \
         \"/srv/data\", {}]\ndatastore.path = \"/srv/data\"\nuser = \"nobody\"\nprivate = [\"/tmp\"]\n\
         stop.grace = \"10s\"\nrestart.when = \"on-failure\"\n{more}\n\
         [tenants]\nacme = {{ ip = \"10.77.0.11\" }}\nbeta = {{ ip = \"10.77.0.12\" }}\n",
        stressors.join(", ")
    ));
    let acme = daemon.until_tenant("acme", |acme| {
        !matches!(
            acme.state,
            StateWord::Provisioning | StateWord::Launching | StateWord::Up
        )
    });
    let ended = [
        StateWord::Stopping,
        StateWord::Releasing,
        StateWord::Exited,
        StateWord::Waiting,
    ];
    assert!(ended.contains(&acme.state), "{acme:?}");
    // In the middle of it.
    daemon.tell(&["start", "acme"]);
    daemon.tell(&["restart", "acme"]);
    daemon.tell(&["stop", "acme"]).expect(0);
    is_over(&daemon);
    daemon.tell(&["stop", "beta"]).expect(0);
    daemon.end();
}

#[test]
fn processes_and_signals() {
    stressed("");
}

#[test]
fn processes_and_signals_with_all_system_calls() {
    stressed("wall.system_calls = \"none\"");
}
