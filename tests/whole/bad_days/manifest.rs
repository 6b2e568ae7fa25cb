//! Manifests that cannot be read, or not completely.

use std::fs;

use crate::bad_days::{host, manifest};
use crate::support::daemon::{tenantd, write_manifest};

#[track_caller]
fn refused(path: &str, wanted: &[&str]) {
    for command in ["run", "check", "plan"] {
        let said = tenantd(&[command, "--config", path]);
        assert_eq!(said.code, 78, "{said:?}");
        let text = format!("{}{}", said.out, said.err);
        for word in wanted {
            assert!(text.contains(word), "{command}: {word:?} is not in\n{text}");
        }
    }
    assert_eq!(fs::read_dir("/run").unwrap().count(), 0);
}

#[test]
fn a_missing_manifest_is_named() {
    host();
    refused("/srv/none.toml", &["/srv/none.toml", "No such file"]);
    refused("/srv", &["/srv", "directory"]);
}

#[test]
fn a_truncated_manifest_is_reported_with_its_last_line() {
    host();
    let whole = manifest("/srv/idle", "", "");
    let half = &whole[..whole.rfind("10.77.0.12").unwrap()];
    let path = write_manifest("wiki", half);
    let line = half.lines().count();
    refused(path.to_str().unwrap(), &[&format!("wiki.toml:{line}")]);
}

#[test]
fn a_binary_manifest_is_reported() {
    host();
    let path = "/srv/bytes.toml";
    fs::write(path, b"[app]\nname = \"\xff\xfe\"\n").unwrap();
    refused(path, &[path, "UTF-8"]);
}
