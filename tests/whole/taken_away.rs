//! The host removes or renames a folder that mounts of running tenants hang on.

use std::fs;
use std::path::Path;

use nix::mount::{MsFlags, mount};
use tenantd_api::wire::{StateWord, TenantStatus};

use crate::support::daemon::Daemon;
use crate::support::place::{self, folder};

const MANIFEST: &str = r#"
[app]
name = "APP"
command = ["/bin/sleep", "1000"]
user = "nobody"
private = ["/srv/cache/app"]
datastore = { path = "/srv/site/app/data" }

[tenants]
acme = { ip = "10.77.0.11" }
globex = { ip = "10.77.0.12" }
"#;

const DATA: &str = "/srv/site/app/data";

fn host() {
    place::host();
    for path in [DATA, "/srv/cache/app", "/srv/other"] {
        folder(path);
    }
}

fn started() -> Daemon {
    host();
    Daemon::start_settled(MANIFEST)
}

/// Whether a tenant has a mount at this path.
fn has_mount(tenant: &TenantStatus, path: &str) -> bool {
    let file = format!("/proc/{}/mountinfo", tenant.pid.unwrap());
    // A process that ends has none.
    let mounts = fs::read_to_string(file).unwrap_or_default();
    mounts
        .lines()
        .any(|line| line.split(' ').nth(4) == Some(path))
}

/// Waits until both tenants were launched again once since `before` and have their mounts.
#[track_caller]
fn come_back(daemon: &Daemon, before: &[TenantStatus], paths: &[&str]) {
    for old in before {
        let new = daemon.until_tenant(old.name.as_str(), |tenant| {
            tenant.restarts > old.restarts && tenant.is_as_wanted()
        });
        assert_eq!(new.restarts, old.restarts + 1, "{}", daemon.output());
        assert_ne!(new.pid, old.pid);
        for path in paths {
            assert!(has_mount(&new, path), "{path}");
        }
    }
}

#[test]
fn a_removed_and_remade_target_is_attached_again() {
    let daemon = started();
    let before = daemon.status().tenants;
    fs::remove_dir(DATA).unwrap();
    fs::create_dir(DATA).unwrap();
    come_back(&daemon, &before, &[DATA, "/srv/cache/app"]);
    let said = daemon.output();
    for tenant in ["acme", "globex"] {
        let why = format!(
            "{tenant}: up → stopping: cannot keep the mount at {DATA}: it was removed on the host"
        );
        assert_eq!(said.matches(&why).count(), 1, "{said}");
    }
    // What the next launch hangs on is watched too.
    let before = daemon.status().tenants;
    fs::remove_dir(DATA).unwrap();
    fs::create_dir(DATA).unwrap();
    come_back(&daemon, &before, &[DATA]);
}

#[test]
fn a_renamed_target_is_attached_again() {
    let daemon = started();
    let before = daemon.status().tenants;
    fs::rename(DATA, "/srv/site/app/old").unwrap();
    fs::create_dir(DATA).unwrap();
    come_back(&daemon, &before, &[DATA]);
    let why = format!("cannot keep the mount at {DATA}: it was renamed on the host");
    assert!(daemon.output().contains(&why), "{}", daemon.output());
}

#[test]
fn a_renamed_parent_is_noticed() {
    let daemon = started();
    let before = daemon.status().tenants;
    fs::rename("/srv/site", "/srv/old").unwrap();
    folder(DATA);
    come_back(&daemon, &before, &[DATA]);
    let why = format!("cannot keep the mount at {DATA}: /srv/site was renamed on the host");
    assert!(daemon.output().contains(&why), "{}", daemon.output());
}

#[test]
fn a_renamed_private_folder_is_noticed() {
    let daemon = started();
    let before = daemon.status().tenants;
    fs::rename("/srv/cache/app", "/srv/cache/old").unwrap();
    folder("/srv/cache/app");
    come_back(&daemon, &before, &[DATA, "/srv/cache/app"]);
}

/// A process of the host that still uses the folder, as a server of a removed package does.
#[test]
fn a_target_that_is_in_use_on_the_host_is_noticed() {
    let daemon = started();
    let before = daemon.status().tenants;
    let _in_use = fs::File::open(DATA).unwrap();
    fs::remove_dir(DATA).unwrap();
    fs::create_dir(DATA).unwrap();
    come_back(&daemon, &before, &[DATA]);
}

#[test]
fn a_target_that_stays_away_is_made_inside() {
    let daemon = started();
    let before = daemon.status().tenants;
    fs::remove_dir(DATA).unwrap();
    come_back(&daemon, &before, &[DATA]);
    // Then the mount hangs on the folder above it: making the missing one changes nothing.
    let before = daemon.status().tenants;
    fs::create_dir(DATA).unwrap();
    fs::remove_dir(DATA).unwrap();
    // Removing the folder above it does.
    fs::remove_dir("/srv/site/app").unwrap();
    folder(DATA);
    come_back(&daemon, &before, &[DATA]);
}

