//! The manifest as written: every value with its type and position, and nothing derived.
//!
//! A value is `None` if the key is not set and has no default, or if the value is invalid. In the
//! latter case a problem has been reported, so later checks skip it silently.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use ipnetwork::{Ipv4Network, Ipv6Network};
use toml::Spanned;

use super::engine::Engine;
use super::free::Free;
use super::limit::Size;
use super::problem::Span;
use super::process::{Integer, Umask};
use super::read::Reader;
use super::reference::Table;
use super::storage::Storage;
use super::template::Template;
use super::text::{Command, Environment, Vars};
use super::value::{
    Account, Argv, Decode, EgressRule, Exposed, FileMode, Firewall, Guard, HostAccess, HttpPath,
    Interface, Ips, Mac, Mode, NameFile, NameServer, Outbound, Peer, Permissions, ProgramExit,
    Publish, Rates, Seed, Service, Signal, Sysctls, UidRange, When,
};
use crate::capability::Capabilities;
use crate::name::{AppName, TenantName};
use crate::rights::Right;
use crate::system_calls::Preset;

/// A value with its position, or `None`.
pub type Known<T> = Option<Spanned<T>>;

/// A value that may be left out.
#[derive(Debug)]
pub struct Optional<T> {
    /// The value.
    pub value: Known<T>,
    /// Whether the key is set, even if its value is invalid, or may be set in a part that could not
    /// be parsed.
    pub is_set: bool,
}

/// What a key can hold: a value, or a nested table.
pub(super) trait Read {
    /// Reads the key of this name.
    fn read(reader: &mut Reader<'_, '_, '_>, name: &'static str) -> Self;
}

impl<T: Decode> Read for Known<T> {
    fn read(reader: &mut Reader<'_, '_, '_>, name: &'static str) -> Self {
        reader.value(name)
    }
}

impl<T: Decode> Read for Optional<T> {
    fn read(reader: &mut Reader<'_, '_, '_>, name: &'static str) -> Self {
        Self {
            is_set: reader.may_have(name),
            value: reader.value(name),
        }
    }
}

