//! A supervisor that dies once its child may continue does not end the child.

use crate::launch::bench::{Bench, Running};
use crate::support::until;

#[test]
fn a_launch_goes_on_without_anybody_to_report_to() {
    let bench = Bench::new().on_a_writable_host();
    let child = bench.start_unread();
    let running = Running {
        pid: child.pid,
        pidfd: child.pidfd,
        used: child.used,
    };
    until("it runs", || running.link("exe").ends_with("sleep"));
    // The program has the default action of SIGPIPE.
    let ignored = u64::from_str_radix(&running.status("SigIgn"), 16).unwrap();
    assert_eq!(ignored, 0);
}
