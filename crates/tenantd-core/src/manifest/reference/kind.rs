//! The types of values.

use super::Table;
use crate::cgroup::Form;
use crate::manifest::limit::Measure;
use crate::manifest::template::Slot;

/// The type of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A table with keys of its own.
    Table(Table),
    /// A table with one table per tenant.
    Tenants,
    /// An application's name.
    Name,
    /// The program and its arguments.
    Command,
    /// An array of strings with placeholders.
    Texts(&'static [Slot]),
    /// A table of strings with placeholders.
    Environment(&'static [Slot]),
    /// A table of strings with placeholders, the variables.
    Vars,
    /// A table of paths with placeholders, the secrets.
    Secrets,
    /// The text of a file, with placeholders.
    Text(&'static [Slot]),
    /// A path with placeholders.
    Path(&'static [Slot]),
    /// An array of paths with placeholders.
    Paths(&'static [Slot]),
    /// An array of folders: paths, or tables with the keys of [`Table::Folder`].
    Folders,
    /// A boolean, or an array of folders: paths, or tables with the keys of [`Table::Private`].
    Private,
    /// An array of tables with the keys of [`Table::File`].
    Files,
    /// An array of tables with the keys of [`Table::Operator`].
    Operators,
    /// An array of names of tenants.
    Tenancies,
    /// An array of names of tenants, or `"*"`.
    Peers,
    /// An array of services of the host.
    Services,
    /// An array of ports.
    Exposed,
    /// An array of published ports.
    Published,
    /// An array of rules of what may be reached.
    Egress,
    /// The name or the number of a user or group.
    Account,
    /// A range of user numbers.
    Uids,
    /// An array of names or numbers of groups.
    Groups,
    /// A boolean.
    Flag,
    /// A duration from `min` to `max`.
    Duration {
        /// The minimum.
        min: &'static str,
        /// The maximum.
        max: &'static str,
    },
    /// An integer from `min` to `max`.
    Count {
        /// The minimum.
        min: u32,
        /// The maximum.
        max: u32,
    },
    /// An integer from `min` to `max`, which may be negative.
    Integer {
        /// The minimum.
        min: i32,
        /// The maximum.
        max: i32,
    },
    /// A resource limit: one value, or a soft and a hard one.
    Limit {
        /// What it counts.
        measure: Measure,
        /// The minimum of the soft limit.
        min: u64,
    },
    /// A limit of a cgroup.
    Group(Form),
    /// A number of bytes, at least `min`.
    Size {
        /// The minimum.
        min: u64,
    },
    /// Permissions of a folder in octal digits.
    Permissions,
    /// Permissions of a file in octal digits.
    FileMode,
    /// A file mode creation mask in octal digits.
    Umask,
    /// The name of a signal.
    Signal,
    /// A command and its arguments, without placeholders.
    Argv,
    /// The path of an HTTP request.
    HttpPath,
    /// An array of names of capabilities.
    Capabilities,
    /// A table of sysctls and their values.
    Sysctls,
    /// An array of addresses of name servers.
    NameServers,
    /// An array of words, without white space.
    Words,
    /// A MAC address.
    Mac,
    /// The name of an interface of the host.
    Interface,
    /// A rate for both directions, or a table with one for each.
    Rates,
    /// An array of exit statuses and names of signals.
    Exits,
    /// One of a few words.
    Choice(&'static [&'static str]),
    /// An array of a few words.
    Choices(&'static [&'static str]),
    /// An IPv4 address.
    Address,
    /// An IPv6 address.
    Address6,
    /// An address of either family or `"auto"`, or an array of them.
    Addresses,
    /// Addresses of the host, of both families: one, or an array.
    HostAddresses,
    /// An IPv4 network.
    Subnet,
    /// An IPv6 network.
    Subnet6,
}
