//! Messages of sd_notify(3).

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tenantd_daemon::fuzzing::notice(bytes));
