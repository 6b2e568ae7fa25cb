//! A simulated host, and the laws that each history on it must obey.

mod host;
pub(crate) mod law;
pub(crate) mod laws;
mod proof;
pub(crate) mod random;
mod truth;
pub(crate) mod world;
