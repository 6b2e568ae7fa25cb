//! Golden files of mistakes on the command line: `tests/golden/typed/NAME.txt` has the line as it
//! is typed, what tenantd prints, and the exit code. Those in `alone` are typed where no supervisor
//! runs; for the others it is that of [`Script`], whose application is written as `APP`.
//!
//! `UPDATE=1 cargo test --test kernel mistakes` updates the files; then read the diff.

use std::fs;
use std::path::{Path, PathBuf};

use super::*;

fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let files = fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path());
    let mut files: Vec<_> = files.filter(|file| file.is_file()).collect();
    files.sort();
    files
}

/// What is typed and printed, as in a terminal.
fn typed(line: &str, app: &str) -> String {
    let words = line.strip_prefix("$ tenantd ").expect("a line as typed");
    let words = words.replace("APP", app);
    let words: Vec<&str> = words
        .split(' ')
        .map(|word| word.trim_matches('\''))
        .collect();
    let output = run(&words);
    let printed = [output.stdout, output.stderr].concat();
    let printed = String::from_utf8(printed).unwrap().replace(app, "APP");
    let code = output.status.code().unwrap();
    format!("{line}\n{printed}exit code {code}\n")
}

#[track_caller]
fn check(folder: &str, app: &str) -> usize {
    let files = files(folder);
    for file in &files {
        let golden = fs::read_to_string(file).unwrap();
        let said = typed(golden.lines().next().unwrap(), app);
        if std::env::var_os("UPDATE").is_some() {
            fs::write(file, said).unwrap();
        } else {
            assert_eq!(said, golden, "{}", file.display());
        }
    }
    files.len()
}

#[test]
fn each_mistake_has_a_message_that_says_what_to_type() {
    support::enter();
    let count = check("tests/golden/typed/alone", "APP");
    let script = Script::new();
    let app = script.app.to_string();
    script.serve();
    let count = count + check("tests/golden/typed", &app);
    assert!(count >= 20, "only {count} mistakes were found");
}
