//! tenantd runs an unchanged single-tenant program once per tenant, each copy in a network and a
//! mount namespace of its own, with its own address and its own datastore.
//!
//! This package is the program: the command line ([`cli`]). It uses these crates, lowest first:
//!
//! | crate | what it does |
//! |---|---|
//! | [`tenantd_core`] | pure: derives the plan from the manifest; the supervisor, which decides |
//! | [`tenantd_api`] | the control protocol, and a client for it |
//! | [`tenantd_host`] | acts: namespaces, links, datastores, launches, processes, cgroups |
//! | [`tenantd_daemon`] | the loop between the supervisor and the host |

#![forbid(unsafe_code)]

pub mod cli;
