//! The report of a child that becomes the program.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tenantd_host::launch::fuzz_report(bytes));
