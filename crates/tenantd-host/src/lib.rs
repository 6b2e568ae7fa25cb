//! What tenantd does to the host: namespaces, links, datastores, launches, processes, cgroups.
//!
//! It carries out what a plan says and reports how it went. It decides nothing, and it names nothing
//! of `tenantd_core::supervisor`, which does. All `unsafe` code of tenantd is in [`launch`].

pub mod cgroup;
pub mod crash;
pub mod datastore;
pub mod doctor;
pub mod facts;
pub mod fifo;
pub mod inherited;
pub mod join;
pub mod launch;
pub mod limits;
pub mod lock;
pub mod netns;
pub mod network;
pub mod process;
pub mod program;
pub mod runtime;
pub mod wants;
