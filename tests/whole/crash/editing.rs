//! Kills `tenantd add` at each of its crash points. The manifest has its old text or the new one
//! then; if it may be half of each, nothing reads it before an operator has decided.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};

use crate::support;
use crate::support::daemon::{CRASH_AT, CommandOutput, PROGRAM, in_time, run, tenantd};

const BY_RENAME: [&str; 3] = [
    "edit: new file made",
    "edit: new file written",
    "edit: exchanged",
];

const IN_PLACE: [&str; 3] = [
    "edit: old text kept",
    "edit: half written in place",
    "edit: written in place",
];

/// The crash points that are tested here.
pub(super) fn points() -> impl Iterator<Item = &'static str> {
    BY_RENAME.into_iter().chain(IN_PLACE)
}

const TENANTS: &str = "[tenants]\nacme = { ip = \"10.77.0.11\" }\n";
const ADDED: &str = "beta = { ip = \"10.77.0.12\" }\n";
const APP: &str = "\n[app]\nname = \"edited\"\nuser = \"root\"\ncommand = [\"/bin/true\"]\ndatastore = { path = \"/srv\" }\n";

/// The tenants are in the first half, so that half of an edit differs from both texts.
fn manifest() -> (tempfile::TempDir, PathBuf, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wiki.toml");
    let text = format!("{TENANTS}{APP}");
    fs::write(&path, &text).unwrap();
    (folder, path, text)
}

fn add(path: &Path, tenant: &str, ip: &str) -> CommandOutput {
    let config = path.to_str().unwrap();
    tenantd(&["add", tenant, ip, "--config", config])
}

fn die_at(point: &str, path: &Path) {
    let mut command = std::process::Command::new(PROGRAM);
    let command = command
        .args(["add", "beta", "ip=10.77.0.12", "--config"])
        .arg(path);
    let output = command.env(CRASH_AT, point).output().unwrap();
    assert_eq!(output.status.signal(), Some(9), "{point}: {output:?}");
}

fn names(folder: &Path) -> usize {
    fs::read_dir(folder).unwrap().count()
}

#[test]
fn an_edit_that_dies_leaves_the_old_or_the_new_manifest() {
    support::enter();
    for (in_place, point) in BY_RENAME
        .map(|point| (false, point))
        .into_iter()
        .chain([(true, IN_PLACE[0]), (true, IN_PLACE[2])])
    {
        let (folder, path, text) = manifest();
        if in_place {
            fs::hard_link(&path, folder.path().join("second")).unwrap();
        }
        die_at(point, &path);
        let left = fs::read_to_string(&path).unwrap();
        let is_new = matches!(point, "edit: exchanged" | "edit: written in place");
        let wanted = match is_new {
            true => format!("{TENANTS}{ADDED}{APP}"),
            false => text,
        };
        assert_eq!(left, wanted, "{point}");
        let config = path.to_str().unwrap();
        tenantd(&["plan", "--config", config]).expect(0);
        add(&path, "gamma", "ip=10.77.0.13").expect(0);
        assert_eq!(names(folder.path()), 1 + usize::from(in_place), "{point}");
    }
}

#[test]
fn half_a_manifest_is_refused_until_it_is_corrected() {
    support::enter();
    let (folder, path, text) = manifest();
    fs::hard_link(&path, folder.path().join("second")).unwrap();
    die_at(IN_PLACE[1], &path);
    let before = folder.path().join(".wiki.toml.tenantd-before");
    assert_eq!(fs::read_to_string(&before).unwrap(), text);
    let config = path.to_str().unwrap();
    let refused = [
        tenantd(&["check", "--config", config]),
        tenantd(&["run", "--config", config]),
        add(&path, "gamma", "ip=10.77.0.13"),
    ];
    for refused in refused {
        assert_ne!(refused.code, 0, "{refused:?}");
        let said = refused.err.replace("\n", " ");
        assert!(said.contains(".wiki.toml.tenantd-before"), "{said}");
    }
    fs::write(&path, text).unwrap();
    tenantd(&["plan", "--config", config]).expect(0);
    let mut remove = in_time("rm");
    run(remove.arg(&before)).expect(0);
    add(&path, "gamma", "ip=10.77.0.13").expect(0);
    assert_eq!(names(folder.path()), 2);
}
