//! The rules of the house, held against its files: who may name whom, what the pure rooms may not
//! touch, how long a file may be, which words are not ours, and a map that shows every file.
//!
//! Each rule has a test here which shows that it can fail.

mod code;
mod rules;

use std::fs;
use std::path::Path;

use code::File;
use rules::{LINES_MAX, ROOMS, RULES, WINGS};
use rules::{errors, head, layers, length, map, purity, unsafety, words};

fn read(folder: &Path, files: &mut Vec<File>) {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut entries: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            read(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let short = path.strip_prefix(top).unwrap().to_str().unwrap();
            files.push(File::new(short, &fs::read_to_string(&path).unwrap()));
        }
    }
}

fn house() -> Vec<File> {
    let mut files = Vec::new();
    for folder in ["src", "tests", "examples", "benches"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        if folder.exists() {
            read(&folder, &mut files);
        }
    }
    assert!(files.iter().any(|file| file.path == "src/lib.rs"));
    files
}

#[test]
fn every_file_keeps_the_rules() {
    let mut problems = Vec::new();
    for file in house() {
        let found = RULES.iter().flat_map(|rule| rule(&file));
        problems.extend(found.map(|problem| format!("{}: {problem}", file.path)));
    }
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

#[test]
fn the_map_shows_every_file() {
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/ARCHITECTURE.md")).unwrap();
    let problems = map(&text, &house());
    assert!(
        problems.is_empty(),
        "\nin ARCHITECTURE.md:\n{}",
        problems.join("\n")
    );
}

#[test]
fn the_table_knows_no_way_up() {
    for (index, (room, allowed)) in ROOMS.iter().enumerate() {
        for named in *allowed {
            assert!(
                ROOMS[..index].iter().any(|(below, _)| below == named),
                "{room}: {named}"
            );
        }
        let both = WINGS.iter().all(|wing| allowed.contains(wing));
        assert_eq!(both, *room == "daemon", "{room}");
        let wing_names_wing = WINGS.contains(room) && WINGS.iter().any(|w| allowed.contains(w));
        assert!(!wing_names_wing, "{room}");
    }
}

fn problems(rule: fn(&File) -> Vec<String>, path: &str, text: &str) -> Vec<String> {
    rule(&File::new(path, text))
}

#[test]
fn a_way_up_is_found_however_it_is_written() {
    let found = |path, text| problems(layers, path, text);
    for text in [
        "use crate::host::Netns;",
        "pub use crate::{name::AppName, host::{self, link}};",
        "fn f() { let x = 'a'; crate::host::f::<'static>(\"{\") }",
        "use super::super::host;",
    ] {
        assert_eq!(
            found("src/supervisor/tenant.rs", text),
            ["supervisor may not name host"]
        );
    }
    assert_eq!(
        found("src/host/mod.rs", "use super::daemon::x;"),
        ["host may not name daemon"]
    );
    assert_eq!(found("src/attic.rs", "").len(), 1);
    let fine = "// crate::host\nconst A: &str = r#\"crate::host \"\"#; use crate::plan::model;";
    assert_eq!(found("src/supervisor/tenant.rs", fine), [""; 0]);
}

#[test]
fn impurity_is_found() {
    let found = |text| problems(purity, "src/plan/build.rs", text);
    for text in [
        "use std::{fmt, fs::{self, File}};",
        "fn f() { std::net::TcpStream::connect(1) }",
        "use std::time::{Duration, Instant};",
        "#[tokio::main] fn f() {}",
        "fn f(p: &Path) -> bool { p.exists() }",
    ] {
        assert_eq!(found(text).len(), 1, "{text}");
    }
    let fine =
        "use std::net::Ipv4Addr; use std::time::Duration;\n#[cfg(test)]\nmod t { use std::fs; }";
    assert_eq!(found(fine), [""; 0]);
    assert_eq!(
        problems(purity, "src/host/link.rs", "use std::fs;"),
        [""; 0]
    );
}

#[test]
fn the_other_rules_can_fail_too() {
    let count = |rule, path, text: &str| problems(rule, path, text).len();
    assert_eq!(count(length, "tests/a.rs", &"\n".repeat(LINES_MAX)), 0);
    assert_eq!(count(length, "tests/a.rs", &"\n".repeat(LINES_MAX + 1)), 1);
    assert_eq!(
        count(unsafety, "src/host/launch/fork.rs", "unsafe { f() }"),
        0
    );
    assert_eq!(
        count(unsafety, "src/host/process.rs", "fn f() { unsafe { g() } }"),
        1
    );
    assert_eq!(
        count(unsafety, "src/host/process.rs", "#![allow(unsafe_code)]"),
        1
    );
    assert_eq!(
        count(errors, "src/daemon/mod.rs", "use anyhow::Context as _;"),
        0
    );
    assert_eq!(
        count(errors, "src/plan/build.rs", "use anyhow::Context as _;"),
        1
    );
    assert_eq!(
        count(
            words,
            "src/host/link.rs",
            "struct LinkManager; fn helper() {}"
        ),
        1
    );
    assert_eq!(
        count(words, "src/host/link_utils.rs", "mod ctx { struct Jobs; }"),
        2
    );
    assert_eq!(count(head, "src/plan/build.rs", "//! Builds.\n"), 0);
    assert_eq!(count(head, "src/plan/build.rs", "use std::fmt;\n"), 1);
}

#[test]
fn the_map_says_what_to_change() {
    let files = [
        File::new("src/a.rs", "//! Does a."),
        File::new("src/b/c.rs", "//! Does c,\n//! and well. More.\n//!\n//! x"),
    ];
    let text = "| `src/a.rs` | a |\n| `src/old.rs` | old |\n| `src/a.rs` | again |\n";
    let wanted = [
        "add: | `src/b/c.rs` | Does c, and well |",
        "remove: | `src/old.rs` |",
        "remove: | `src/a.rs` |",
    ];
    assert_eq!(map(text, &files), wanted);
}
