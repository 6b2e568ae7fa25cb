//! The ledger's file, in memory alone: what is written is read, and what is damaged is struck out.

use proptest::prelude::proptest;
use rustix::fs::{MemfdFlags, memfd_create};

use super::super::super::record::Made;
use super::super::disk::tests::records::{addresses, any_record};
use super::*;
use tenantd_core::plan::effect::Fingerprints;
use tenantd_core::plan::holders::Holding;
use tenantd_core::supervisor::memory::Memory;
use tenantd_core::supervisor::time::Moment;

fn empty() -> LedgerFile {
    let file = memfd_create("ledger", MemfdFlags::CLOEXEC).unwrap();
    let mut ledger = LedgerFile::new(file.into(), "this one".to_owned());
    ledger.begin().unwrap();
    ledger
}

fn bytes(ledger: &LedgerFile) -> Vec<u8> {
    let mut bytes = vec![0; SLOT * (ledger.versions.of.len() + 1)];
    let _length = ledger.file.read_at(&mut bytes, 0).unwrap();
    bytes
}

/// The version that its head names.
fn head(ledger: &LedgerFile) -> u32 {
    let head = known(Path::new("/ledger"), &bytes(ledger)).unwrap();
    head.unwrap().version
}

fn record(tenant: &str, source: PathBuf) -> Record {
    let holds = Holding {
        addresses: std::net::Ipv4Addr::LOCALHOST.into(),
        source: Some(source),
    };
    Record {
        tenant: tenant.parse().unwrap(),
        memory: Memory::none(Moment::ZERO),
        process: None,
        netns: 0,
        made: Made {
            by: Fingerprints::NONE,
            holds: Some(holds),
        },
        program: None,
    }
}

fn written(ledger: &LedgerFile) -> (Vec<Record>, usize) {
    let legacy = empty().read(&bytes(ledger));
    let records = legacy.records.into_iter().map(|(_, record)| record);
    (records.collect(), legacy.damaged.len())
}

#[test]
fn a_record_is_read_as_it_was_written_and_a_path_that_is_too_long_is_left_out() {
    let mut ledger = empty();
    let short = record("short", "/srv/data".into());
    let long = record("long", format!("/{}", "x".repeat(4000)).into());
    ledger.write(&mut None, short.clone()).unwrap();
    ledger.write(&mut None, long.clone()).unwrap();
    let (records, damaged) = written(&ledger);
    assert_eq!((&records[0], damaged), (&short, 0));
    let made = records[1].made.clone();
    assert_eq!(made.holds.unwrap().source, None);
    assert_eq!(made.by, long.made.by);
}

#[test]
fn what_is_damaged_is_struck_out_and_its_place_used_again() {
    let mut ledger = empty();
    for tenant in ["a", "b"] {
        let record = record(tenant, "/srv/data".into());
        ledger.write(&mut None, record).unwrap();
    }
    ledger.file.write_all_at(b"?", Slot(0).offset()).unwrap();
    assert_eq!(written(&ledger).1, 1);
    let next = next(&ledger);
    assert_eq!(written(&next).1, 0);
    assert_eq!(next.free, [Slot(0)]);
}

/// The next supervisor's file.
fn next(ledger: &LedgerFile) -> LedgerFile {
    let mut next = empty();
    let bytes = bytes(ledger);
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
    let mut ledger = empty();
    assert_eq!(head(&ledger), 2);
    let (mut old, mut new) = (None, None);
    ledger
        .write(&mut old, record("old", "/srv/data".into()))
        .unwrap();
    assert_eq!(head(&ledger), 2);
    ledger.write(&mut new, later("new")).unwrap();
    assert_eq!(head(&ledger), 3);
    assert_eq!(head(&next(&ledger)), 3);
    let (records, damaged) = written(&ledger);
    assert_eq!((records.len(), damaged), (2, 0));
    // One that version 2 can hold takes its place.
    ledger
        .write(&mut new, record("new", "/srv/data".into()))
        .unwrap();
    assert_eq!(head(&ledger), 2);
    ledger.write(&mut new, later("new")).unwrap();
    ledger.strike_out(new.unwrap()).unwrap();
    assert_eq!(head(&ledger), 2);
    assert_eq!(head(&next(&ledger)), 2);
    assert_eq!(written(&ledger).0.len(), 1);
}

#[test]
fn a_head_that_is_damaged_does_not_hide_a_later_version() {
    let mut ledger = empty();
    ledger.write(&mut None, later("a")).unwrap();
    let unknown = line(r#"{"version":4,"who":"knows"}"#).unwrap();
    ledger.put(&mut None, 3, &unknown).unwrap();
    ledger.file.write_all_at(b"?", 0).unwrap();
    let refused = known(Path::new("/ledger"), &bytes(&ledger)).unwrap_err();
    let LedgerError::Later { found: 4, .. } = refused else {
        panic!("{refused}");
    };
    ledger.strike_out(Slot(1)).unwrap();
    let head = known(Path::new("/ledger"), &bytes(&ledger)).unwrap();
    assert!(head.is_none_or(|head| head.version == 3));
}

proptest! {
    #[test]
    fn a_slot_holds_any_record_whose_texts_are_short(record in any_record("\\PC{0,20}")) {
        let mut ledger = empty();
        ledger.write(&mut None, record.clone()).unwrap();
        let (records, damaged) = written(&ledger);
        assert_eq!((records.as_slice(), damaged), ([record].as_slice(), 0));
    }
}
