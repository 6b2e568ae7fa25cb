//! Programs that hang: `[app.alive]` notices it, and the restart policy decides.

use std::path::Path;

use nix::sys::signal::Signal;
use tenantd_api::wire::TenantStatus;

use crate::metrics::{Exporter, SOCKET, leave_socket, metrics, sample};
use crate::support::daemon::{Daemon, signal, until as until_some, write_manifest};
use crate::support::place::{self, script};
use crate::support::until;

fn is_ready(tenant: &TenantStatus) -> bool {
    tenant.ready == Some(true)
}

#[test]
fn a_server_that_hangs_is_started_again() {
    place::host();
    place::folder("/var/lib/guestbook");
    let program = place::example("guestbook");
    let daemon = Daemon::start(&format!(
        "[app]\nname = \"APP\"\nuser = \"root\"\ncommand = [{program:?}]\n\
         datastore.path = \"/var/lib/guestbook\"\nready.tcp = 80\nstop.grace = \"200ms\"\n\
         alive = {{ http = \"/\", port = 80, interval = \"200ms\", timeout = \"300ms\", \
         failures = 2 }}\n[tenants]\n\
         acme = {{ ip = \"10.77.0.11\" }}\nbeta = {{ ip = \"10.77.0.12\" }}\n",
    ));
    let beta = daemon.until_tenant("beta", is_ready);
    let acme = daemon.until_tenant("acme", is_ready);
    signal(acme.pid.unwrap(), Signal::SIGSTOP);
    let again = daemon.until_tenant("acme", |t| t.restarts == 1 && is_ready(t));
    assert_ne!(again.pid, acme.pid);
    let log = daemon.output();
    let why = "acme: up → stopping: cannot get an answer from / on port 80: 2 times in a row, the \
               last time: no answer within 0.3 s";
    assert!(log.contains(why), "{log}");
    // Its neighbour answers all the time.
    let is = daemon.tenant("beta");
    assert_eq!((is.pid, is.restarts), (beta.pid, 0));
    daemon.end();
}

#[test]
fn a_command_in_the_tenant_asks() {
    place::host();
    place::folder("/srv/data");
    leave_socket();
    script("app", "rm -f hangs\ntouch begun\nexec sleep 1000000");
    // It is asked with the tenant's user, environment, network and folders.
    script("ask", "test ! -e \"$STATE/hangs\"");
    let alive = "{ command = [\"/srv/ask\"], interval = \"100ms\", failures = 2 }";
    let manifest = |when: &str, alive: &str| {
        format!(
            "[app]\nname = \"APP\"\nuser = \"root\"\ncommand = [\"/srv/app\"]\n\
             datastore.path = \"/srv/data\"\nworking_directory = \"/srv/data\"\n\
             environment = {{ STATE = \"/srv/data\" }}\nrestart.when = \"{when}\"\n\
             alive = {alive}\n[tenants]\n\
             acme = {{ ip = \"10.77.0.11\" }}\n"
        )
    };
    let daemon = Daemon::start(&manifest("always", alive));
    daemon.until_tenant("acme", is_ready);
    let store = format!("/var/lib/tenantd/{}/acme", daemon.app);
    // It is ready once it was executed, and removes the file a moment later.
    until("the program has begun", || {
        Path::new(&format!("{store}/begun")).exists()
    });
    std::fs::write(format!("{store}/hangs"), "").unwrap();
    let acme = daemon.until_tenant("acme", |t| t.restarts == 1 && is_ready(t));
    assert_eq!(acme.why, None);
    assert_eq!(
        acme.probe.map(|it| (it.failing, it.failed, it.most)),
        Some((0, 0, 2))
    );
    // More than will fail here.
    let more = manifest("always", &alive.replace("= 2", "= 1000"));
    assert_failing_is_shown(&daemon, &more, &format!("{store}/hangs"));
    daemon.end();
}

/// Probes that fail and do not end the program yet are shown, and are in the metrics.
fn assert_failing_is_shown(daemon: &Daemon, more: &str, hangs: &str) {
    write_manifest(&daemon.app, more);
    daemon.tell(&["reload"]).expect(0);
    until("it is asked again", || {
        daemon
            .tenant("acme")
            .probe
            .is_some_and(|it| it.most == 1000 && it.passed > 0)
    });
    std::fs::write(hangs, "").unwrap();
    let fails =
        |least: u32| move |t: &TenantStatus| t.probe.as_ref().is_some_and(|it| it.failing >= least);
    let acme = daemon.until_tenant("acme", fails(2));
    assert_eq!((acme.restarts, is_ready(&acme)), (1, true));
    let said = daemon.tell(&["status"]).expect(0);
    let probe = "  PROBE no answer from /srv/ask: ";
    assert!(
        said.contains(probe) && said.contains(" of 1000 in a row, the last time: "),
        "{said}"
    );
    let labels = format!("{{app=\"{}\",tenant=\"acme\"}}", daemon.app);
    let _exporter = Exporter::start(&format!("unix:{SOCKET}"));
    let failing = format!("tenantd_tenant_probe_failing{labels}");
    until_some("the metrics have it", || {
        sample(&metrics(), &failing).filter(|it| *it >= 2.0)
    });
    std::fs::remove_file(hangs).unwrap();
    let acme = daemon.until_tenant("acme", |t| {
        t.probe.as_ref().is_some_and(|it| it.failing == 0)
    });
    assert!(acme.probe.unwrap().failed >= 2);
    until_some("the metrics follow", || {
        sample(&metrics(), &failing).filter(|it| *it == 0.0)
    });
}
