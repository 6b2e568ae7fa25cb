//! The plan: manifest and host facts, with everything derived and nothing left to decide.
//!
//! Both wings stand on it: `supervisor` reads a tenant's [`model::Policy`], `host` carries out the
//! rest. Pure: no I/O, no clock.

pub mod model;