/// Declares a type for each table, and reads its keys. Every key must be in the reference, and a
/// test fails if the reference has a key that is not listed here.
macro_rules! tables {
    ($($(#[$doc:meta])* $name:ident in $table:ident { $($key:ident: $type:ty,)* })*) => { $(
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name {
            /// The position of its header.
            pub at: Span,
            $(
                #[doc = concat!("`", stringify!($key), "`.")]
                pub $key: $type,
            )*
        }

        impl $name {
            /// Reads its keys from a table that may have others too.
            pub(in crate::manifest) fn keys(reader: &mut Reader<'_, '_, '_>) -> Self {
                Self {
                    at: reader.at().clone(),
                    $($key: Read::read(reader, stringify!($key)),)*
                }
            }
        }

        impl Read for $name {
            fn read(reader: &mut Reader<'_, '_, '_>, name: &'static str) -> Self {
                let mut reader = reader.table(name, Table::$table);
                let whole = Self::keys(&mut reader);
                reader.finish();
                whole
            }
        }
    )* };
}

mod limits;

pub use limits::{Cpu, Disk, Io, Limits, Memory, Pids, Total};

tables! {
    /// `[app]` with its tables.
    App in App {
        name: Known<AppName>,
        command: Known<Command>,
        working_directory: Known<Template>,
        environment: Known<Environment>,
        vars: Known<Vars>,
        secrets: Known<Vars>,
        user: Optional<Account>,
        group: Known<Account>,
        uids: Uids,
        daemonizes: Known<bool>,
        pid_file: Known<Template>,
        private: Private,
        private_size: Known<Size>,
        host: Known<HostAccess>,
        shared: Known<Vec<Spanned<Template>>>,
        visible: Known<Vec<Spanned<Template>>>,
        logs: Known<Vec<Spanned<Template>>>,
        log_rate: Known<Size>,
        files: Vec<File>,
        datastore: Datastore,
        init: Init,
        before: Before,
        stop: Stop,
        restart: Restart,
        ready: Ready,
        alive: Alive,
        reload: Reload,
        limits: Limits,
        total: Total,
        process: Process,
        sysctls: Known<Sysctls>,
        wall: Wall,
    }

    /// `[app.uids]`.
    Uids in Uids {
        range: Known<UidRange>,
    }

    /// `[app.datastore]`.
    Datastore in Datastore {
        path: Optional<Template>,
        folders: Vec<Folder>,
        root: Known<Template>,
        mode: Known<Permissions>,
        owner: Known<Account>,
        seen_as: Known<Account>,
        must_exist: Known<bool>,
        mounted: Known<bool>,
    }

    /// One entry of `folders` in `[app.datastore]`.
    Folder in Folder {
        path: Known<Template>,
        seed: Known<Seed>,
        template: Known<Template>,
        user: Known<Account>,
        group: Known<Account>,
        mode: Known<Permissions>,
    }

    /// One entry of `private` in `[app]`.
    PrivateFolder in Private {
        path: Known<Template>,
        mode: Known<Permissions>,
    }

    /// One entry of `files` in `[app]`.
    File in File {
        path: Known<Template>,
        template: Optional<Template>,
        text: Optional<Template>,
        user: Known<Account>,
        group: Known<Account>,
        mode: Known<FileMode>,
    }

    /// `[app.init]`.
    Init in Init {
        command: Optional<Command>,
        user: Known<Account>,
        within: Known<Duration>,
    }

    /// `[app.before]`.
    Before in Before {
        command: Optional<Command>,
        user: Known<Account>,
        within: Known<Duration>,
    }

    /// `[app.stop]`.
    Stop in Stop {
        signal: Known<Signal>,
        grace: Known<Duration>,
    }

    /// `[app.restart]`.
    Restart in Restart {
        when: Known<When>,
        delay: Known<Duration>,
        delay_max: Known<Duration>,
        healthy_after: Known<Duration>,
        strikes: Known<u32>,
        window: Known<Duration>,
        success: Known<Vec<Spanned<ProgramExit>>>,
    }

    /// `[app.ready]`.
    Ready in Ready {
        tcp: Known<u32>,
        notify: Known<bool>,
        lived: Known<Duration>,
        within: Known<Duration>,
        watchdog: Known<Duration>,
    }

    /// `[app.alive]`.
    Alive in Alive {
        tcp: Known<u32>,
        http: Known<HttpPath>,
        port: Known<u32>,
        command: Known<Argv>,
        interval: Known<Duration>,
        timeout: Known<Duration>,
        failures: Known<u32>,
    }

    /// `[app.reload]`.
    Reload in Reload {
        signal: Known<Signal>,
        command: Known<Argv>,
        within: Known<Duration>,
    }

    /// `process`, of the application, of `[defaults]` or of a tenant.
    Process in Process {
        umask: Known<Umask>,
        nice: Known<Integer>,
        oom_score_adj: Known<Integer>,
    }

    /// `[app.wall]`.
    Wall in Wall {
        landlock: Known<bool>,
        hidepid: Known<bool>,
        exec_reaches: Known<bool>,
        require: Known<Vec<Spanned<Guard>>>,
        capabilities: Known<Capabilities>,
        set_id_programs: Known<bool>,
        system_calls: Known<Preset>,
        log_system_calls: Known<bool>,
    }

    /// `[network]`.
    Network in Network {
        mode: Known<Mode>,
        parent: Optional<Interface>,
        bridge: Optional<Interface>,
        subnet: Known<Ipv4Network>,
        gateway: Known<Ipv4Addr>,
        subnet6: Optional<Ipv6Network>,
        gateway6: Known<Ipv6Addr>,
        uplink: Optional<Interface>,
        set_uplink: Known<bool>,
        mtu: Optional<u32>,
        firewall: Known<Firewall>,
    }

    /// `[control]`.
    Control in Control {
        read: Known<Vec<Spanned<Account>>>,
        operators: Vec<Operator>,
    }

    /// One entry of `operators` in `[control]`.
    Operator in Operator {
        group: Known<Account>,
        rights: Known<Vec<Right>>,
        tenants: Known<Vec<Spanned<TenantName>>>,
    }

    /// Settings that `[defaults]` and every tenant may have.
    Overrides in Defaults {
        environment: Known<Environment>,
        vars: Optional<Vars>,
        secrets: Known<Vars>,
        arguments: Known<Vec<Spanned<Template>>>,
        user: Optional<Account>,
        group: Known<Account>,
        autostart: Known<bool>,
        engine: Known<Engine>,
        storage: Known<Storage>,
        sysctls: Known<Sysctls>,
        limits: Limits,
        process: Process,
        outbound: Known<Outbound>,
        egress: Known<Vec<Spanned<EgressRule>>>,
        outbound_from: Known<Vec<Spanned<IpAddr>>>,
        peers: Known<Vec<Spanned<Peer>>>,
        host_services: Known<Vec<Spanned<Service>>>,
        expose_loopback: Known<Vec<Spanned<Exposed>>>,
        rate: Known<Rates>,
        resolv: Resolv,
        hosts: Known<NameFile>,
    }

    /// `resolv`, of `[defaults]` or of a tenant.
    Resolv in Resolv {
        nameservers: Known<Vec<Spanned<NameServer>>>,
        search: Known<Vec<Spanned<String>>>,
        options: Known<Vec<Spanned<String>>>,
        file: Known<NameFile>,
    }
}

/// `private` of `[app]`.
#[derive(Debug, Default)]
pub struct Private {
    /// Where it is `true`.
    pub usual: Option<Span>,
    /// The folders that it lists instead.
    pub folders: Vec<PrivateFolder>,
}

impl Private {
    /// The paths that it lists.
    pub fn paths(&self) -> impl Iterator<Item = &Spanned<Template>> {
        self.folders.iter().filter_map(|it| it.path.as_ref())
    }
}

/// A whole manifest.
#[derive(Debug)]
pub struct Manifest {
    /// `[app]`.
    pub app: App,
    /// `[network]`.
    pub network: Network,
    /// `[control]`.
    pub control: Control,
    /// `[defaults]`.
    pub defaults: Overrides,
    /// `[tenants]`, in the order of the text.
    pub tenants: Vec<Tenant>,
    /// Addresses to suggest, without those that have been suggested.
    pub free: Free,
}

/// One entry of `[tenants]`.
#[derive(Debug)]
pub struct Tenant {
    /// The position of its name.
    pub at: Span,
    /// Its name.
    pub name: Option<TenantName>,
    /// `ip`.
    pub ip: Known<Ips>,
    /// `mac`.
    pub mac: Known<Mac>,
    /// `datastore`.
    pub datastore: Known<Template>,
    /// Whether `datastore` is set, even if its value is invalid.
    pub datastore_said: bool,
    /// `publish`.
    pub publish: Known<Vec<Spanned<Publish>>>,
    /// Its other settings.
    pub overrides: Overrides,
}

impl Tenant {
    /// Its addresses, with their positions.
    pub fn ips(&self) -> impl Iterator<Item = &Spanned<IpAddr>> {
        self.ip.iter().flat_map(|ips| &ips.get_ref().known)
    }
}
