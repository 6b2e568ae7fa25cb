//! Datastores that are missing, read-only or full, and a log that cannot be written.

use std::fs;

use nix::mount::{MsFlags, mount};
use tenantd_api::wire::{StateWord, TenantStatus};

use crate::bad_days::{fails_to_start, host, manifest};
use crate::support::daemon::Daemon;
use crate::support::place::{folder, fresh, script};

fn with_datastore(path: &str) -> Daemon {
    let acme = format!(", datastore = \"{path}\", autostart = false");
    Daemon::start(&manifest("/srv/idle", "", &acme))
}

#[test]
fn a_missing_datastore_parent_is_not_created() {
    host();
    let daemon = with_datastore("/srv/disk/not/mounted");
    daemon.until_tenant("beta", TenantStatus::is_as_wanted);
    let said = daemon.tell(&["start", "acme"]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(
        said.out.contains("/srv/disk") && said.out.contains("ENOENT"),
        "{said:?}"
    );
    assert!(
        fs::metadata("/srv/disk").is_err(),
        "nothing was made where a disk belongs"
    );
    folder("/srv/disk/not");
    daemon.tell(&["start", "--all"]).expect(0);
    assert!(fs::metadata("/srv/disk/not/mounted").unwrap().is_dir());
    // The folders that hold datastores are hidden from other tenants, also if they are made later.
    let said = daemon.tell(&["exec", "beta", "ls", "-A", "/srv/disk/not"]);
    assert!(!said.out.contains("mounted"), "{said:?}");
}

#[test]
fn a_datastore_on_a_read_only_disk_is_reported() {
    host();
    folder("/srv/disk");
    fresh("/srv/disk", "ro");
    let daemon = with_datastore("/srv/disk/acme");
    daemon.until_tenant("beta", TenantStatus::is_as_wanted);
    fails_to_start(&daemon, &["/srv/disk/acme", "EROFS"]);
}

#[test]
fn a_datastore_on_a_full_disk_is_reported() {
    host();
    folder("/srv/disk");
    // One inode, for its own root.
    fresh("/srv/disk", "nr_inodes=1");
    let daemon = with_datastore("/srv/disk/acme");
    daemon.until_tenant("beta", TenantStatus::is_as_wanted);
    fails_to_start(&daemon, &["/srv/disk/acme", "ENOSPC"]);
}

#[test]
fn a_program_on_a_full_disk_keeps_its_earlier_data() {
    host();
    folder("/srv/disk");
    fresh("/srv/disk", "size=16k");
    folder("/srv/disk/acme");
    fs::write("/srv/disk/acme/kept", "kept").unwrap();
    script(
        "writer",
        "cat /srv/data/kept && head -c 100000 /dev/zero > /srv/data/more && exec /srv/idle",
    );
    let text = manifest("/srv/idle", "", ", datastore = \"/srv/disk/acme\"");
    let daemon = Daemon::start(&text.replace("\"/srv/idle\"", "\"/srv/writer\""));
    let held = daemon.until_state("acme", StateWord::Failed);
    assert!(held.why.as_ref().unwrap().contains("status"), "{held:?}");
    assert_eq!(fs::read_to_string("/srv/disk/acme/kept").unwrap(), "kept");
    crate::support::daemon::until("the program's own words are in the log", || {
        let said = daemon.tell(&["logs", "acme"]).expect(0);
        said.contains("No space left on device").then_some(())
    });
}

#[test]
fn two_paths_to_one_folder_are_one_datastore() {
    host();
    folder("/srv/disk/one");
    folder("/srv/disk/other");
    let (none, bind): (Option<&str>, _) = (None, MsFlags::MS_BIND);
    mount(Some("/srv/disk/one"), "/srv/disk/other", none, bind, none).unwrap();
    let text = manifest(
        "/srv/idle",
        "",
        ", datastore = \"/srv/disk/one\", autostart = false",
    )
    .replace(
        "\"10.77.0.12\"",
        "\"10.77.0.12\", datastore = \"/srv/disk/other\"",
    );
    let daemon = Daemon::start(&text);
    daemon.until_tenant("beta", TenantStatus::is_as_wanted);
    fails_to_start(&daemon, &["/srv/disk/one", "beta"]);
    daemon.tell(&["stop", "beta"]).expect(0);
    daemon.tell(&["start", "acme"]).expect(0);
}

#[test]
fn tenants_run_without_logs_and_the_supervisor_reports_it() {
    host();
    fresh("/var/log/tenantd", "ro");
    let program = script("talks", "echo hello; exec /srv/idle");
    let daemon = Daemon::start_settled(&manifest(&program, "ready.tcp = 80", ""));
    crate::support::daemon::until("it says that no log can be written", || {
        let output = daemon.output();
        (output.contains("/var/log/tenantd") && output.contains("Read-only file system"))
            .then_some(())
    });
    // The lines are not lost: they are in the supervisor's own output.
    assert!(daemon.output().contains("hello"), "{}", daemon.output());
    daemon.tell(&["restart", "acme"]).expect(0);
}
