//! `add` and `remove` as an operator types them: what becomes of the manifest's file, and who else can
//! change it.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support;
use crate::support::daemon::{PROGRAM, tenantd};

fn manifest() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wiki.toml");
    let text = "\u{feff}[app]\r\nname = \"edited\"\r\ncommand = [\"/bin/true\"]\r\nuser = \"root\"\r\n\
                datastore = { path = \"/srv\" }\r\n[tenants]\r\nacme = { ip = \"10.77.0.11\" }";
    fs::write(&path, text).unwrap();
    (folder, path)
}

fn lines(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    text.split("\r\n").map(str::to_owned).collect()
}

#[test]
fn processes_that_add_at_the_same_time_all_succeed() {
    support::enter();
    let (folder, path) = manifest();
    let mut adding = Vec::new();
    for number in 20..26 {
        let mut command = Command::new(PROGRAM);
        let command = command.args([
            "add",
            &format!("t{number}"),
            &format!("ip=10.77.0.{number}"),
        ]);
        let command = command.arg("--config").arg(&path).stdout(Stdio::null());
        adding.push(command.spawn().unwrap());
    }
    for mut child in adding {
        assert!(child.wait().unwrap().success());
    }
    let text = fs::read_to_string(&path).unwrap();
    assert!(
        text.starts_with('\u{feff}') && !text.ends_with('\n'),
        "{text:?}"
    );
    assert_eq!(lines(&path).len(), 13, "{text:?}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    for number in 20..26 {
        let config = path.to_str().unwrap();
        tenantd(&["remove", &format!("t{number}"), "--config", config]).expect(0);
    }
    assert_eq!(lines(&path).len(), 7);
}

#[test]
fn check_names_who_else_can_change_the_manifest() {
    support::enter();
    let (_folder, path) = manifest();
    let config = path.to_str().unwrap();
    let finding = || {
        let said = tenantd(&["check", "--json", "--config", config]).expect(0);
        let json: Value = serde_json::from_str(&said).unwrap();
        let host = json["host"].as_array().unwrap().clone();
        host.into_iter()
            .find(|it| it["subject"] == "manifest")
            .unwrap()
    };
    assert_eq!(finding()["grade"], "good");
    chown(&path, None, Some(33)).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o664)).unwrap();
    let weak = finding();
    assert_eq!(weak["grade"], "weak");
    let found = weak["found"].as_str().unwrap();
    let named = format!("group www-data can write {config}, and so execute any program as root");
    assert!(found.starts_with(&named), "{found}");
    // It may be intended, and the edit keeps it.
    tenantd(&["add", "beta", "ip=10.77.0.12", "--config", config]).expect(0);
    let seen = fs::metadata(&path).unwrap();
    assert_eq!((seen.gid(), seen.mode() & 0o7777), (33, 0o664));
}
