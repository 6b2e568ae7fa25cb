//! tenantd runs an unchanged single-tenant program once per tenant, each copy in a network and a
//! mount namespace of its own, with its own address and its own datastore.
//!
//! The house, from the ground up (`ARCHITECTURE.md` is its map):
//!
//! | room | its one job |
//! |---|---|
//! | [`name`], [`stage`], `crash` | checked names; the steps of a launch and how one of them fails; where tests kill us |
//! | [`manifest`] | TOML as written → valid, or every problem with its place |
//! | [`plan`] | manifest and host facts → everything derived, nothing left to decide |
//! | [`supervisor`] | decides: events in, actions out; no clock, no I/O, no randomness |
//! | [`host`] | acts: namespaces, links, datastores, launches, processes, cgroups; decides nothing |
//! | [`wire`] | the words spoken on the control socket |
//! | [`daemon`] | the one loop between the two wings |
//! | [`client`], [`cli`] | what a person types, and the answer shown |
//!
//! `supervisor` and `host` never name each other, and nothing imports upwards; `tests/house`
//! checks it.

pub mod cli;
pub mod client;
mod crash;
pub mod daemon;
pub mod host;
pub mod manifest;
pub mod name;
pub mod plan;
pub mod stage;
pub mod supervisor;
pub mod wire;
