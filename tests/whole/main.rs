//! The whole program, as an operator runs it: with real programs of the distribution and with the
//! example program, each test in a test host.

#![allow(unreachable_pub, reason = "the shared modules are private here")]

#[path = "../support/refuse.rs"]
mod refuse;
#[path = "../support/mod.rs"]
mod support;

#[allow(dead_code, reason = "the simulation uses all of it")]
#[path = "../pure/sim/random.rs"]
mod random;

mod alive;
mod announced;
mod background;
mod bad_days;
mod before;
mod both_families;
mod bridge;
mod chaos;
mod crash;
mod crowd;
mod daemons;
mod deaths;
mod deputies;
mod descriptors;
mod detaching;
mod downtime;
mod editing;
mod ending;
mod ends;
mod exited;
mod exposed;
mod files;
mod firewall;
mod flapping;
mod flushed;
mod folders;
mod guestbook;
mod guide;
mod history;
mod hostile_syslog;
mod hosts_folder;
mod join;
mod keeper;
mod kill;
mod leak_test;
mod learn;
mod lid;
mod limited;
mod limits;
mod lines;
mod log_files;
mod lookups;
mod macs;
mod macvlan;
mod magic_links;
mod main_process;
mod meter;
mod metrics;
mod more_time;
mod mtu;
mod names;
mod namespaces;
mod network_exchange;
mod network_taken;
mod network_watch;
mod nginx;
mod notices;
mod ocf;
mod offline;
mod one_writer;
mod operators;
mod orders;
mod own_users;
mod paper;
mod papers;
mod pause;
mod phases;
mod rates;
mod reach;
mod readers;
mod recipes;
mod redis;
mod rehearsal;
mod reload;
mod reload_app;
mod resolve_hook;
mod rolling;
mod run_tenant;
mod screens;
mod secrets;
mod set_by_hand;
mod starting;
mod state_file;
mod stretch;
mod survivors;
mod sweeps;
mod syslog;
mod taken_away;
mod terminal;
mod timeline;
mod too_many;
mod top;
mod unexecuted;
mod unrecorded;
mod upgrade;
mod uplink;
mod vanished;
mod verify;
mod visitors;
mod want_of_resources;
mod wants;
mod watch;
mod watchdog;
