//! The wing that acts: namespaces, links, datastores, launches, processes, cgroups.
//!
//! It carries out what a plan says and reports how it went; it decides nothing, and it never names
//! the other wing, `supervisor`.

pub mod cgroup;
pub mod datastore;
pub mod doctor;
pub mod facts;
pub mod fifo;
pub mod heritage;
pub mod launch;
pub mod limits;
pub mod lock;
pub mod netns;
pub mod network;
pub mod process;
pub mod program;
pub mod runtime;
pub mod wants;
