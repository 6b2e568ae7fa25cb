//! A tenant that floods its log does not disturb the others, and processes are tracked even without
//! cgroups.

use std::fs;
use std::process::Command;

use serde_json::json;

use crate::support::daemon::{self, Daemon, until};
use crate::support::place::{self, example, script};
use crate::support::visit::accepts;

const FLOOD: &str = r#"
[app]
name = "APP"
user = "root"
command = ["/srv/writer"]
datastore.path = "/srv/data"
[defaults]
arguments = ["quiet"]
[tenants]
loud = { ip = "10.77.0.11", arguments = ["loud"] }
quiet = { ip = "10.77.0.12" }
"#;

/// The bound of the log: two files of 1 MiB, with the time and stream of each line.
const LOG_MAX: u64 = 3 * 1024 * 1024;

#[test]
fn a_flood_of_lines_delays_no_other_tenant_and_stays_bounded() {
    place::host();
    place::folder("/srv/data");
    script(
        "writer",
        "if [ $1 = loud ]; then exec yes 'a line that is never read'; fi\n\
         echo begun $$\nexec sleep 1000",
    );
    let daemon = Daemon::start_settled(FLOOD);
    let log = |name: &str| format!("/var/log/tenantd/{}/{name}", daemon.app);
    // There is a rotated file, so the flood has begun.
    until("the flood has filled a log", || {
        fs::metadata(log("loud.log.1")).ok()
    });
    for _ in 0..3 {
        let quiet = daemon.kill_tenant("quiet");
        let line = format!("begun {}", quiet.pid.unwrap());
        until("the quiet one's line is in its log", || {
            let said = daemon.tell(&["logs", "quiet"]).expect(0);
            said.contains(&line).then_some(())
        });
    }
    daemon.tell(&["restart", "quiet"]).expect(0);
    let size: u64 = fs::read_dir(log(""))
        .unwrap()
        .map(|file| file.unwrap())
        .filter(|file| file.file_name().to_string_lossy().starts_with("loud"))
        .map(|file| file.metadata().unwrap().len())
        .sum();
    assert!(size <= LOG_MAX, "{size}");
    daemon.tell(&["stop", "loud"]).expect(0);
}

const TRACKED: &str = r#"
[app]
name = "APP"
user = "root"
command = ["/srv/leaver"]
daemonizes = true
datastore.path = "/srv/data"
ready.tcp = 80
stop.grace = "5s"
[tenants]
acme = { ip = "10.77.0.11" }
beta = { ip = "10.77.0.12" }
"#;

#[test]
fn without_a_cgroup_tree_processes_are_followed_by_their_network_namespace() {
    place::host();
    let done = Command::new("umount")
        .arg("/sys/fs/cgroup")
        .status()
        .unwrap();
    assert!(done.success());
    place::folder("/srv/data");
    let idle = example("idle");
    script(
        "leaver",
        &format!("setsid {idle} </dev/null & echo $! > /srv/data/pid"),
    );
    let daemon = Daemon::start_settled(TRACKED);
    let said = daemon.tell(&["status", "--json"]).expect(0);
    let status: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(status["tracking"], json!("netns"));
    let left = |name: &str| -> String {
        let path = format!("/var/lib/tenantd/{}/{name}/pid", daemon.app);
        fs::read_to_string(path).unwrap().trim().to_owned()
    };
    let process = left("acme");
    assert!(fs::metadata(format!("/proc/{process}/exe")).is_ok());
    daemon.tell(&["stop", "acme"]).expect(0);
    assert!(
        fs::metadata(format!("/proc/{process}/exe")).is_err(),
        "what it left is ended"
    );
    daemon.tell(&["start", "acme"]).expect(0);
    assert!(accepts("10.77.0.11", 80));

    let process = left("beta");
    daemon::signal(process.parse().unwrap(), nix::sys::signal::Signal::SIGKILL);
    daemon.until_tenant("beta", |beta| beta.restarts == 1 && beta.is_as_wanted());
    assert!(accepts("10.77.0.12", 80));
    let process = left("beta");
    daemon.end();
    assert!(fs::metadata(format!("/proc/{process}/exe")).is_err());
}
