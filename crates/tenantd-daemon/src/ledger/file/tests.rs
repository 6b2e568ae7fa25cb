//! The ledger's file, in memory alone: what is written is read, and what is damaged is struck out.

use rustix::fs::{MemfdFlags, memfd_create};

use super::super::super::record::Made;
use super::*;
use tenantd_core::plan::effect::Fingerprints;
use tenantd_core::plan::holders::Holding;
use tenantd_core::supervisor::memory::Memory;
use tenantd_core::supervisor::time::Moment;

fn empty() -> LedgerFile {
    LedgerFile {
        file: memfd_create("ledger", MemfdFlags::CLOEXEC).unwrap().into(),
        free: Vec::new(),
        damaged: Vec::new(),
        slots: 0,
    }
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
    let mut bytes = vec![0; SLOT * (ledger.slots as usize + 1)];
    let _length = ledger.file.read_at(&mut bytes, 0).unwrap();
    let legacy = empty().read(&bytes);
    let records = legacy.records.into_iter().map(|(_, record)| record);
    (records.collect(), legacy.damaged)
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
    let mut next = empty();
    let mut bytes = vec![0; SLOT * 3];
    let _length = ledger.file.read_at(&mut bytes, 0).unwrap();
    next.file.write_all_at(&bytes, 0).unwrap();
    assert_eq!(next.read(&bytes).damaged, 1);
    next.begin("this one".to_owned()).unwrap();
    assert_eq!(written(&next).1, 0);
    assert_eq!(next.free, [Slot(0)]);
}
