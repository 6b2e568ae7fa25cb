//! What `status NAME` tells of a tenant that has failed and is up again, and of what it waits for.

use nix::sys::signal::Signal;

use crate::support::daemon::{Daemon, signal};
use crate::support::place::{self, folder, script};

fn start() -> Daemon {
    place::host();
    folder("/srv/data");
    script("app", "echo no room for more >&2\nexec sleep 1000000");
    Daemon::start_settled(
        "[app]\nname = \"APP\"\nuser = \"root\"\ncommand = [\"/srv/app\"]\ndatastore.path = \"/srv/data\"\n\
         restart = { delay = \"100ms\", strikes = 3 }\n[tenants]\nacme = { ip = \"10.77.0.11\" }\n\
         bolt = { ip = \"10.77.0.12\" }\n",
    )
}

/// The lines below a tenant that is shown alone.
fn below(daemon: &Daemon) -> Vec<String> {
    let said = daemon.tell(&["status", "acme"]);
    let lines = said.out.lines().filter_map(|line| line.strip_prefix("  "));
    lines.map(str::to_owned).collect()
}

#[test]
fn a_failure_is_known_once_the_tenant_is_up_again() {
    let daemon = start();
    assert!(!below(&daemon).iter().any(|it| it.starts_with("STRIKES")));
    let is = |lines: &[String], begin: &str, end: &str| {
        assert!(
            lines
                .iter()
                .any(|it| it.starts_with(begin) && it.ends_with(end)),
            "{begin} ... {end}: {lines:?}"
        );
    };
    let dies = |restarts| {
        let pid = daemon.tenant("acme").pid.unwrap();
        signal(pid, Signal::SIGKILL);
        daemon.until_tenant("acme", |it| {
            it.restarts == restarts && it.pid.is_some_and(|it| it != pid)
        });
    };
    dies(1);
    let lines = below(&daemon);
    is(&lines, "FAILED ", "ago: was killed by SIGKILL");
    is(&lines, "STDERR no room for more", "");
    is(&lines, "STRIKES 1 of 3, the oldest counts for ", "s");
    is(&lines, "NEXT `tenantd ", "logs acme` shows what it said");
    dies(2);
    is(&below(&daemon), "STRIKES 2 of 3", "s");
    // Of several tenants, one that is left by a filter was not named.
    daemon.tell(&["stop", "bolt"]).expect(0);
    let said = daemon.tell(&["status", "--state", "up"]).expect(0);
    assert!(
        !said.contains("  CPU ") && !said.contains("FAILED"),
        "{said}"
    );
    // A request of an operator clears strikes; what happened stays known.
    daemon.tell(&["restart", "acme"]).expect(0);
    let lines = below(&daemon);
    is(&lines, "FAILED ", "SIGKILL");
    assert!(
        !lines.iter().any(|it| it.starts_with("STRIKES")),
        "{lines:?}"
    );
    daemon.end();
}
