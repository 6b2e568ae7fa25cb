//! Tests of replacing: what a new file must have of the old one, and what stays after a failure.

use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::Barrier;

use tempfile::TempDir;

use super::*;

fn file(text: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wiki.toml");
    fs::write(&path, text).unwrap();
    (folder, path)
}

/// The names in the file's folder.
fn names(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path.parent().unwrap()).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn inode(path: &Path) -> u64 {
    fs::metadata(path).unwrap().ino()
}

#[test]
fn a_file_is_replaced_and_nothing_is_left_beside_it() {
    let (_folder, path) = file("one");
    fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
    let before = inode(&path);
    let old = Old::read(&path).unwrap();
    old.replace("two").unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "two");
    assert_ne!(inode(&path), before);
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o640);
    assert_eq!(names(&path), ["wiki.toml"]);
}

#[test]
fn what_another_program_wrote_meanwhile_stays() {
    let (folder, path) = file("one");
    let old = Old::read(&path).unwrap();
    fs::write(&path, "theirs").unwrap();
    assert!(matches!(old.replace("two"), Err(ReplaceError::Changed)));
    assert_eq!(fs::read_to_string(&path).unwrap(), "theirs");
    drop(old);
    // The same text in another file: what it is called by now is that program's.
    let old = Old::read(&path).unwrap();
    let theirs = folder.path().join("theirs");
    fs::write(&theirs, "theirs").unwrap();
    fs::rename(&theirs, &path).unwrap();
    let replaced = inode(&path);
    assert!(matches!(old.replace("two"), Err(ReplaceError::Changed)));
    assert_eq!(inode(&path), replaced);
    fs::remove_file(&path).unwrap();
    assert!(matches!(old.replace("two"), Err(ReplaceError::Changed)));
    assert!(names(&path).is_empty());
}

#[test]
fn what_a_dead_process_left_is_no_obstacle() {
    let (_folder, path) = file("one");
    fs::write(beside(&path, "new"), "half").unwrap();
    fs::write(beside(&path, "part"), "half").unwrap();
    Old::read(&path).unwrap().replace("two").unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "two");
    fs::hard_link(&path, path.with_extension("link")).unwrap();
    Old::read(&path).unwrap().replace("three").unwrap();
    assert_eq!(names(&path), ["wiki.link", "wiki.toml"]);
}

#[test]
fn edits_at_the_same_time_follow_each_other() {
    let (_folder, path) = file("");
    let begin = Barrier::new(8);
    thread::scope(|scope| {
        for number in 0..8 {
            let (path, begin) = (&path, &begin);
            scope.spawn(move || {
                begin.wait();
                let old = Old::read(path).unwrap();
                let text = format!("{}{number}\n", old.text());
                old.replace(&text).unwrap();
            });
        }
    });
    let text = fs::read_to_string(&path).unwrap();
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["0", "1", "2", "3", "4", "5", "6", "7"]);
}

#[test]
fn all_names_of_a_file_get_the_new_text() {
    let (folder, path) = file("a long text");
    let second = folder.path().join("second.toml");
    fs::hard_link(&path, &second).unwrap();
    let link = folder.path().join("link.toml");
    symlink("second.toml", &link).unwrap();
    Old::read(&link).unwrap().replace("short").unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "short");
    assert_eq!(inode(&path), inode(&second));
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(names(&path), ["link.toml", "second.toml", "wiki.toml"]);
}

#[test]
fn half_an_edit_in_place_is_never_taken_for_a_text() {
    let (_folder, path) = file("half");
    let before = beside(&path, "before");
    assert_eq!(interrupted(&path, b"half").unwrap(), None);
    fs::write(&before, "old").unwrap();
    fs::write(beside(&path, "new"), "new").unwrap();
    let found = Interrupted { before };
    assert_eq!(interrupted(&path, b"half").unwrap(), Some(found));
    let refused = Old::read(&path).unwrap_err();
    assert!(matches!(refused, ReplaceError::Interrupted(_)));
    for whole in ["old", "new"] {
        assert_eq!(interrupted(&path, whole.as_bytes()).unwrap(), None);
    }
    // It was not begun: the next edit removes what was left.
    fs::write(&path, "old").unwrap();
    Old::read(&path).unwrap().replace("newer").unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "newer");
    assert_eq!(names(&path), ["wiki.toml"]);
}

#[test]
fn what_is_no_text_file_is_refused() {
    let (folder, path) = file("one");
    fs::write(&path, b"ab\xff").unwrap();
    assert!(matches!(Old::read(&path), Err(ReplaceError::NotText(2))));
    let folder = Old::read(folder.path());
    assert!(matches!(folder, Err(ReplaceError::NotRegular)));
    let missing = Old::read(&path.with_extension("none"));
    assert!(matches!(missing, Err(ReplaceError::Unreadable(_))));
}

mod as_root;
