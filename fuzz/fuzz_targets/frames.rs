//! What the log collector passes on.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tenantd_daemon::fuzzing::frames(bytes));
