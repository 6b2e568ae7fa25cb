//! Tenants that wait for what others use: pressure stall information, where the kernel measures it.

use std::path::Path;
use std::process::{Child, Stdio};

use crate::metrics::{Exporter, SOCKET, checked, leave_socket, metrics, sample};
use crate::support::daemon::{Daemon, PROGRAM, in_time, until};
use crate::support::place::{self, folder, script};

/// Has a tenant use so many processors for some seconds.
fn burns(daemon: &Daemon, tenant: &str, many: usize) -> Child {
    let loops =
        format!("for i in $(seq {many}); do timeout 40 sh -c 'while :; do :; done' & done; wait");
    let mut command = in_time(PROGRAM);
    command.args([
        "--app",
        &daemon.app,
        "exec",
        tenant,
        "--",
        "sh",
        "-c",
        &loops,
    ]);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// The metrics have it, with what it waits for.
fn assert_metrics(app: &str) {
    let _exporter = Exporter::start(&format!("unix:{SOCKET}"));
    let labels = format!("{{app=\"{app}\",tenant=\"acme\",resource=\"cpu\"}}");
    let name = format!("tenantd_tenant_starved_timestamp_seconds{labels}");
    until("the time is there", || {
        sample(&metrics(), &name).filter(|it| *it > 1e9)
    });
    checked("promtool", &["check", "metrics"], &metrics());
}

#[test]
fn the_tenant_that_waits_and_the_one_that_uses_most_are_told() {
    place::host();
    folder("/srv/data");
    script("app", "exec sleep 1000000");
    leave_socket();
    let daemon = Daemon::start_settled(
        "[app]\nname = \"APP\"\nuser = \"root\"\ncommand = [\"/srv/app\"]\ndatastore.path = \"/srv/data\"\n\
         [tenants]\nacme = { ip = \"10.77.0.11\" }\nbolt = { ip = \"10.77.0.12\" }\n",
    );
    assert!(Path::new("/proc/pressure/cpu").exists(), "boot with psi=1");
    let processors = std::thread::available_parallelism().unwrap().get();
    // Each is a session, and sessions get equal shares of the processors, see sched(7).
    let eats = [0; 4].map(|_| burns(&daemon, "bolt", processors));
    // It waits for what it uses itself, until another waits too.
    daemon.until_tenant("bolt", |tenant| {
        tenant
            .starved
            .as_ref()
            .is_some_and(|it| it.by.as_deref() == Some("bolt"))
    });
    let waits = burns(&daemon, "acme", 1);
    let acme = daemon.until_tenant("acme", |tenant| tenant.starved.is_some());
    let starved = acme.starved.unwrap();
    assert_eq!(
        (starved.resource.as_str(), starved.by.as_deref()),
        ("cpu", Some("bolt")),
        "{starved:?}"
    );
    assert!(starved.percent >= 10, "{starved:?}");
    let said = daemon.tell(&["status", "acme"]).expect(0);
    let line = format!("ago: {}\n", starved.text);
    assert!(
        said.contains("\n  STARVED ") && said.contains(&line),
        "{said}"
    );
    assert!(said.contains("\n  PRESSURE waits for cpu "), "{said}");
    assert_metrics(&daemon.app);
    for mut child in eats.into_iter().chain([waits]) {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    daemon.end();
}
