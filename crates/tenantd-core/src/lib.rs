//! The part of tenantd without I/O: from the text of a manifest to the supervisor's decisions.
//!
//! | module | purpose |
//! |---|---|
//! | [`name`], [`stage`] | validated names; the steps of a launch and their failures |
//! | [`machine_id`] | ids of tenants in place of that of the host |
//! | [`capability`], [`system_calls`] | what processes may do; the filter of system calls |
//! | [`manifest`] | parses TOML into valid values, or reports every problem with its position |
//! | [`plan`] | derives the plan from the manifest and facts about the host |
//! | [`supervisor`] | decides: takes events, returns actions |
//! | [`mod@unit`] | makes a manifest from a unit of systemd |
//! | [`learn`] | makes a manifest from what a program was seen to do |
//!
//! Nothing in this crate reads a clock, a file or a socket, uses random numbers, or depends on the
//! order of a hash map: the same input gives the same output. So it can be tested without root, and
//! by simulation with thousands of random histories per second.

#![forbid(unsafe_code)]

pub mod capability;
pub mod cgroup;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod layout;
pub mod learn;
pub mod machine_id;
pub mod manifest;
pub mod name;
pub mod plan;
pub mod rights;
pub mod stage;
pub mod supervisor;
pub mod sysctl;
pub mod system_calls;
pub mod unit;
