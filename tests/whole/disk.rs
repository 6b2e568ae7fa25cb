//! Quotas of datastores, on a real btrfs. The kernel here lacks those of ext4 and xfs, which are shown on the booted machine.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::mount::{MsFlags, mount};

use crate::support::daemon::{CommandOutput, Daemon, tenantd};
use crate::support::place::{self, SRV};

/// Where the datastores are.
const DISK: &str = "/var/lib/tenantd";

#[track_caller]
fn shell(text: &str) -> String {
    let output = Command::new("sh").args(["-ec", text]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}: {output:?}");
    said.trim_end().to_owned()
}

/// A test host whose datastores are on btrfs. The device goes with the mount.
fn disk() {
    place::host();
    let image = format!("{SRV}/disk");
    shell(&format!(
        "truncate -s 256M {image} && mkfs.btrfs -q -m single {image}"
    ));
    let device = shell(&format!("losetup --find --show {image}"));
    let none: Option<&str> = None;
    mount(
        Some(device.as_str()),
        DISK,
        Some("btrfs"),
        MsFlags::empty(),
        none,
    )
    .unwrap();
    shell(&format!("losetup -d {device}"));
}

fn manifest(app: &str, acme: &str) -> String {
    place::folder("/var/lib/wiki");
    format!(
        "[app]\nname = \"{app}\"\nuser = \"root\"\ncommand = [\"/bin/sleep\", \"infinity\"]\n\
         datastore.path = \"/var/lib/wiki\"\nstop.grace = \"1s\"\n[tenants]\n\
         acme = {{ ip = \"10.77.0.11\"{acme} }}\nbolt = {{ ip = \"10.77.0.12\" }}\n"
    )
}

/// What `check` says of a manifest that it refuses.
#[track_caller]
fn refused(text: &str) -> String {
    let path = format!("{SRV}/check.toml");
    fs::write(&path, text).unwrap();
    let CommandOutput { code, out, err } = tenantd(&["check", "--config", &path]);
    assert_eq!(code, 1, "{out}{err}");
    // Lines are wrapped.
    let words: Vec<&str> = out
        .split_whitespace()
        .chain(err.split_whitespace())
        .collect();
    words.join(" ")
}

#[track_caller]
fn edit(daemon: &Daemon, old: &str, new: &str) {
    let text = fs::read_to_string(&daemon.manifest).unwrap();
    assert!(text.contains(old), "{old:?} is not in {text}");
    fs::write(&daemon.manifest, text.replacen(old, new, 1)).unwrap();
    daemon.tell(&["reload"]).expect(0);
}

fn datastore(daemon: &Daemon, tenant: &str) -> PathBuf {
    Path::new(DISK).join(&daemon.app).join(tenant)
}

/// Runs a command in a tenant.
fn inside(daemon: &Daemon, tenant: &str, text: &str) -> CommandOutput {
    daemon.tell(&["exec", tenant, "--", "sh", "-c", text])
}

/// Writes so many mebibytes, once those before are free: that takes a commit. Returns whether all were.
#[track_caller]
fn writes(daemon: &Daemon, tenant: &str, mebibytes: u32) -> bool {
    let text = format!(
        "cd /var/lib/wiki && rm -f data && sync -f . && dd if=/dev/zero of=data bs=1M conv=fsync count={mebibytes}"
    );
    let output = inside(daemon, tenant, &text);
    let is_full = output.err.contains("Disk quota exceeded");
    assert_eq!(output.code != 0, is_full, "{output:?}");
    !is_full
}

