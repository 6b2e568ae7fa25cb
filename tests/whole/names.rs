//! ip-netns(8) knows every tenant by name, by a symbolic link.

use std::fs;
use std::path::Path;

use crate::support::daemon::{Daemon, in_time, run, until};
use crate::support::place::{self, example};

fn start(autostart: bool) -> Daemon {
    place::folder("/srv/data");
    Daemon::start_settled(&format!(
        "[app]\nname = \"APP\"\nuser = \"root\"\ncommand = [\"{}\"]\ndatastore.path = \"/srv/data\"\n\
         [defaults]\nautostart = {autostart}\n[tenants]\nacme = {{ ip = \"10.77.0.11\" }}\nbeta = {{ ip = \"10.77.0.12\" }}\n",
        example("idle")
    ))
}

fn ip(arguments: &str) -> String {
    run(in_time("ip").args(arguments.split(' '))).expect(0)
}

/// The addresses in a tenant's namespace, found in both possible ways.
fn addresses(daemon: &Daemon, tenant: &str) -> [String; 2] {
    let name = format!("{}-{tenant}", daemon.app);
    let show = "-o -4 address show dev eth0";
    [
        ip(&format!("netns exec {name} ip {show}")),
        ip(&format!("-n {name} {show}")),
    ]
}

#[test]
fn a_provisioned_tenant_is_entered_by_name() {
    place::host();
    let mut daemon = start(true);
    let app = daemon.app.clone();
    for (tenant, address) in [("acme", "10.77.0.11"), ("beta", "10.77.0.12")] {
        for seen in addresses(&daemon, tenant) {
            assert!(seen.contains(address), "{seen}");
        }
    }
    // The host has no additional mount.
    let mounts = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
    assert!(!mounts.contains("netns"), "{mounts}");
    let acme = daemon.tenant("acme").pid.unwrap();
    assert_eq!(
        ip(&format!("netns identify {acme}")),
        format!("{app}-acme\n")
    );

    // Other programs use the folder too, and both coexist.
    ip("netns add other");
    let listed = ip("netns list");
    for name in ["other", &format!("{app}-acme"), &format!("{app}-beta")] {
        assert!(
            listed.lines().any(|line| line.starts_with(name)),
            "{listed}"
        );
    }
    daemon.tell(&["stop", "beta"]).expect(0);
    assert!(!Path::new(&format!("/run/netns/{app}-beta")).exists());
    daemon.tell(&["start", "beta"]).expect(0);
    assert!(addresses(&daemon, "beta")[0].contains("10.77.0.12"));

    // The next supervisor has descriptors of its own. It makes the names after its first answer.
    daemon.kill();
    daemon.again();
    until("the name is one of the new supervisor's", || {
        Path::new(&format!("/run/netns/{app}-acme"))
            .exists()
            .then_some(())
    });
    assert!(addresses(&daemon, "acme")[0].contains("10.77.0.11"));
    daemon.tell(&["stop", "--all"]).expect(0);
    assert_eq!(ip("netns list").trim(), "other");
    ip("netns delete other");
    // Not umount(8), which writes a file to /run.
    nix::mount::umount("/run/netns").unwrap();
    daemon.end();
}

#[test]
fn a_name_of_another_owner_is_kept() {
    place::host();
    let daemon = start(false);
    place::folder("/run/netns");
    let theirs = ["acme", "beta"].map(|tenant| format!("/run/netns/{}-{tenant}", daemon.app));
    fs::write(&theirs[0], "theirs").unwrap();
    std::os::unix::fs::symlink("/proc/1/ns/net", &theirs[1]).unwrap();
    daemon.tell(&["start", "--all"]).expect(0);
    assert!(
        daemon
            .output()
            .contains("exists and does not belong to tenantd")
    );
    daemon.tell(&["stop", "--all"]).expect(0);
    assert_eq!(fs::read_to_string(&theirs[0]).unwrap(), "theirs");
    assert_eq!(
        fs::read_link(&theirs[1]).unwrap(),
        Path::new("/proc/1/ns/net")
    );
    for path in theirs {
        fs::remove_file(path).unwrap();
    }
    daemon.end();
}
