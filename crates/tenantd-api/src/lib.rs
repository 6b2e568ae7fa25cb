//! A client for tenantd: ask a supervisor for the state of its tenants, act on them, and follow
//! what happens to them.
//!
//! Each application has one supervisor. It listens on a Unix socket of its own,
//! `/run/tenantd/APP/control`, and serves the varlink interface `io.tenantd.Supervisor`
//! (<https://varlink.org>). Only root and the user of the supervisor are served.
//!
//! - [`client::Connection`] sends requests: status, start, stop, restart, reload, upgrade.
//! - [`client::watch::Subscription`] delivers a snapshot of the tenants and then every event.
//! - [`client::app`] finds the applications that run on this host.
//! - [`wire`] defines the types of requests and answers, which are also those of `--json`.
//!
//! All functions that talk to a supervisor are async and need a tokio runtime with I/O enabled.
//!
//! ```no_run
//! use tenantd_api::AppName;
//! use tenantd_api::client::watch::{Subscription, Watched};
//! use tenantd_api::client::{ClientError, Connection};
//! use tenantd_api::wire::Verb;
//!
//! # async fn example() -> Result<(), ClientError> {
//! let app: AppName = "wiki".parse().expect("a valid name");
//!
//! // The state of all tenants, and a restart of those that run an outdated program.
//! let mut connection = Connection::open(&app).await?;
//! for tenant in connection.status(&[]).await?.tenants {
//!     println!("{}: {}", tenant.name, tenant.state.word());
//!     if tenant.program == Some(tenantd_api::wire::Program::Older) {
//!         connection.act(Verb::Restart, &[tenant.name], false).await?;
//!     }
//! }
//!
//! // Everything that happens from now on.
//! let mut subscription = Subscription::open(&app, &[]).await?;
//! loop {
//!     match subscription.next().await? {
//!         Watched::Snapshot(snapshot) => println!("{} tenants", snapshot.tenants.len()),
//!         Watched::Event(event) => println!("{}: {}", event.tenant, event.state.word()),
//!         Watched::Request(request) => println!("{}", request.verb),
//!     }
//! }
//! # }
//! ```
//!
//! `examples/watch.rs` is a complete program.

#![forbid(unsafe_code)]

pub mod client;
pub mod history;
pub mod usage;
pub mod wire;

pub use tenantd_core::name::{AppName, NameError, TenantName};
