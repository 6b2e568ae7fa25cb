//! Rules that the compiler does not check, applied to all source files: dependencies between
//! modules of the core, no I/O in the core, the maximum length of files, and words that must not be
//! used.
//!
//! For each rule, a test here shows that it can fail.

mod code;
mod rules;

use std::fs;
use std::path::Path;

use code::File;
use rules::{LINES_MAX, MODULES, RULES};
use rules::{forks, head, host, layers, length, phrases, purity, unsafety, words};

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

fn sources() -> Vec<File> {
    let mut files = Vec::new();
    for folder in ["src", "crates", "tests", "examples", "benches"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        if folder.exists() {
            read(&folder, &mut files);
        }
    }
    for path in ["src/lib.rs", "crates/tenantd-core/src/lib.rs"] {
        assert!(files.iter().any(|file| file.path == path), "{path}");
    }
    files
}

#[test]
fn every_file_keeps_the_rules() {
    let mut problems = Vec::new();
    for file in sources() {
        let found = RULES.iter().flat_map(|rule| rule(&file));
        problems.extend(found.map(|problem| format!("{}: {problem}", file.path)));
    }
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

#[test]
fn modules_name_only_rows_above_them() {
    for (index, (module, allowed)) in MODULES.iter().enumerate() {
        for named in *allowed {
            assert!(
                MODULES[..index].iter().any(|(below, _)| below == named),
                "{module}: {named}"
            );
        }
    }
}

fn problems(rule: fn(&File) -> Vec<String>, path: &str, text: &str) -> Vec<String> {
    rule(&File::new(path, text))
}

#[test]
fn a_forbidden_dependency_is_found_in_every_form() {
    let core =
        |path: &str, text| problems(layers, &format!("crates/tenantd-core/src/{path}"), text);
    for text in [
        "use crate::supervisor::Supervisor;",
        "pub use crate::{name::AppName, supervisor::{self, view}};",
        "fn f() { let x = 'a'; crate::supervisor::f::<'static>(\"{\") }",
        "use super::super::supervisor;",
    ] {
        assert_eq!(
            core("plan/build.rs", text),
            ["plan may not name supervisor"]
        );
    }
    assert_eq!(
        core("manifest/mod.rs", "use super::plan::x;"),
        ["manifest may not name plan"]
    );
    assert_eq!(core("attic.rs", "").len(), 1);
    let fine = "// crate::plan\nconst A: &str = r#\"crate::plan \"\"#; use crate::name::AppName;";
    assert_eq!(core("manifest/read.rs", fine), [""; 0]);
}

#[test]
fn a_decision_in_the_host_crate_is_found() {
    let found = |text| problems(host, "crates/tenantd-host/src/netns.rs", text);
    assert_eq!(
        found("use tenantd_core::{plan, supervisor::Supervisor};"),
        ["the host crate may not name tenantd_core::supervisor"]
    );
    assert_eq!(found("use tenantd_core::plan::model::Plan;"), [""; 0]);
}

#[test]
fn io_in_the_core_is_found() {
    let found = |text| problems(purity, "crates/tenantd-core/src/plan/build.rs", text);
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
        problems(purity, "crates/tenantd-host/src/link.rs", "use std::fs;"),
        [""; 0]
    );
}

#[test]
fn the_other_rules_can_fail() {
    let count = |rule, path: &str, text: &str| problems(rule, path, text).len();
    assert_eq!(count(length, "tests/a.rs", &"\n".repeat(LINES_MAX)), 0);
    assert_eq!(count(length, "tests/a.rs", &"\n".repeat(LINES_MAX + 1)), 1);
    let unsafety =
        |path: &str, text| count(unsafety, &format!("crates/tenantd-host/src/{path}"), text);
    assert_eq!(unsafety("launch/fork.rs", "unsafe { f() }"), 0);
    assert_eq!(unsafety("quota/raw.rs", "unsafe { f() }"), 0);
    assert_eq!(unsafety("quota/place.rs", "unsafe { f() }"), 1);
    assert_eq!(unsafety("process.rs", "fn f() { unsafe { g() } }"), 1);
    assert_eq!(unsafety("process.rs", "#![allow(unsafe_code)]"), 1);
    let forks = |text| count(forks, "crates/tenantd-host/src/keeper.rs", text);
    for text in [
        "unsafe { libc::fork() }",
        "command.pre_exec(f)",
        "command.uid(0)",
        "libc::SYS_clone3",
        "Command::new(\"nft\")",
    ] {
        assert_eq!(forks(text), 1, "{text}");
    }
    assert_eq!(forks("seen.uid(); Command::new(\"/proc/self/exe\")"), 0);
    assert_eq!(
        count(words, "src/link.rs", "struct LinkManager; fn helper() {}"),
        1
    );
    assert_eq!(
        count(words, "src/link_utils.rs", "mod ctx { struct Jobs; }"),
        2
    );
    let unclear = "// It is made\n// anew.\nfn f() {}\n/// Whoever holds it lets go.\nstruct A;";
    assert_eq!(count(phrases, "src/link.rs", unclear), 3);
    let clear = "fn anew() { g(\"for good\") } // No other nobodies.";
    assert_eq!(count(phrases, "src/link.rs", clear), 0);
    assert_eq!(count(head, "src/plan/build.rs", "//! Builds.\n"), 0);
    assert_eq!(count(head, "src/plan/build.rs", "use std::fmt;\n"), 1);
}
