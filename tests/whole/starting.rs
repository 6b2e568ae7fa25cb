//! Starts that are not done at once: by a program that never listens, and by an operator who does not
//! wait for it.

use std::fmt::Write;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use serde_json::Value;
use tenantd_api::wire::StateWord;

use crate::support::daemon::{Daemon, LIMIT, PROGRAM, ends, pidfd, signal, tenantd};
use crate::support::place::{self, script};
use crate::support::until_it_waits;

/// Tenants whose program never listens on its port.
fn deaf(within: &str, tenants: u8) -> Daemon {
    place::host();
    place::folder("/srv/data");
    script("app", "echo still loading >&2\nexec sleep 1000000");
    let mut manifest = format!(
        "[app]\nname = \"APP\"\nuser = \"root\"\ncommand = [\"/srv/app\"]\ndatastore.path = \"/srv/data\"\n\
         ready = {{ tcp = 81, within = \"{within}\" }}\n[tenants]\n"
    );
    for number in 1..=tenants {
        writeln!(
            manifest,
            "t{number} = {{ ip = \"10.77.0.{}\" }}",
            10 + number
        )
        .unwrap();
    }
    Daemon::start(&manifest)
}

#[test]
fn a_start_of_a_program_that_never_listens_ends_with_its_first_attempt() {
    let daemon = deaf("300ms", 3);
    let said = daemon.tell(&["start", "t1"]);
    assert_eq!(said.code, 1, "{said:?}");
    let why = "port 81: no connection accepted within 0.3 s";
    assert!(said.out.starts_with("t1: waiting: "), "{said:?}");
    assert!(said.out.contains(why), "{said:?}");
    let end = "\nt1: last line of stderr: still loading\n`tenantd logs t1` shows the output of its program.\n";
    assert!(said.out.ends_with(end), "{said:?}");

    // A roll halts there, and touches no other tenant.
    let said = daemon.tell(&["restart", "--all", "--rolling", "--json"]);
    assert_eq!(said.code, 1, "{said:?}");
    let json: Value = serde_json::from_str(&said.out).unwrap();
    let outcomes = json["tenants"].as_array().unwrap().iter();
    let outcomes: Vec<_> = outcomes.map(|tenant| &tenant["outcome"]).collect();
    assert_eq!(outcomes, ["failed", "pending", "pending"], "{json}");
    let reason = json["tenants"][0]["reason"].as_str().unwrap();
    assert!(reason.contains(why), "{json}");

    // The reason, what it wrote last, and what to type.
    daemon.tell(&["stop", "t2", "t3"]).expect(0);
    daemon.until_state("t1", StateWord::Waiting);
    let shown = daemon.tell(&["status", "t1"]);
    let line = "\n  STDERR still loading\n";
    assert!(shown.out.contains(line), "{shown:?}");
    daemon.end();
}

/// Its window would never hold three starts that each take longer than half of it.
#[test]
fn a_program_that_never_listens_is_given_up() {
    place::host();
    place::folder("/srv/data");
    script("app", "exec sleep 1000000");
    let daemon = Daemon::start(
        "[app]\nname = \"APP\"\nuser = \"root\"\ncommand = [\"/srv/app\"]\ndatastore.path = \"/srv/data\"\n\
         ready = { tcp = 81, within = \"700ms\" }\n\
         restart = { strikes = 3, window = \"1s\" }\n[tenants]\nt1 = { ip = \"10.77.0.11\" }\n",
    );
    let why = "port 81: no connection accepted within 0.7 s";
    let said = daemon.tell(&["start", "t1"]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.out.contains(why), "{said:?}");
    daemon.until("it is started again", |status| {
        status.tenants[0].state == StateWord::Up && status.tenants[0].restarts > 0
    });
    let shown = daemon.tell(&["status", "t1"]);
    assert!(
        shown
            .out
            .contains("WHY last failure: cannot confirm readiness on port 81: "),
        "{shown:?}"
    );
    let said = daemon.tell(&["start", "--wait", "t1"]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.out.starts_with("t1: failed: "), "{said:?}");
    assert!(said.out.contains(why), "{said:?}");
    daemon.end();
}

#[test]
fn an_interrupted_start_is_counted_and_continues() {
    let daemon = deaf("10m", 30);
    let child = Command::new(PROGRAM)
        .args(["start", "--app", &daemon.app, "t*"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    until_it_waits(&daemon.app, child.id());
    signal(child.id(), Signal::SIGINT);
    assert!(ends(&pidfd(child.id()), LIMIT));
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{output:?}");
    let said = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = said.lines().collect();
    let [counts, hint] = lines[..] else {
        panic!("{said}");
    };
    assert!(
        counts.starts_with("interrupted: 30 tenants: 30 starting ("),
        "{said}"
    );
    assert!(counts.ends_with(" and 20 more)"), "{said}");
    assert!(hint.contains("`tenantd status --failed`"), "{said}");
    // The supervisor continues.
    daemon.until("all run", |status| {
        let mut states = status.tenants.iter().map(|tenant| tenant.state);
        states.all(|state| state == StateWord::Up)
    });
    daemon.end();
}

#[test]
fn a_command_waits_for_a_supervisor_that_is_starting() {
    place::host();
    place::folder("/srv/data");
    script("app", "exec sleep 1000000");
    let manifest = "[app]\nname = \"APP\"\nuser = \"root\"\ncommand = [\"/srv/app\"]\n\
        datastore.path = \"/srv/data\"\n[tenants]\nacme = { ip = \"10.77.0.11\" }\n";
    let mut daemon = Daemon::spawn(manifest);
    daemon.tell(&["start", "acme"]).expect(0);
    // Its socket is there, and nobody listens.
    daemon.kill();
    daemon.again_armed("");
    daemon.tell(&["status", "acme"]).expect(0);
    let app = daemon.app.clone();
    daemon.end();

    // Without one it fails at once, also beside a young supervisor of another application.
    let other = Daemon::spawn(&manifest.replace("10.77.0.11", "10.77.0.12"));
    other.tell(&["start", "acme"]).expect(0);
    let begun = std::time::Instant::now();
    let said = tenantd(&["start", "--app", &app, "acme"]);
    assert!(
        said.code == 1 && said.err.contains("supervisor not running"),
        "{said:?}"
    );
    assert!(begun.elapsed() < std::time::Duration::from_secs(1));
    other.end();
}
