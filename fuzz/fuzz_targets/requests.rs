//! Requests on the control socket.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tenantd_daemon::fuzzing::requests(bytes));
