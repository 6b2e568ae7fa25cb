//! Records round-trip, have the same bytes as ever, and are readable by the previous program.

mod before;
mod forced;
mod phases;
pub(crate) mod records;
mod repair;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use proptest::prelude::{ProptestConfig, proptest};
use serde_json::{Value, json};

use crate::state_file::disk::*;
use records::{STATES, addresses, any_record, least, number, record, states};
use tenantd_core::plan::derive;
use tenantd_core::stage::Stage;
use tenantd_core::supervisor::checkpoint::State;
use tenantd_host::launch::{Domain, LaunchView, Lid};

/// Compares texts with the golden file of a version, which has each of them with its checksum. Its
/// lines never change, because such records exist on disks. `UPDATE=1` adds lines at its end.
fn holds_against(version: u32, texts: &[String]) {
    let file = format!("src/state_file/disk/tests/version-{version}.golden");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    let golden = fs::read_to_string(&path).unwrap();
    let lines = texts
        .iter()
        .map(|text| format!("{:012x} {text}\n", derive::hash(text)));
    let lines: String = lines.collect();
    if std::env::var_os("UPDATE").is_some() && lines.starts_with(&golden) {
        fs::write(&path, &lines).unwrap();
        return;
    }
    let pairs = lines.lines().zip(golden.lines());
    for (line, golden) in pairs {
        assert_eq!(line, golden);
    }
    assert_eq!(lines.len(), golden.len(), "UPDATE=1 adds lines");
}

fn written(record: &Record) -> (u32, String) {
    let (version, text) = encode(record).unwrap();
    let (read, again) = decode(&text).unwrap();
    assert_eq!((read, &again), (version, record), "{text}");
    (version, text)
}

#[test]
fn the_bytes_of_each_state_are_stable() {
    let all = states();
    let phases = phases::states();
    let numbers: BTreeSet<usize> = all.iter().chain(&phases).map(number).collect();
    assert!(numbers.into_iter().eq(0..STATES));
    let all = all.into_iter().map(record);
    let texts: Vec<String> = all
        .chain([least()])
        .chain(phases.into_iter().map(record))
        .chain(repair::records())
        .map(|record| {
            let (version, text) = written(&record);
            assert_eq!(version, 2);
            text
        })
        .collect();
    holds_against(2, &texts);
}

#[test]
fn the_previous_program_reads_version_2() {
    let stages = Stage::ALL.iter().map(|stage| {
        let why = tenantd_core::stage::Failure::detail(*stage, "", "");
        record(State::Stuck {
            left: tenantd_core::supervisor::checkpoint::Left::Network,
            why,
            tries: 0,
            retry_at: None,
        })
    });
    let states = states().into_iter().chain(phases::states());
    let records = states.map(record).chain(stages).chain(repair::records());
    for record in records {
        let (version, text) = written(&record);
        assert_eq!(version, 2);
        before_reads(&text);
    }
}

#[test]
fn what_is_known_of_the_mounts_is_kept_and_ignored_by_others() {
    let view = LaunchView {
        lid: Some(Lid::Landlock(7)),
        domain: Some(Domain::Landlock(7)),
        mount_namespace: 4_026_532_009,
    };
    let with = Record {
        view: Some(view),
        main: None,
        statement: crate::ready::notice::Statement::default(),
        ..record(State::Down)
    };
    let (_, text) = written(&with);
    assert!(
        text.ends_with(
            r#","view":{"lid":"landlock 7","mounts":4026532009,"domain":"landlock 7"}}"#
        )
    );
    before_reads(&text);
    // A lid of a later version is not known.
    let later = changed(|value| value["view"] = json!({"lid": "lead 1", "mounts": 1}));
    let view = later.unwrap().1.view.unwrap();
    assert_eq!(
        (view.lid, view.domain, view.mount_namespace),
        (None, None, 1)
    );
}

fn before_reads(text: &str) {
    let read: before::Record = serde_json::from_str(text).unwrap();
    // It ignores unknown fields, and would write all others with the same bytes.
    let later = [
        "\"later_stage\":",
        "\"view\":",
        "\"killed\":",
        "\"phase\"",
        "\"success\"",
        "\"ended\"",
        "\"exited\":",
        "\"left_others\":",
        "\"main\":",
        "\"own\":",
        "\"says\":",
        "\"last\":",
        "\"repair\":",
        "\"offline\":",
    ];
    if !later.iter().any(|later| text.contains(later)) {
        assert_eq!(serde_json::to_string(&read).unwrap(), text);
    }
}

