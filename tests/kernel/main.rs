//! The parts that act, on the real kernel: each test in a test host of its own. They need root.

#![allow(unreachable_pub, reason = "the shared modules are private here")]

#[path = "../support/refuse.rs"]
mod refuse;
#[path = "../support/mod.rs"]
mod support;

mod cgroup;
mod cli;
mod control;
mod datastore;
mod facts;
mod guestbook;
mod launch;
mod logs;
mod network;
mod ready;
mod residue;
