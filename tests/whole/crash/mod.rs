//! Kills the supervisor at each of its crash points (`crash.rs` of the host crate), one after
//! another. The next supervisor must reach the wanted state from there: every tenant is up and
//! answers, each datastore has one launch, tenants that are not involved are not interrupted, and
//! nothing is left at the end. The same is done with `gc`, with a running supervisor and without
//! one.

mod collect;
mod drive;
mod editing;
mod exchange;
mod folders;
mod init;
mod main_process;
mod points;
mod scene;
mod uids;
