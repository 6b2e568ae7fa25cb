//! Reads and changes the state file of an application whose supervisor is dead.

use std::fs;

use serde_json::Value;
use tenantd_core::plan::derive::hash;

/// The size of a slot in bytes.
const SLOT: usize = 2048;

fn path(app: &str) -> String {
    format!("/run/tenantd/{app}/ledger")
}

/// The position of a tenant's slot, or of the head.
fn place(bytes: &[u8], tenant: Option<&str>) -> usize {
    let mut slots = bytes.chunks(SLOT).enumerate();
    let is_it = |slot: &[u8]| match (parse(slot), tenant) {
        (Some(record), Some(tenant)) => record["tenant"] == tenant,
        (Some(head), None) => head["version"].is_u64(),
        (None, _) => false,
    };
    let found = slots.find(|(_, slot)| is_it(slot));
    found.expect("it has a slot").0 * SLOT
}

fn parse(slot: &[u8]) -> Option<Value> {
    let (check, text) = std::str::from_utf8(slot).ok()?.trim().split_once(' ')?;
    assert_eq!(check, format!("{:012x}", hash(text)));
    Some(serde_json::from_str(text).unwrap())
}

fn change(app: &str, tenant: Option<&str>, change: impl FnOnce(&mut Value)) {
    let mut bytes = fs::read(path(app)).unwrap();
    let at = place(&bytes, tenant);
    let mut record = parse(&bytes[at..at + SLOT]).unwrap();
    change(&mut record);
    let text = record.to_string();
    let line = format!("{:012x} {text}", hash(&text));
    let line = format!("{line:width$}\n", width = SLOT - 1);
    bytes[at..at + SLOT].copy_from_slice(line.as_bytes());
    fs::write(path(app), bytes).unwrap();
}

/// The record of a tenant.
pub fn record(app: &str, tenant: &str) -> Value {
    let bytes = fs::read(path(app)).unwrap();
    let at = place(&bytes, Some(tenant));
    parse(&bytes[at..at + SLOT]).unwrap()
}

/// Changes the record of a tenant.
pub fn edit(app: &str, tenant: &str, edit: impl FnOnce(&mut Value)) {
    change(app, Some(tenant), edit);
}

/// Changes the head of the state file.
pub fn edit_head(app: &str, edit: impl FnOnce(&mut Value)) {
    change(app, None, edit);
}

/// Makes the record of a tenant unreadable.
pub fn damage(app: &str, tenant: &str) {
    let mut bytes = fs::read(path(app)).unwrap();
    let at = place(&bytes, Some(tenant));
    bytes[at + 20] ^= 1;
    fs::write(path(app), bytes).unwrap();
}
