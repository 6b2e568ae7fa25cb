//! Everything that tenantd does on the host by system calls: namespaces, links, datastores,
//! launches, processes, cgroups.
//!
//! This crate carries out a plan and reports the result. It makes no decisions and does not depend
//! on `tenantd_core::supervisor`, which makes them. A function that fails returns a
//! [`Failure`](tenantd_core::stage::Failure) with the stage, the object and the errno, and leaves
//! nothing half-made unless its documentation says so.
//!
//! | module | its one job |
//! |---|---|
//! | [`network`], [`netns`] | the hub, and a namespace with a link per tenant |
//! | [`datastore`], [`claim`], [`lock`] | a tenant's folder, and the claim for one launch at a time |
//! | [`launch`], [`join`] | start a program in a tenant; run a command in a running one |
//! | [`cgroup`], [`process`], [`limits`] | track, signal, end and limit processes |
//! | [`children`] | make, register and reap the children of this process |
//! | [`hold`] | the process of a launch for a command of `exec --offline` |
//! | [`ipc`] | objects of System V IPC and message queues of a tenant's own user |
//! | [`main_process`] | the main process of a program in the background |
//! | [`fifo`], [`program`] | the pipes of a program's output; the file of a program |
//! | [`syslog`], [`notify`] | the sockets at `/dev/log` and in `NOTIFY_SOCKET` of a tenant |
//! | [`peer`] | where the process at the other end of a socket lives |
//! | [`inbox`], [`closer`] | messages of a tenant, and the descriptors that come with them |
//! | [`targets`] | the folders of the host that the mounts of a launch hang on |
//! | [`runtime`], [`wants`], [`inherited`] | files and descriptors that outlive a supervisor |
//! | [`uids`] | the users of tenants that have one of their own |
//! | [`acl`], [`writers`], [`replace`] | who may use or change a file; edits of the manifest's file |
//! | [`facts`], [`doctor`] | facts about the host for a plan; what the host lacks |
//! | [`want`] | errors that pass, since the host lacks something for now |
//! | [`scratch`] | a copy of the host in which nothing that is written stays |
//! | [`sealed`] | a copy of this program that nobody can change |
//! | [`counters`] | what tenants have used, as the kernel counts it |
//! | [`failures`] | the last failure of each tenant, for the next supervisor |
//! | [`history`] | what supervisors note for the meter of what happens |
//! | [`owner`], [`bundle`] | which host uses a datastore; a tenant as one stream |
//! | [`crash`] | points at which a test kills the process |
//! | [`timeline`] | what is done when, to find where time goes |
//!
//! All `unsafe` code of tenantd is in [`launch`].

pub mod acl;
mod boot;
pub mod bundle;
pub mod cgroup;
pub mod children;
pub mod claim;
pub mod closer;
pub mod counters;
pub mod crash;
pub mod datastore;
mod default_route;
pub mod doctor;
pub mod facts;
pub mod failures;
pub mod fifo;
pub mod given;
pub mod history;
pub mod hold;
pub mod hosts_folder;
pub mod inbox;
pub mod inherited;
pub mod ipc;
pub mod join;
pub mod keeper;
pub mod launch;
pub mod limits;
pub mod lock;
pub mod main_process;
pub mod netns;
pub mod network;
pub mod notify;
mod one_record;
pub mod owner;
pub mod peer;
pub mod process;
pub mod program;
pub mod quota;
pub mod regular;
mod release;
pub mod relocation;
pub mod replace;
pub mod runtime;
pub mod scratch;
pub mod sealed;
mod siblings;
mod sock_diag;
pub mod syslog;
pub mod targets;
pub mod timeline;
pub mod uids;
pub mod uplink;
pub mod verify;
pub mod want;
pub mod wants;
mod within;
pub mod writers;
