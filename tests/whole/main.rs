//! The whole program, as an operator runs it: real programs of the distribution and our own
//! example, in a test host each.

#![allow(unreachable_pub, reason = "the shared modules are private here")]

#[path = "../support/mod.rs"]
mod support;

#[allow(dead_code, reason = "the simulation uses all of it")]
#[path = "../sim/random.rs"]
mod random;

mod bridge;
mod crowd;
mod downtime;
mod ending;
mod guestbook;
mod join;
mod leaving;
mod ledger;
mod lines;
mod names;
mod namespaces;
mod nginx;
mod paper;
mod redis;
mod reload;
mod rolling;
mod survivors;
mod unrecorded;
mod upgrade;
mod wants;
