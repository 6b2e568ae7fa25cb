//! The manifest as written: every value has its type and its place, nothing is derived.
//!
//! What is `None` here has either not been said (for keys without a default) or could not be
//! understood, and then a problem has been reported: later checks pass over it in silence.

use std::net::Ipv4Addr;
use std::time::Duration;

use ipnetwork::Ipv4Network;
use toml::Spanned;

use super::problem::Span;
use super::template::Template;
use super::text::{Command, Environment};
use super::value::{Account, Mode, Permissions, Signal, When};
use crate::name::{AppName, TenantName};

/// A value with its place, as far as it is known.
pub type Known<T> = Option<Spanned<T>>;

/// A whole manifest.
#[derive(Debug)]
pub struct Manifest {
    /// `[app]`.
    pub app: App,
    /// `[network]`.
    pub network: Network,
    /// `[defaults]`.
    pub defaults: Wishes,
    /// `[tenants]`, in the order of the text.
    pub tenants: Vec<Tenant>,
}

/// `[app]` with its tables.
#[derive(Debug)]
pub struct App {
    /// The place of its header.
    pub at: Span,
    /// `name`.
    pub name: Known<AppName>,
    /// `command`.
    pub command: Known<Command>,
    /// `working_directory`.
    pub working_directory: Known<Template>,
    /// `environment`.
    pub environment: Known<Environment>,
    /// `user`.
    pub user: Known<Account>,
    /// `group`.
    pub group: Known<Account>,
    /// `daemonizes`.
    pub daemonizes: Known<bool>,
    /// `private`.
    pub private: Known<Vec<Spanned<Template>>>,
    /// `[app.datastore]`.
    pub datastore: Datastore,
    /// `[app.stop]`.
    pub stop: Stop,
    /// `[app.restart]`.
    pub restart: Restart,
    /// `[app.ready]`.
    pub ready: Ready,
}

/// `[app.datastore]`.
#[derive(Debug)]
pub struct Datastore {
    /// `path`.
    pub path: Known<Template>,
    /// `root`.
    pub root: Known<Template>,
    /// `mode`.
    pub mode: Known<Permissions>,
}

/// `[app.stop]`.
#[derive(Debug)]
pub struct Stop {
    /// `signal`.
    pub signal: Known<Signal>,
    /// `grace`.
    pub grace: Known<Duration>,
}

/// `[app.restart]`.
#[derive(Debug)]
pub struct Restart {
    /// `when`.
    pub when: Known<When>,
    /// `delay`.
    pub delay: Known<Duration>,
    /// `delay_max`.
    pub delay_max: Known<Duration>,
    /// `healthy_after`.
    pub healthy_after: Known<Duration>,
    /// `strikes`.
    pub strikes: Known<u32>,
    /// `window`.
    pub window: Known<Duration>,
}

/// `[app.ready]`.
#[derive(Debug)]
pub struct Ready {
    /// `tcp`.
    pub tcp: Known<u32>,
    /// `notify`, if it is true.
    pub notify: Known<bool>,
    /// `lived`.
    pub lived: Known<Duration>,
    /// `within`.
    pub within: Known<Duration>,
}

/// `[network]`.
#[derive(Debug)]
pub struct Network {
    /// `mode`.
    pub mode: Known<Mode>,
    /// `subnet`.
    pub subnet: Known<Ipv4Network>,
    /// `gateway`.
    pub gateway: Known<Ipv4Addr>,
    /// `mtu`.
    pub mtu: Known<u32>,
}

/// What `[defaults]` and every tenant may say.
#[derive(Debug)]
pub struct Wishes {
    /// `environment`.
    pub environment: Known<Environment>,
    /// `arguments`.
    pub arguments: Known<Vec<Spanned<Template>>>,
    /// `user`.
    pub user: Known<Account>,
    /// `group`.
    pub group: Known<Account>,
    /// `autostart`.
    pub autostart: Known<bool>,
}

/// One entry of `[tenants]`.
#[derive(Debug)]
pub struct Tenant {
    /// The place of its name.
    pub at: Span,
    /// Its name.
    pub name: Option<TenantName>,
    /// `ip`.
    pub ip: Known<Ipv4Addr>,
    /// `datastore`.
    pub datastore: Known<Template>,
    /// Whether `datastore` was said, understood or not.
    pub datastore_said: bool,
    /// The rest.
    pub wishes: Wishes,
}
