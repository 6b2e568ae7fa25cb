//! The whole program, as an operator runs it: real programs of the distribution and our own
//! example, in a test host each.

#![allow(unreachable_pub, reason = "the shared modules are private here")]

#[path = "../support/mod.rs"]
mod support;

mod bridge;
mod crowd;
mod ending;
mod guestbook;
mod join;
mod leaving;
mod namespaces;
mod nginx;
mod paper;
mod redis;
mod rolling;
mod survivors;
