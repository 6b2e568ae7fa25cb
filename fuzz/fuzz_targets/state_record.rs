//! A record of the state file.

#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| tenantd_daemon::fuzzing::state_record(text));
