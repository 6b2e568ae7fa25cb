//! A kernel without a required system call.

use tenantd_api::wire::StateWord;

use crate::bad_days::{host, manifest};
use crate::refuse;
use crate::support::daemon::Daemon;

/// As on a kernel before 5.2, which has no `open_tree`: no program runs, and the first step that needs it is
/// named.
#[test]
fn a_refused_system_call_stops_the_launch_and_names_the_stage() {
    host();
    refuse::deny(libc::SYS_open_tree, None, libc::ENOSYS);
    let daemon = Daemon::start(&manifest("/srv/idle", "", ""));
    let status = daemon.until("all have failed", |status| {
        status
            .tenants
            .iter()
            .all(|tenant| tenant.state == StateWord::Failed)
    });
    for tenant in status.tenants {
        let why = tenant.why.unwrap();
        assert!(
            why.contains("ENOSYS") && why.contains("network namespace"),
            "{why}"
        );
    }
}
