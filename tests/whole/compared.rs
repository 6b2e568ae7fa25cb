//! `benches/compare` on results whose difference is known.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

/// Twenty samples around a value, by at most a twentieth of it.
fn around(value: f64) -> Vec<f64> {
    let part = |number: u32| value * (0.95 + f64::from(number * 7 % 20) / 200.0);
    (0..20).map(part).collect()
}

fn figure(name: &str, samples: &[f64], floor: Option<f64>) -> Value {
    json!({
        "name": name,
        "judged": true,
        "measured": samples[samples.len() / 2],
        "found": { "samples": samples },
        "floor": floor.map(|floor| json!({ "p50": floor })),
    })
}

fn result(bench: &str, figures: &[Value]) -> Value {
    json!({
        "schema": 1,
        "bench": bench,
        "revision": "0123456789abcdef",
        "date": "2026-11-28T00:00:00Z",
        "kernel": "6.1.0",
        "processors": 2,
        "load": { "begin": [0.5, 0.5, 0.5], "end": [0.5, 0.5, 0.5] },
        "figures": figures,
    })
}

/// Compares two results, and returns the exit status and what was printed.
fn compare(folder: &Path, old: &str, new: &str, options: &[&str]) -> (i32, String) {
    let write = |name: &str, text: &str| -> PathBuf {
        let path = folder.join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let files = [write("old.json", old), write("new.json", new)];
    let done = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/benches/compare"))
        .args(options)
        .args(files)
        .output()
        .unwrap();
    let said = [done.stdout, done.stderr].concat();
    (
        done.status.code().unwrap(),
        String::from_utf8(said).unwrap(),
    )
}

/// The verdict about a figure.
fn verdict<'a>(said: &'a str, name: &str) -> &'a str {
    let line = said.lines().find(|line| line.starts_with(name)).unwrap();
    let (_, verdict) = line.trim_end().rsplit_once("  ").unwrap();
    verdict
}

#[test]
fn a_change_is_more_than_the_noise_and_over_the_floor() {
    let folder = tempfile::tempdir().unwrap();
    let old = result(
        "restart",
        &[
            figure("grown", &around(10.0), Some(1.0)),
            figure("shrunk", &around(10.0), None),
            figure("little", &around(10.0), Some(1.0)),
            figure("loaded", &around(10.0), Some(1.0)),
            figure("once", &[1.0], None),
            figure("zero", &[0.0; 20], None),
        ],
    );
    let new = result(
        "restart",
        &[
            figure("grown", &around(15.0), Some(1.0)),
            figure("shrunk", &around(5.0), None),
            figure("little", &around(10.7), Some(1.0)),
            // The machine took twice as long for everything.
            figure("loaded", &around(20.0), Some(2.0)),
            figure("once", &[2.0], None),
            figure("zero", &[0.0; 20], None),
        ],
    );
    let (old, new) = (old.to_string(), new.to_string());
    let (status, said) = compare(folder.path(), &old, &new, &[]);
    assert_eq!(status, 1, "{said}");
    for (name, expected) in [
        ("grown", "SLOWER"),
        ("shrunk", "faster"),
        ("little", "same"),
        ("loaded", "same"),
        ("once", "not judged: 1 and 1 values"),
        ("zero", "same"),
    ] {
        assert_eq!(verdict(&said, name), expected, "{said}");
    }
    // The other way round, and with another least ratio.
    let (status, said) = compare(folder.path(), &new, &old, &["--least", "1.05"]);
    assert_eq!(status, 1, "{said}");
    assert_eq!(verdict(&said, "grown"), "faster", "{said}");
    assert_eq!(verdict(&said, "shrunk"), "SLOWER", "{said}");
    assert_eq!(verdict(&said, "little"), "faster", "{said}");
    let (status, said) = compare(folder.path(), &old, &old, &[]);
    assert_eq!(status, 0, "{said}");
    assert!(said.contains("6 figures: 0 slower, 0 faster"), "{said}");
}

#[test]
fn five_runs_are_five_values_whatever_their_samples() {
    let folder = tempfile::tempdir().unwrap();
    let run = |value: f64| result("restart", &[figure("only", &around(value), Some(1.0))]);
    let runs = |values: [f64; 5]| Value::from(Vec::from(values.map(run))).to_string();
    // Each run differs more from the next one of its revision than the samples within it.
    let old = runs([10.0, 14.0, 11.0, 13.0, 12.0]);
    let mixed = runs([12.5, 13.5, 10.5, 14.5, 11.5]);
    let slower = runs([20.0, 24.0, 21.0, 23.0, 22.0]);
    let (status, said) = compare(folder.path(), &old, &mixed, &[]);
    assert_eq!((status, verdict(&said, "only")), (0, "same"), "{said}");
    let (status, said) = compare(folder.path(), &old, &slower, &[]);
    assert_eq!((status, verdict(&said, "only")), (1, "SLOWER"), "{said}");
}

#[test]
fn what_cannot_be_compared_is_said_and_is_no_slower_figure() {
    let folder = tempfile::tempdir().unwrap();
    let one = |bench: &str, name: &str| result(bench, &[figure(name, &around(1.0), None)]);
    let good = one("restart", "only").to_string();
    let mut later = one("restart", "only");
    later["schema"] = 2.into();
    for (other, expected) in [
        ("", "new.json is empty: did the benchmark end?"),
        ("{", "new.json is not JSON"),
        ("[]", "not the result of a benchmark"),
        ("{\"figures\": 1}", "not the result of a benchmark"),
        (&later.to_string(), "its schema is 2, and only 1 is known"),
        (
            &one("network", "only").to_string(),
            "one is of the benchmark restart, the other of network",
        ),
        (
            &one("restart", "another").to_string(),
            "they have no figure in common",
        ),
        (
            &Value::from(vec![one("restart", "a"), one("launch", "a")]).to_string(),
            "results of several benchmarks: launch, restart",
        ),
    ] {
        let (status, said) = compare(folder.path(), &good, other, &[]);
        assert_eq!(status, 2, "{said}");
        assert!(said.contains(expected), "{expected}: {said}");
    }
}
