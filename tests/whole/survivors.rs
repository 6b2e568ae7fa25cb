//! A supervisor that was killed: its tenants serve on, and no second launch ever comes to their
//! data.

use std::fs;

use nix::sys::signal::Signal;
use tenantd::wire::StateWord;

use crate::guestbook::{TENANTS, three};
use crate::support::daemon::{ends, pidfd, signal};
use crate::support::visit::{get, write_entry};

#[test]
fn tenants_outlive_a_killed_supervisor_and_never_get_a_second_launch() {
    let mut daemon = three();
    let old: Vec<u32> = daemon
        .status()
        .tenants
        .iter()
        .map(|t| t.pid.unwrap())
        .collect();
    daemon.kill();
    for (name, ip) in TENANTS {
        write_entry(ip, name, "unsupervised");
    }

    daemon.again();
    // Adopting them is another task: until then each is given up or tried again, with the reason.
    let status = daemon.until("each has met its survivor", |status| {
        status.tenants.iter().all(|tenant| tenant.why.is_some())
    });
    for tenant in &status.tenants {
        assert!(
            matches!(
                tenant.state,
                StateWord::Waiting | StateWord::Held | StateWord::Stuck
            ),
            "{tenant:?}"
        );
        assert_eq!(tenant.pid, None);
    }
    for (pid, (name, ip)) in old.iter().zip(TENANTS) {
        assert!(
            fs::metadata(format!("/proc/{pid}/exe")).is_ok(),
            "{name} lives"
        );
        assert_eq!(get(ip, "/entries").1, format!("{name}\tunsupervised\n"));
        let leaf = format!("/sys/fs/cgroup/tenantd/{}/{name}/cgroup.procs", daemon.app);
        assert_eq!(fs::read_to_string(leaf).unwrap(), format!("{pid}\n"));
    }

    // Once the operator has ended them, all is as before.
    for pid in old {
        let process = pidfd(pid);
        signal(pid, Signal::SIGKILL);
        assert!(ends(&process, crate::support::daemon::LIMIT));
    }
    daemon.tell(&["stop", "--all"]).expect(0);
    daemon.tell(&["start", "--all"]).expect(0);
    for (name, ip) in TENANTS {
        assert_eq!(get(ip, "/entries").1, format!("{name}\tunsupervised\n"));
    }
}
