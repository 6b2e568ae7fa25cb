//! The pure part of tenantd: from a manifest's text to the decisions of a supervisor.
//!
//! | module | its one job |
//! |---|---|
//! | [`name`], [`stage`] | checked names; the steps of a launch and how one of them fails |
//! | [`manifest`] | TOML as written → valid values, or every problem with its place |
//! | [`plan`] | manifest and host facts → everything derived, nothing left to decide |
//! | [`supervisor`] | decides: events in, actions out |
//!
//! Nothing in this crate reads a clock, a file or a socket, or depends on chance or on the order of
//! a hash map: the same input gives the same output. So it is tested without root, and by
//! simulation with thousands of random histories a second.

#![forbid(unsafe_code)]

pub mod layout;
pub mod manifest;
pub mod name;
pub mod plan;
pub mod stage;
pub mod supervisor;
