//! A simulated host, and the laws (invariants) that every history on it must obey.

mod deaths;
mod host;
mod inherit;
pub(crate) mod law;
pub(crate) mod laws;
mod live;
mod manifests;
pub(crate) mod plans;
mod policies;
mod proof;
mod random;
mod reload;
mod rest;
mod truth;
pub(crate) mod world;
