//! tenantd runs an unchanged single-tenant program once per tenant, each copy in a network and a
//! mount namespace of its own, with its own address and its own datastore.
//!
//! This is the program's package: the command line ([`cli`]). Below it lie the crates (from the
//! ground up):
//!
//! | crate | its one job |
//! |---|---|
//! | [`tenantd_core`] | pure: manifest → plan, and the supervisor that decides |
//! | [`tenantd_api`] | the control protocol, and a client that speaks it |
//! | [`tenantd_host`] | acts: namespaces, links, datastores, launches, processes, cgroups |
//! | [`tenantd_daemon`] | the loop between the supervisor and the host |

#![forbid(unsafe_code)]

pub mod cli;
