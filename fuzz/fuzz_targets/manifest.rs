//! Manifests: reading, planning, and the edits of `add` and `remove`.

#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| tenantd_core::fuzzing::manifest(text));
