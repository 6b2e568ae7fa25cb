//! Launches on the real kernel, each test in a test host of its own.

#[path = "../support/mod.rs"]
mod support;

#[path = "../support/refuse.rs"]
mod refuse;

mod bench;
mod inside;
mod locks;
mod many;
mod mounts;
mod stages;
