//! The modules that act on the host, on the real kernel. Each test has its own test host and needs
//! root.

#![allow(unreachable_pub, reason = "the shared modules are private here")]

#[path = "../support/refuse.rs"]
mod refuse;
#[path = "../support/mod.rs"]
mod support;

mod cgroup;
mod cli;
mod control;
mod controllers;
mod counters;
mod datastore;
mod facts;
mod guestbook;
mod launch;
mod logs;
mod network;
mod ready;
mod remembered;
mod residue;
