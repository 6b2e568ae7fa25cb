//! A simulated host, and the invariants that hold in every history on it.

pub(crate) mod checker;
mod deaths;
mod ends;
mod exited;
mod extend;
mod host;
mod inherit;
pub(crate) mod invariant;
mod link;
mod live;
mod manifests;
mod model;
mod offline;
mod phases;
pub(crate) mod plans;
mod policies;
mod proof;
pub(crate) mod random;
mod reload;
mod requests;
mod rest;
mod stopping;
pub(crate) mod world;
