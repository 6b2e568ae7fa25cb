//! Launches on the real kernel, each test in a test host of its own.

mod bench;
mod inside;
mod limits;
mod locks;
mod many;
mod mounts;
mod stages;
