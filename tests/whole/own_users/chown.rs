//! A tenant whose user is changed: its data is given to the new one before.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;

use serde_json::Value;

use super::{host, manifest, rewrite, uid};
use crate::support::daemon::{CommandOutput, Daemon, tenantd};
use crate::support::place::folder;

const NOBODY: u32 = 65534;

fn owner(path: &str) -> (u32, u32) {
    let found = fs::symlink_metadata(path).unwrap();
    (found.uid(), found.gid())
}

fn give(daemon: &Daemon, more: &[&str]) -> CommandOutput {
    let config = daemon.manifest.display().to_string();
    let arguments = ["chown", "--config", &config, "acme"].into_iter();
    tenantd(&arguments.chain(more.iter().copied()).collect::<Vec<_>>())
}

/// What a tenant, and a careless operator, may have made.
fn fill(data: &str) {
    let deep = format!("{data}/{}", "deep/".repeat(600));
    let mut at = std::path::PathBuf::from(data);
    for part in Path::new(&deep).strip_prefix(data).unwrap() {
        at.push(part);
        fs::create_dir(&at).unwrap();
    }
    for name in ["file", "set-id"] {
        fs::write(format!("{data}/{name}"), name).unwrap();
    }
    fs::set_permissions(format!("{data}/set-id"), Permissions::from_mode(0o4755)).unwrap();
    fs::hard_link(format!("{data}/file"), format!("{data}/deep/same")).unwrap();
    fs::write("/var/lib/tenantd/secret", "root's").unwrap();
    fs::hard_link("/var/lib/tenantd/secret", format!("{data}/stolen")).unwrap();
    folder("/srv/root");
    symlink("/srv/root", format!("{data}/link")).unwrap();
    let entries = ["file", "set-id", "link", "deep"];
    for entry in entries {
        let path = format!("{data}/{entry}");
        std::os::unix::fs::lchown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    }
}

#[test]
fn data_is_given_to_another_user_and_nothing_else_is() {
    host();
    let daemon = Daemon::start_settled(&manifest("nobody"));
    let data = format!("/var/lib/tenantd/{}/acme", daemon.app);
    fill(&data);

    rewrite(&daemon, "\"nobody\"", "\"per-tenant\"");
    let diff = daemon.tell(&["diff"]);
    assert!(
        diff.out.contains("`tenantd chown` gives it 70000:70000"),
        "{diff:?}"
    );
    let refused = daemon.tell(&["reload"]);
    assert_eq!(refused.code, 1, "{refused:?}");
    let said = refused.out + &refused.err;
    assert!(said.contains("tenantd chown"), "{said}");
    assert_eq!(uid_of_nobody(&daemon), NOBODY, "nothing has changed");

    let refused = give(&daemon, &[]);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.out.contains("uses it"), "{refused:?}");
    daemon.tell(&["stop", "acme", "globex"]).expect(0);
    let counted = give(&daemon, &["--dry-run"]);
    assert!(
        counted.out.contains("605 files and folders would get"),
        "{counted:?}"
    );
    assert_eq!(owner(&data).0, NOBODY);

    // A part of it is done already, as after an interruption.
    chown(format!("{data}/file"), Some(70000), Some(70000)).unwrap();
    let given = give(&daemon, &["--json"]);
    assert_eq!(given.code, 1, "{given:?}");
    let given: Value = serde_json::from_str(&given.out).unwrap();
    let counts = ["changed", "unchanged", "left"].map(|key| given[key].as_u64().unwrap());
    assert_eq!(counts, [603, 2, 1], "{given}");
    let stolen = format!("{data}/stolen");
    assert_eq!(given["reasons"][0]["path"], stolen, "{given}");
    for entry in [
        "",
        "/file",
        "/set-id",
        "/link",
        "/deep/same",
        "/deep/deep/deep",
    ] {
        assert_eq!(owner(&format!("{data}{entry}")), (70000, 70000), "{entry}");
    }
    let mode = fs::metadata(format!("{data}/set-id")).unwrap().mode();
    assert_eq!(mode & 0o7777, 0o755);
    assert_eq!(owner("/srv/root").0, 0);
    assert_eq!(owner("/var/lib/tenantd/secret").0, 0);
    fs::remove_file(stolen).unwrap();
    assert!(give(&daemon, &[]).expect(0).starts_with("acme: 0 files"));

    // The data of globex is still nobody's.
    assert_eq!(daemon.tell(&["reload"]).code, 1);
    let config = daemon.manifest.display().to_string();
    tenantd(&["chown", "--config", &config, "globex"]).expect(0);
    daemon.tell(&["reload"]).expect(0);
    daemon.tell(&["start", "acme", "globex"]).expect(0);
    assert_eq!(
        [uid(&daemon, "acme"), uid(&daemon, "globex")],
        [70000, 70001]
    );
    daemon.end();
}

fn uid_of_nobody(daemon: &Daemon) -> u32 {
    let pid = daemon.tenant("acme").pid.unwrap();
    fs::metadata(format!("/proc/{pid}")).unwrap().uid()
}