#[test]
fn what_changes_nothing_relaunches_nobody() {
    let daemon = started();
    let before = daemon.status().tenants;
    // The mount moves along and comes back.
    fs::rename(DATA, "/srv/site/app/old").unwrap();
    fs::rename("/srv/site/app/old", DATA).unwrap();
    for path in ["/srv/site/app/other", "/srv/site/data", "/srv/cache/x"] {
        folder(path);
        fs::remove_dir(path).unwrap();
    }
    fs::write(format!("{DATA}/file"), "the host's").unwrap();
    fs::remove_file(format!("{DATA}/file")).unwrap();
    fs::set_permissions(DATA, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    // Afterwards one real change, which is handled after all others.
    fs::remove_dir(DATA).unwrap();
    fs::create_dir(DATA).unwrap();
    come_back(&daemon, &before, &[DATA]);
    assert_eq!(daemon.output().matches("cannot keep the mount").count(), 2);
}

/// As a package that is purged and installed again, with a program that makes and removes its folder
/// several times.
#[test]
fn a_burst_of_changes_relaunches_once() {
    let daemon = started();
    let before = daemon.status().tenants;
    for _ in 0..5 {
        fs::remove_dir_all("/srv/site/app").unwrap();
        folder("/srv/site/app");
        fs::create_dir(DATA).unwrap();
    }
    come_back(&daemon, &before, &[DATA]);
    let said = daemon.output();
    assert_eq!(said.matches("cannot keep the mount").count(), 2, "{said}");
}

#[test]
fn a_change_while_no_supervisor_runs_is_found_by_the_next_one() {
    let mut daemon = started();
    let before = daemon.status().tenants;
    daemon.kill();
    fs::remove_dir(DATA).unwrap();
    fs::create_dir(DATA).unwrap();
    daemon.again();
    come_back(&daemon, &before, &[DATA]);
    // Adopted ones are watched too.
    daemon.kill();
    daemon.again();
    let before = daemon.settles().tenants;
    fs::rename("/srv/site", "/srv/old").unwrap();
    folder(DATA);
    come_back(&daemon, &before, &[DATA]);
}

#[test]
fn a_change_during_a_launch_is_found() {
    host();
    // The child has its mounts; the supervisor does not know yet that its program runs.
    let mut daemon = Daemon::spawn_armed(MANIFEST, "launch: program runs@acme");
    daemon.wait();
    fs::remove_dir(DATA).unwrap();
    fs::create_dir(DATA).unwrap();
    daemon.again();
    let status = daemon.settles();
    for tenant in &status.tenants {
        daemon.until_tenant(tenant.name.as_str(), |it| {
            it.is_as_wanted() && has_mount(it, DATA)
        });
    }
}

#[test]
fn a_program_that_is_not_restarted_fails_with_the_reason() {
    host();
    let manifest = MANIFEST.replace("user =", "restart.when = \"never\"\nuser =");
    let daemon = Daemon::start_settled(&manifest);
    fs::remove_dir(DATA).unwrap();
    let tenant = daemon.until_state("acme", StateWord::Failed);
    let why = tenant.why.unwrap();
    let lost = format!("cannot keep the mount at {DATA}: it was removed on the host");
    assert!(why.starts_with(&lost), "{why}");
    let said = daemon.tell(&["status", "acme"]).expect(1);
    assert!(said.contains(&format!("  WHY {lost}")), "{said}");
}

/// A process in a namespace of its own does not say what its tenant has.
#[test]
fn a_program_that_changes_its_root_is_left_alone() {
    host();
    folder("/srv/root/bin");
    for file in ["/bin/busybox", "/usr/bin/busybox"] {
        if Path::new(file).exists() {
            fs::copy(file, "/srv/root/bin/sleep").unwrap();
        }
    }
    let bind = MsFlags::MS_BIND;
    let none: Option<&str> = None;
    for path in ["/usr", "/lib", "/lib64"] {
        let to = folder(&format!("/srv/root{path}"));
        mount(Some(path), &to, none, bind, none).unwrap();
    }
    let manifest = MANIFEST.replace("\"nobody\"", "\"root\"").replace(
        "[\"/bin/sleep\"",
        "[\"/usr/sbin/chroot\", \"/srv/root\", \"/usr/bin/sleep\"",
    );
    let daemon = Daemon::start_settled(&manifest);
    let before = daemon.status().tenants;
    fs::remove_dir(DATA).unwrap();
    fs::create_dir(DATA).unwrap();
    // Once, because of this, and not again and again.
    for old in &before {
        let new = daemon.until_tenant(old.name.as_str(), |it| it.restarts > 0 && it.is_as_wanted());
        assert_eq!(new.restarts, 1);
    }
    daemon.tell(&["restart", "acme"]).expect(0);
    assert_eq!(daemon.tenant("globex").restarts, 1);
}

/// A file of the manifest is in a union over its folder on the host.
#[test]
fn a_removed_folder_of_a_file_is_noticed() {
    host();
    folder("/srv/site/etc");
    fs::write("/srv/site/etc/app.conf", "host\n").unwrap();
    let files = "[app]\nfiles = [{ path = \"/srv/site/etc/app.conf\", text = \"own\\n\" }]";
    let daemon = Daemon::start_settled(&MANIFEST.replacen("[app]", files, 1));
    let seen = |tenant: &TenantStatus| {
        let pid = tenant.pid.unwrap();
        fs::read_to_string(format!("/proc/{pid}/root/srv/site/etc/app.conf")).unwrap()
    };
    let before = daemon.status().tenants;
    // The host replaces its own file, as a package does: nothing is lost.
    fs::write("/srv/site/etc/new", "newer\n").unwrap();
    fs::rename("/srv/site/etc/new", "/srv/site/etc/app.conf").unwrap();
    fs::remove_dir_all("/srv/site/etc").unwrap();
    folder("/srv/site/etc");
    fs::write("/srv/site/etc/app.conf", "host\n").unwrap();
    come_back(&daemon, &before, &["/srv/site/etc", DATA]);
    for tenant in daemon.status().tenants {
        assert_eq!(seen(&tenant), "own\n");
    }
    let why = "cannot keep the mount at /srv/site/etc/app.conf: ";
    assert!(daemon.output().contains(why), "{}", daemon.output());
}
