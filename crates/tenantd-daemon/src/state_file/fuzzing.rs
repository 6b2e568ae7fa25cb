//! A damaged state file, for the fuzzer.

use crate::state_file::disk;

/// Reads a record of the state file.
///
/// # Panics
/// If a record that was read is another one after it was written.
pub fn state_record(text: &str) {
    let Ok((_, record)) = disk::decode(text) else {
        return;
    };
    let (version, text) = disk::encode(&record).expect("a record is JSON");
    let (same_version, same) = disk::decode(&text).expect("what was written can be read");
    assert_eq!(version, same_version);
    assert_eq!(format!("{record:?}"), format!("{same:?}"));
}
