//! Networks of tenants on the real kernel, each test in a host of its own.

#![allow(unreachable_pub, reason = "the shared modules are private here")]

#[path = "../support/mod.rs"]
mod support;

mod failing;
mod host;
mod release;
mod shape;