#[test]
fn a_tenant_that_has_used_its_quota_writes_no_more_and_its_neighbour_does() {
    disk();
    // Refused before the filesystem counts, and for what it cannot do.
    let limits = ", limits = { disk.max = \"20 MiB\" }";
    let said = refused(&manifest("wiki", limits));
    let line = "quotas are off in the btrfs filesystem of /var/lib/tenantd: type `btrfs quota enable --simple /var/lib/tenantd`";
    assert!(said.contains(line), "{said}");
    shell(&format!("btrfs quota enable {DISK}"));
    let said = refused(&manifest("wiki", ", limits = { disk.files = 9 }"));
    assert!(
        said.contains("btrfs does not limit files: remove `disk.files`"),
        "{said}"
    );
    let mut daemon = Daemon::start_settled(&manifest("APP", limits));
    let (acme, bolt) = (datastore(&daemon, "acme"), datastore(&daemon, "bolt"));
    // Each new datastore can have a quota.
    assert_eq!(
        (
            fs::metadata(&acme).unwrap().ino(),
            fs::metadata(&bolt).unwrap().ino()
        ),
        (256, 256)
    );
    let pid = daemon.tenant("acme").pid;
    assert!(!writes(&daemon, "acme", 30) && writes(&daemon, "bolt", 30));
    // What is used is counted with each commit.
    shell(&format!("sync -f {DISK}"));
    let status = daemon.tell(&["status", "acme"]).expect(0);
    assert!(status.contains("MiB; disk.max 20 MiB; 9"), "{status}");
    assert!(
        status.contains("% are used: beyond it, writes fail with EDQUOT"),
        "{status}"
    );
    // More by hand, and by a reload, and no quota at last: live.
    daemon.tell(&["set", "acme", "disk.max=40MiB"]).expect(0);
    assert!(writes(&daemon, "acme", 30));
    let status = daemon.tell(&["status", "acme"]).expect(0);
    assert!(
        status.contains("BY HAND disk.max 40 MiB; the manifest has 20 MiB"),
        "{status}"
    );
    daemon.tell(&["verify"]).expect(0);
    edit(&daemon, "20 MiB", "50 MiB");
    assert!(!writes(&daemon, "acme", 60) && writes(&daemon, "acme", 45));
    // Another program changes it.
    shell(&format!("btrfs qgroup limit none {}", acme.display()));
    let said = daemon.tell(&["verify"]);
    assert!(
        said.out.contains("disk.max 50 MiB") && said.code != 0,
        "{said:?}"
    );
    daemon.tell(&["verify", "--repair"]).expect(0);
    assert!(!writes(&daemon, "acme", 60));
    // So it is after the death of the supervisor.
    daemon.kill();
    shell(&format!("btrfs qgroup limit none {}", acme.display()));
    daemon.again();
    daemon.settles();
    daemon.until_tenant("acme", |tenant| !tenant.applying);
    assert!(!writes(&daemon, "acme", 60));
    edit(&daemon, &limits.replace("20", "50"), "");
    assert!(writes(&daemon, "acme", 60));
    assert_eq!(daemon.tenant("acme").pid, pid);
    daemon.end();
}

#[test]
fn no_tenant_leaves_its_quota() {
    disk();
    shell(&format!("btrfs quota enable {DISK}"));
    let app_text = manifest("APP", ", limits = { disk.max = \"20 MiB\" }");
    let text = app_text.replace("user = \"root\"", "user = \"nobody\"");
    let daemon = Daemon::start_settled(&text);
    let acme = datastore(&daemon, "acme");
    let make =
        "btrfs subvolume create inner && dd if=/dev/zero of=inner/data bs=1M count=30 status=none";
    // Without the filter, a user of the host with a folder of its own does.
    let folder = shell(&format!(
        "btrfs subvolume create {DISK}/free >&2; btrfs qgroup limit 20M {DISK}/free; chown nobody {DISK}/free; chmod 755 {DISK}; echo {DISK}/free"
    ));
    shell(&format!(
        "cd {folder} && setpriv --reuid nobody --clear-groups sh -ec '{make}'"
    ));
    let output = inside(&daemon, "acme", &format!("cd /var/lib/wiki && {make}"));
    assert!(output.err.contains("Operation not permitted"), "{output:?}");
    assert!(!acme.join("inner").exists());
    assert!(!writes(&daemon, "acme", 30));
    daemon.end();
}

#[test]
fn a_datastore_that_cannot_have_a_quota_is_refused() {
    disk();
    let limits = ", limits = { disk.max = \"20 MiB\" }";
    shell(&format!(
        "btrfs quota enable {DISK} && mkdir -p {DISK}/wiki/acme && echo x > {DISK}/wiki/acme/file"
    ));
    let text = manifest("wiki", limits);
    let said = refused(&text);
    let acme = format!("{DISK}/wiki/acme");
    let line = format!(
        "mv {acme} {acme}.plain && btrfs subvolume create {acme} && cp -a --reflink=auto {acme}.plain/. {acme}"
    );
    assert!(said.contains(&line), "{said}");
    // What is to be typed mends it.
    shell(&line);
    assert_eq!(
        tenantd(&["check", "--config", &format!("{SRV}/check.toml")]).code,
        0
    );
    assert_eq!(fs::read_to_string(format!("{acme}/file")).unwrap(), "x\n");
    // Other filesystems.
    place::fresh(DISK, "mode=755");
    let said = refused(&text);
    assert!(
        said.contains(
            "its filesystem (tmpfs, mounted at /var/lib/tenantd) has no quotas of folders"
        ),
        "{said}"
    );
}
