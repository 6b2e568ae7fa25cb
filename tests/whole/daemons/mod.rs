//! Programs of the distribution, each with what is special about its processes: no state is wrong, and
//! nothing is left.

mod gunicorn;
mod jvm;
mod php_fpm;
mod postgresql;

use std::fs;

use tenantd_api::wire::TenantStatus;

use crate::support::daemon::{Daemon, until};

const ACME: &str = "10.77.0.11";

/// Starts one tenant of this program, which is ready then.
fn start(app: &str) -> Daemon {
    Daemon::start_settled(&format!(
        "[app]\nname = \"APP\"\n{app}\nrestart.delay = \"10ms\"\n[tenants]\nacme = {{ ip = \"{ACME}\" }}\n"
    ))
}

/// The tenant once its main process is known in this way.
#[track_caller]
fn known(daemon: &Daemon, how: &str) -> TenantStatus {
    daemon.until_tenant("acme", |acme| {
        acme.main.as_deref() == Some(how) && acme.is_as_wanted()
    })
}

/// The tenant once it was started again so often.
#[track_caller]
fn restarted(daemon: &Daemon, times: u32) -> TenantStatus {
    daemon.until_tenant("acme", |acme| acme.restarts >= times && acme.is_as_wanted())
}

/// A file of the tenant, once a process of it has it.
fn file_of(pid: u32, path: &str) -> String {
    until(path, || {
        let text = fs::read_to_string(format!("/proc/{pid}/root{path}")).ok()?;
        text.ends_with('\n').then_some(text)
    })
}

/// Stops the tenant: it ends by itself, and neither a process nor a zombie is left.
#[track_caller]
fn stops(daemon: &Daemon) {
    daemon.tell(&["stop", "acme"]).expect(0);
    let acme = daemon.tenant("acme");
    assert!(acme.killed.is_none(), "{:?}", acme.killed);
    let leaf = format!("/sys/fs/cgroup/tenantd/{}/acme", daemon.app);
    assert!(fs::metadata(leaf).is_err());
    // The last ones may be reaped a moment later.
    until("nothing is left of it", || {
        zombies(daemon.pid()).is_empty().then_some(())
    });
}

/// The zombies of a process.
fn zombies(of: u32) -> Vec<String> {
    let all = fs::read_dir("/proc").unwrap().flatten();
    let stats = all.filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok());
    let is_zombie = |stat: &String| {
        let rest = stat
            .rsplit_once(')')
            .map(|(_, rest)| rest.split_whitespace());
        let mut fields = rest.into_iter().flatten();
        fields.next() == Some("Z") && fields.next() == Some(&of.to_string())
    };
    stats.filter(is_zombie).collect()
}