#[test]
fn the_previous_program_reads_the_head() {
    let head = Head {
        version: 2,
        boot: "b".to_owned(),
    };
    let text = serde_json::to_string(&head).unwrap();
    assert_eq!(text, r#"{"version":2,"boot":"b"}"#);
    let read: before::Head = serde_json::from_str(&text).unwrap();
    assert_eq!(serde_json::to_string(&read).unwrap(), text);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn records_round_trip(record in any_record("\\PC{0,60}|.{0,9}")) {
        let (version, text) = written(&record);
        if version == 2 {
            before_reads(&text);
        }
    }
}

#[test]
fn several_addresses_and_ipv6_need_version_3() {
    let holding = |list: &[&str]| {
        let mut record = record(State::Down);
        record.made.holds.as_mut().unwrap().addresses = addresses(list);
        written(&record)
    };
    let lists: [&[&str]; 3] = [
        &["10.77.0.11", "10.77.0.12"],
        &["10.77.0.11", "fd00::11"],
        &["fd00::11"],
    ];
    let texts = lists.map(|list| {
        let (version, text) = holding(list);
        assert_eq!(version, 3);
        text
    });
    holds_against(3, &texts);
    assert_eq!(holding(&["10.77.0.11"]).0, 2);
}

/// A changed record of version 2.
fn changed(change: impl FnOnce(&mut Value)) -> Result<(u32, Record), Unreadable> {
    let (_, text) = written(&record(State::Down));
    let mut value = serde_json::from_str(&text).unwrap();
    change(&mut value);
    decode(&value.to_string())
}

#[test]
fn unknown_fields_of_a_known_version_are_ignored() {
    let expected = record(State::Down);
    let (version, read) = changed(|value| {
        value["later"] = json!({"any": [1, "thing"]});
        value["memory"]["later"] = json!(1);
        value["process"]["later"] = json!(null);
        value["made"]["holds"]["later"] = json!("x");
        // The value that the program of 2157092 wrote.
        value["plan"] = json!(123);
    })
    .unwrap();
    assert_eq!((version, read), (2, expected));
}

#[test]
fn invalid_records_are_refused() {
    let error = |change: fn(&mut Value)| changed(change).unwrap_err();
    let version = error(|value| value["version"] = json!(4));
    assert!(matches!(version, Unreadable::Version(4)), "{version}");
    let name = error(|value| value["tenant"] = json!("a/b"));
    assert!(matches!(name, Unreadable::Name { .. }), "{name}");
    let process = error(|value| value["process"]["pid"] = json!(0));
    assert!(matches!(process, Unreadable::Process(0)), "{process}");
    let made = error(|value| drop(value.as_object_mut().unwrap().remove("made")));
    assert!(
        matches!(made, Unreadable::Form { version: 2, .. }),
        "{made}"
    );
    let word = error(|value| value["memory"]["state"] = json!("asleep"));
    assert!(
        matches!(word, Unreadable::Form { version: 2, .. }),
        "{word}"
    );
}

#[test]
fn a_newer_stage_is_written_with_the_nearest_older_one() {
    let stuck = |why: Value| {
        let state = json!({"stuck": {"left": "network", "why": why, "tries": 0, "retry_at": null}});
        let (_, record) = changed(|value| value["memory"]["state"] = state)?;
        let State::Stuck { why, .. } = record.checkpoint.state else {
            panic!("{record:?}");
        };
        Ok(why.stage)
    };
    let why = |stage: &str, later: &str| json!({"stage": stage, "object": "", "errno": 1, "detail": "", "later_stage": later});
    let read: Result<Stage, Unreadable> = stuck(why("exec", "not-known-here"));
    assert_eq!(read.unwrap(), Stage::Exec);
    assert_eq!(stuck(why("exec", "lock")).unwrap(), Stage::Lock);
    let unknown = stuck(why("not-known", "here")).unwrap_err();
    assert!(matches!(unknown, Unreadable::Stage(_)), "{unknown}");
}

#[test]
fn stage_names_are_unique() {
    let mut later = BTreeSet::new();
    for &it in Stage::ALL {
        let names = stage::name(it);
        assert_eq!(
            stage::named(names.later.unwrap_or(names.in_version_2)),
            Some(it)
        );
        // The name of a newer stage must differ from all older ones.
        assert!(names.later.is_none_or(|name| later.insert(name)));
    }
}

#[test]
fn every_field_of_a_state_must_be_named() {
    for text in [include_str!("write.rs"), include_str!("read.rs")] {
        let pattern = text
            .lines()
            .find(|line| line.trim_start().starts_with(".."));
        assert_eq!(pattern, None, "a new field must not compile");
        assert!(!text.contains(".. }") && !text.contains(", .."));
    }
}
