//! What prevents a tenant from writing to the host's files, and what it tried to write.

use std::fs;

use nix::mount::{MsFlags, mount};
use tenantd_api::wire::{RefusedWrite, TenantStatus};

use crate::support::daemon::{Daemon, PROGRAM, until};
use crate::support::place::{self, folder, script};

const MANIFEST: &str = r#"
[app]
name = "APP"
command = ["/bin/sleep", "1000"]
datastore = { path = "/srv/data" }
user = "root"

[tenants]
acme = { ip = "10.77.0.11" }
globex = { ip = "10.77.0.12" }
"#;

const NONE: Option<&str> = None;
const DISK: &str = "/srv/shared/disk";

/// A test host in which what is mounted below `/srv/shared` arrives in namespaces that are made later.
fn host() {
    place::host();
    folder("/srv/data");
    folder(DISK);
    mount(
        Some("/srv/shared"),
        "/srv/shared",
        NONE,
        MsFlags::MS_BIND,
        NONE,
    )
    .unwrap();
    mount(NONE, "/srv/shared", NONE, MsFlags::MS_SHARED, NONE).unwrap();
}

fn without_landlock(manifest: &str) -> Daemon {
    let daemon = Daemon::spawn_with(PROGRAM, manifest, &[("TENANTD_LANDLOCK", "0")]);
    daemon.settles();
    daemon
}

fn mount_disk() {
    let nothing = MsFlags::empty();
    mount(Some("late"), DISK, Some("tmpfs"), nothing, NONE).unwrap();
}

/// The flags of the late mount in a tenant: `ro` or `rw`, and more.
fn flags(tenant: &TenantStatus) -> Option<String> {
    let file = format!("/proc/{}/mountinfo", tenant.pid.unwrap());
    let mounts = fs::read_to_string(file).unwrap();
    let mut lines = mounts.lines().map(|line| line.split(' '));
    let line = lines.find(|line| line.clone().nth(4) == Some(DISK))?;
    line.clone().nth(5).map(str::to_owned)
}

#[track_caller]
fn is_sealed(tenant: &TenantStatus) {
    until("the new mount is read-only", || {
        flags(tenant).filter(|flags| flags.starts_with("ro"))
    });
}

#[test]
fn status_says_what_protects_the_hosts_files() {
    host();
    let mut daemon = Daemon::start_settled(MANIFEST);
    let lid = daemon.tenant("acme").lid.unwrap();
    let version = lid.strip_prefix("landlock ").unwrap();
    assert!(version.parse::<u32>().unwrap() > 1, "{lid}");
    // It is that of the running launch, also for the next supervisor.
    daemon.kill();
    daemon.again();
    let adopted = daemon.settles().tenants;
    assert_eq!(adopted[0].lid, Some(lid.clone()));
    assert_eq!(adopted[0].confined, Some(lid.clone()));
    let said = daemon.tell(&["status", "acme"]).expect(0);
    assert!(
        said.contains(&format!("\n  HOST read-only ({lid})\n")),
        "{said}"
    );
    // Without Landlock no launch needs the host's mount table.
    mount_disk();
    let acme = daemon.tenant("acme");
    assert!(flags(&acme).unwrap().starts_with("rw"));
    daemon.tell(&["stop", "acme"]).expect(0);
    assert_eq!(daemon.tenant("acme").lid, None);
    place::unmount(DISK);
}

#[test]
fn a_writable_host_is_said() {
    host();
    let manifest = MANIFEST.replace("user =", "host = \"writable\"\nuser =");
    let daemon = Daemon::start_settled(&manifest);
    assert_eq!(daemon.tenant("acme").lid.as_deref(), Some("host writable"));
    let said = daemon.tell(&["status", "acme"]).expect(0);
    assert!(said.contains("\n  HOST writable: what it writes"), "{said}");
}

#[test]
fn without_landlock_a_new_mount_of_the_host_becomes_read_only() {
    host();
    let mut daemon = without_landlock(MANIFEST);
    let tenants = daemon.status().tenants;
    assert_eq!(tenants[0].lid.as_deref(), Some("mount watch"));
    // Both run as root.
    assert_eq!(tenants[0].confined.as_deref(), Some("none"));
    mount_disk();
    for tenant in &tenants {
        is_sealed(tenant);
    }
    // Only for them.
    fs::write(format!("{DISK}/file"), "the host's").unwrap();
    place::unmount(DISK);
    // What is their own stays writable.
    let inside = format!("/proc/{}/root", tenants[0].pid.unwrap());
    for path in ["/srv/data/file", "/tmp/file", "/run/file"] {
        fs::write(format!("{inside}{path}"), "own").unwrap();
    }
    let text = "2 tenants can write to a new mount of the host for a moment";
    let said = daemon.tell(&["status"]).expect(0);
    assert!(said.contains(text), "{said}");

    // Nobody watches while no supervisor runs; the next one finds it.
    daemon.kill();
    mount_disk();
    assert!(flags(&tenants[0]).unwrap().starts_with("rw"));
    daemon.again();
    daemon.settles();
    for tenant in &tenants {
        is_sealed(tenant);
    }
    place::unmount(DISK);
    // A tenant that is started with Landlock now is not watched any longer.
    daemon.tell(&["restart", "--all"]).expect(0);
    let acme = daemon.tenant("acme");
    assert!(acme.lid.unwrap().starts_with("landlock "));
}

#[test]
fn a_refused_write_is_shown_with_its_path_and_the_remedy() {
    host();
    folder("/srv/host-log");
    let program = script(
        "program",
        "echo x >/srv/host-log/access.log\necho x >/srv/host-log/access.log\n\
         echo x >/srv/data/own && echo 'Read-only file system: /srv/data/own'\n\
         logger -t app 'cannot open /srv/host-log/other.log: Read-only file system' || true\n\
         exec sleep 1000",
    );
    let manifest = MANIFEST.replace("\"/bin/sleep\", \"1000\"", &format!("{program:?}"));
    let daemon = Daemon::start_settled(&manifest);
    let acme = daemon.until_tenant("acme", |tenant| tenant.refused.len() == 2);
    let mut paths: Vec<_> = acme
        .refused
        .iter()
        .map(|it| it.path.clone().unwrap())
        .collect();
    paths.sort();
    assert_eq!(
        paths,
        ["/srv/host-log/access.log", "/srv/host-log/other.log"]
    );
    let is_line = |it: &RefusedWrite| it.line.contains("Read-only file system");
    assert!(acme.refused.iter().all(is_line));
    let said = daemon.tell(&["status", "acme"]).expect(0);
    for line in [
        "  REFUSED its log says that it tried to write /srv/host-log/access.log, which belongs to the host and \
         is read-only\n",
        "  NEXT give it a folder there: `folders = [\"/srv/host-log\"]` in [app.datastore], or list it in \
         `private` or `shared`\n",
    ] {
        assert!(said.contains(line), "{said}");
    }
    let warned = "acme: its log says that it tried to write /srv/host-log/access.log";
    assert_eq!(
        daemon.output().matches(warned).count(),
        1,
        "{}",
        daemon.output()
    );
    // The next launch begins without any, and finds its own.
    daemon.tell(&["restart", "acme"]).expect(0);
    daemon.until_tenant("acme", |tenant| tenant.refused.len() == 2);
    assert_eq!(daemon.output().matches(warned).count(), 2);
    daemon.tell(&["stop", "acme"]).expect(0);
    assert_eq!(daemon.tenant("acme").refused, []);
}
