//! The state file on a memory file: records are read as written, and damaged ones are erased.

use proptest::prelude::proptest;
use rustix::fs::{MemfdFlags, memfd_create};
use tenantd_core::stage::{Failure, Stage};
use tenantd_core::supervisor::offline::{Offline, Repair};
use tenantd_core::supervisor::view::Why;

use crate::state_file::disk::tests::records::{addresses, any_record};
use crate::state_file::record::Made;
use crate::state_file::slots::*;
use tenantd_core::plan::effect::Fingerprints;
use tenantd_core::plan::holders::Holding;
use tenantd_core::supervisor::checkpoint::Checkpoint;
use tenantd_core::supervisor::time::Moment;

fn empty() -> SlotFile {
    let file = memfd_create("ledger", MemfdFlags::CLOEXEC).unwrap();
    let mut state_file = SlotFile::new(file.into(), "this one".to_owned());
    state_file.begin().unwrap();
    state_file
}

fn bytes(state_file: &SlotFile) -> Vec<u8> {
    let mut bytes = vec![0; SLOT * (state_file.versions.of.len() + 1)];
    let _length = state_file.file.read_at(&mut bytes, 0).unwrap();
    bytes
}

/// The version in the head of the file.
fn head(state_file: &SlotFile) -> u32 {
    let head = known(Path::new("/ledger"), &bytes(state_file)).unwrap();
    head.unwrap().version
}

fn record(tenant: &str, source: PathBuf) -> Record {
    let holds = Holding {
        addresses: std::net::Ipv4Addr::LOCALHOST.into(),
        source: Some(source),
    };
    Record {
        tenant: tenant.parse().unwrap(),
        checkpoint: Checkpoint::none(Moment::ZERO),
        process: None,
        netns: 0,
        made: Made {
            by: Fingerprints::NONE,
            holds: Some(holds),
        },
        program: None,
        view: None,
        main: None,
        statement: crate::ready::notice::Statement::default(),
    }
}

fn written(state_file: &SlotFile) -> (Vec<Record>, usize) {
    let previous = empty().read(&bytes(state_file));
    let records = previous.records.into_iter().map(|(_, record)| record);
    (records.collect(), previous.damaged.len())
}

#[test]
fn records_round_trip_except_for_paths_that_are_too_long() {
    let mut state_file = empty();
    let short = record("short", "/srv/data".into());
    let long = record("long", format!("/{}", "x".repeat(4000)).into());
    state_file.write(&mut None, short.clone()).unwrap();
    state_file.write(&mut None, long.clone()).unwrap();
    let (records, damaged) = written(&state_file);
    assert_eq!((&records[0], damaged), (&short, 0));
    let made = records[1].made.clone();
    assert_eq!(made.holds.unwrap().source, None);
    assert_eq!(made.by, long.made.by);
}

/// Over the control socket a command may be longer than a slot, and so may be why its tenant had failed.
#[test]
fn a_long_command_of_exec_offline_is_shortened() {
    let mut state_file = empty();
    let mut record = record("acme", "/srv/data".into());
    let long = || "x".repeat(4000);
    record.checkpoint.repair = Some(Repair {
        offline: Offline {
            client: 4711,
            command: long(),
        },
        failed: Some(Why::Failure(Failure::detail(Stage::Exec, long(), long()))),
        stopped: false,
        outdated: None,
    });
    state_file.write(&mut None, record.clone()).unwrap();
    let (records, damaged) = written(&state_file);
    assert_eq!(damaged, 0);
    let repair = records[0].checkpoint.repair.as_ref().unwrap();
    assert!(repair.offline.command.starts_with("xxx"));
    assert_eq!(records[0].made.holds, record.made.holds);
}

#[test]
fn a_damaged_record_is_erased_and_its_slot_reused() {
    let mut state_file = empty();
    for tenant in ["a", "b"] {
        let record = record(tenant, "/srv/data".into());
        state_file.write(&mut None, record).unwrap();
    }
    state_file
        .file
        .write_all_at(b"?", Slot(0).offset())
        .unwrap();
    assert_eq!(written(&state_file).1, 1);
    let next = next(&state_file);
    assert_eq!(written(&next).1, 0);
    assert_eq!(next.free, [Slot(0)]);
}

/// The next supervisor's file.
fn next(state_file: &SlotFile) -> SlotFile {
    let mut next = empty();
    let bytes = bytes(state_file);
    next.file.write_all_at(&bytes, 0).unwrap();
    next.read(&bytes);
    next.begin().unwrap();
    next
}

/// A record that version 2 cannot hold.
fn later(tenant: &str) -> Record {
    let mut record = record(tenant, "/srv/data".into());
    record.made.holds.as_mut().unwrap().addresses = addresses(&["10.77.0.11", "fd00::11"]);
    record
}

#[test]
fn the_head_names_the_highest_version_of_all_records() {
    let mut state_file = empty();
    assert_eq!(head(&state_file), 2);
    let (mut old, mut new) = (None, None);
    state_file
        .write(&mut old, record("old", "/srv/data".into()))
        .unwrap();
    assert_eq!(head(&state_file), 2);
    state_file.write(&mut new, later("new")).unwrap();
    assert_eq!(head(&state_file), 3);
    assert_eq!(head(&next(&state_file)), 3);
    let (records, damaged) = written(&state_file);
    assert_eq!((records.len(), damaged), (2, 0));
    // A record of version 2 replaces it.
    state_file
        .write(&mut new, record("new", "/srv/data".into()))
        .unwrap();
    assert_eq!(head(&state_file), 2);
    state_file.write(&mut new, later("new")).unwrap();
    state_file.erase(new.unwrap()).unwrap();
    assert_eq!(head(&state_file), 2);
    assert_eq!(head(&next(&state_file)), 2);
    assert_eq!(written(&state_file).0.len(), 1);
}

#[test]
fn a_damaged_head_does_not_hide_a_later_version() {
    let mut state_file = empty();
    state_file.write(&mut None, later("a")).unwrap();
    let unknown = line(r#"{"version":4,"who":"knows"}"#).unwrap();
    state_file.put(&mut None, 3, &unknown).unwrap();
    state_file.file.write_all_at(b"?", 0).unwrap();
    let refused = known(Path::new("/ledger"), &bytes(&state_file)).unwrap_err();
    let StateFileError::Later { found: 4, .. } = refused else {
        panic!("{refused}");
    };
    state_file.erase(Slot(1)).unwrap();
    let head = known(Path::new("/ledger"), &bytes(&state_file)).unwrap();
    assert!(head.is_none_or(|head| head.version == 3));
}

proptest! {
    #[test]
    fn a_slot_holds_any_record_whose_texts_are_short(record in any_record("\\PC{0,20}")) {
        let mut state_file = empty();
        state_file.write(&mut None, record.clone()).unwrap();
        let (records, damaged) = written(&state_file);
        assert_eq!((records.as_slice(), damaged), ([record].as_slice(), 0));
    }
}
