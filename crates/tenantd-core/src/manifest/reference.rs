//! The one table of all keys that a manifest may hold.
//!
//! The decoder takes its defaults and limits from it, the documents and the JSON schema are made
//! from it: they cannot disagree.

use super::limit::Measure;
use super::template::{ALL, OF_APP, OF_PROGRAM, OF_TENANT, Slot};

/// A table of the manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Table {
    /// The whole.
    Top,
    /// `[app]`.
    App,
    /// `[app.datastore]`.
    Datastore,
    /// `[app.stop]`.
    Stop,
    /// `[app.restart]`.
    Restart,
    /// `[app.ready]`.
    Ready,
    /// `[app.limits]`, `[defaults.limits]` and a tenant's `limits`.
    Limits,
    /// `[network]`.
    Network,
    /// `[defaults]`.
    Defaults,
    /// One entry of `[tenants]`.
    Tenant,
}

impl Table {
    /// All tables, in the order of the reference.
    pub const EACH: &'static [Table] = &[
        Table::Top,
        Table::App,
        Table::Datastore,
        Table::Stop,
        Table::Restart,
        Table::Ready,
        Table::Limits,
        Table::Network,
        Table::Defaults,
        Table::Tenant,
    ];

    /// Its header.
    #[must_use]
    pub fn header(self) -> &'static str {
        match self {
            Table::Top => "the manifest",
            Table::App => "[app]",
            Table::Datastore => "[app.datastore]",
            Table::Stop => "[app.stop]",
            Table::Restart => "[app.restart]",
            Table::Ready => "[app.ready]",
            Table::Limits => "[app.limits]",
            Table::Network => "[network]",
            Table::Defaults => "[defaults]",
            Table::Tenant => "[tenants]",
        }
    }

    /// What it is about.
    #[must_use]
    pub fn doc(self) -> &'static str {
        match self {
            Table::Top => "One manifest describes one application and all its tenants.",
            Table::App => "The program, the same for all tenants.",
            Table::Datastore => {
                "Where the program's data lies, and where the program looks for it."
            }
            Table::Stop => "How the program is asked to stop.",
            Table::Restart => {
                "What happens when the program ends unasked. Each end is a strike; the delay before \
                 the next start doubles with each strike, and too many strikes within a window \
                 mark the tenant as failed until an operator acts. With the defaults, a program that dies at \
                 once is marked as failed after 51 seconds, and one that lives for ten seconds at a time is \
                 started again for ever."
            }
            Table::Ready => {
                "What makes a tenant count as ready: at most one of `tcp`, `notify` and `lived`. \
                 With none of them it is ready as soon as its program has been executed."
            }
            Table::Limits => {
                "Resource limits of each process of a tenant, see getrlimit(2). One value is both the \
                 soft and the hard limit; a text such as `\"1024:65536\"` gives the soft one, which \
                 the program may raise itself, and then the hard one. `\"unlimited\"` stands for no \
                 limit. `[defaults]` and each tenant may say `limits` too, and then those that are \
                 said there go before, one by one. A change is set on the processes that run, without \
                 a restart; a limit that is not said is what tenantd was started with."
            }
            Table::Network => "What the tenants share of the network.",
            Table::Defaults => {
                "What a tenant may say, for all of them. What a tenant says itself goes before; \
                 environments are merged, name by name: those of `[app]` first, then these, then \
                 the tenant's."
            }
            Table::Tenant => {
                "One line per tenant: its name, which is at most 63 lower-case letters, digits and \
                 dashes, and what is its own. The least is `acme = { ip = \"10.77.0.11\" }`."
            }
        }
    }
}

/// What a value can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A table with keys of its own.
    Table(Table),
    /// A table from tenants' names to tables.
    Tenants,
    /// A checked name.
    Name,
    /// The program and its arguments.
    Command,
    /// A list of texts with placeholders.
    Texts(&'static [Slot]),
    /// A table from names to texts with placeholders.
    Environment(&'static [Slot]),
    /// A path with placeholders.
    Path(&'static [Slot]),
    /// A list of paths with placeholders.
    Paths(&'static [Slot]),
    /// The name or the number of a user or group.
    Account,
    /// Yes or no.
    Flag,
    /// A length of time from `min` to `max`.
    Duration {
        /// The shortest.
        min: &'static str,
        /// The longest.
        max: &'static str,
    },
    /// A whole number from `min` to `max`.
    Count {
        /// The least.
        min: u32,
        /// The greatest.
        max: u32,
    },
    /// A resource limit: one value, or a soft and a hard one.
    Limit {
        /// What it counts.
        measure: Measure,
        /// The least soft limit.
        min: u64,
    },
    /// Permissions of a folder in octal digits.
    Permissions,
    /// The name of a signal.
    Signal,
    /// One of a few words.
    Choice(&'static [&'static str]),
    /// An IPv4 address.
    Address,
    /// An IPv4 network.
    Subnet,
}

/// What holds where a key is absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fallback {
    /// The key must be there.
    Required,
    /// This value, as TOML.
    Value(&'static str),
    /// What is said here in words.
    Derived(&'static str),
}

/// One key.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// The table that it belongs to.
    pub table: Table,
    /// Its name.
    pub name: &'static str,
    /// What its value can be.
    pub kind: Kind,
    /// What holds without it.
    pub fallback: Fallback,
    /// What it means.
    pub doc: &'static str,
    /// A value, as TOML.
    pub example: &'static str,
}

impl Key {
    /// The key of that name in that table.
    #[must_use]
    pub fn find(table: Table, name: &str) -> Option<&'static Key> {
        Key::of(table).find(|key| key.name == name)
    }

    /// The keys of one table.
    pub fn of(table: Table) -> impl Iterator<Item = &'static Key> {
        KEYS.iter().filter(move |key| key.table == table)
    }

    /// The key with its example, as one would write it.
    #[must_use]
    pub fn usage(&self) -> String {
        format!("{} = {}", self.name, self.example)
    }
}

macro_rules! keys {
    ($($table:ident {
        $($name:literal, $kind:expr, $fallback:expr, $example:literal, $doc:literal;)*
    })*) => {
        /// Every key, by table, in the order of the reference.
        pub const KEYS: &[Key] = &[$($(
            Key {
                table: Table::$table,
                name: $name,
                kind: $kind,
                fallback: $fallback,
                doc: $doc,
                example: $example,
            },
        )*)*];
    };
}

use Fallback::{Derived, Required, Value};

const BYTES: Kind = Kind::Limit {
    measure: Measure::Bytes,
    min: 0,
};
const INHERITED: Fallback = Derived("what tenantd was started with");
const WHEN: Kind = Kind::Choice(&["always", "on-failure", "never"]);

keys! {
    Top {
        "app", Kind::Table(Table::App), Required, "{ name = \"guestbook\", command = [\"/usr/sbin/guestbook\"], datastore = { path = \"/var/lib/guestbook\" } }",
            "The program, see [app].";
        "network", Kind::Table(Table::Network), Value("{}"), "{ mode = \"routed\" }",
            "What the tenants share of the network, see [network].";
        "defaults", Kind::Table(Table::Defaults), Value("{}"), "{ autostart = true }",
            "What a tenant may say, for all of them, see [defaults].";
        "tenants", Kind::Tenants, Value("{}"), "{ acme = { ip = \"10.77.0.11\" } }",
            "The tenants, by name, see [tenants]. An application may have none yet.";
    }
    App {
        "name", Kind::Name, Required, "\"guestbook\"",
            "The application's name: at most 32 lower-case letters, digits and dashes. It is part \
             of every name that tenantd makes on the host.";
        "command", Kind::Command, Required, "[\"/usr/sbin/guestbook\", \"--foreground\"]",
            "The program, an absolute path, and its arguments. No shell is involved. In the path \
             of the program only `{app}` and `{manifest_dir}` stand for something.";
        "working_directory", Kind::Path(OF_PROGRAM), Value("\"/\""), "\"/var/lib/guestbook\"",
            "The folder that the program starts in, as it sees it.";
        "environment", Kind::Environment(ALL), Value("{}"), "{ LANG = \"C.UTF-8\" }",
            "The program's environment, beside `PATH`, `HOME`, `USER` and `LOGNAME`, which are \
             always set. Nothing of tenantd's own environment is passed on.";
        "user", Kind::Account, Value("\"root\""), "\"www-data\"",
            "Who the program runs as: a user's name or number.";
        "group", Kind::Account, Derived("the user's primary group"), "\"www-data\"",
            "The group that it runs as: a name or number. Supplementary groups are those that \
             initgroups(3) finds for the user.";
        "daemonizes", Kind::Flag, Value("false"), "true",
            "Whether the program leaves its first process behind and goes on in the background.";
        "private", Kind::Paths(OF_PROGRAM), Value("[]"), "[\"/run/redis\"]",
            "Folders that are empty and each tenant's own (a tmpfs), such as for a pid file.";
        "datastore", Kind::Table(Table::Datastore), Required, "{ path = \"/var/lib/guestbook\" }",
            "The program's data, see [app.datastore].";
        "stop", Kind::Table(Table::Stop), Value("{}"), "{ grace = \"1m\" }",
            "How it is asked to stop, see [app.stop].";
        "restart", Kind::Table(Table::Restart), Value("{}"), "{ when = \"on-failure\" }",
            "What happens when it ends unasked, see [app.restart].";
        "ready", Kind::Table(Table::Ready), Value("{}"), "{ tcp = 80 }",
            "What makes it ready, see [app.ready].";
        "limits", Kind::Table(Table::Limits), Value("{}"), "{ open_files = 65536 }",
            "Resource limits of its processes, see [app.limits].";
    }
    Datastore {
        "path", Kind::Path(OF_APP), Required, "\"/var/lib/guestbook\"",
            "The folder in which the program looks for its data. Each tenant finds its own \
             datastore there.";
        "root", Kind::Path(OF_APP), Value("\"/var/lib/tenantd/{app}\""), "\"/srv/guestbooks\"",
            "The folder on the host that holds the datastores. It is hidden from every tenant; \
             where it lies in `/var/lib/tenantd`, that whole folder is.";
        "mode", Kind::Permissions, Value("\"0750\""), "\"0700\"",
            "The permissions, in octal, of a datastore that tenantd makes. It belongs to the \
             tenant's user and group.";
    }
    Stop {
        "signal", Kind::Signal, Value("\"SIGTERM\""), "\"SIGQUIT\"",
            "The signal that asks the program to stop, see signal(7).";
        "grace", Kind::Duration { min: "0s", max: "1h" }, Value("\"10s\""), "\"1m 30s\"",
            "How long it may take. After that, all that is left of it is killed.";
    }
    Restart {
        "when", WHEN, Value("\"always\""), "\"on-failure\"",
            "When the program is started again: `always`, however it ended; `on-failure`, unless \
             it exited with status 0; `never`.";
        "delay", Kind::Duration { min: "0s", max: "1h" }, Value("\"100ms\""), "\"1s\"",
            "The delay after the first strike, counted from the start before. It doubles with each \
             further strike. Short, because a single crash should hardly be noticed.";
        "delay_max", Kind::Duration { min: "0s", max: "1d" }, Value("\"30s\""), "\"5m\"",
            "The longest delay. Half a minute, because nobody wants to wait longer than that once \
             the cause is gone.";
        "healthy_after", Kind::Duration { min: "0s", max: "1d" }, Value("\"10s\""), "\"1m\"",
            "A program that ran for this long clears the strikes. Longer than a bad start takes, \
             for most programs.";
        "strikes", Kind::Count { min: 0, max: 1000 }, Value("10"), "5",
            "This many strikes within `window` mark the tenant as failed. 0: it never is.";
        "window", Kind::Duration { min: "1s", max: "7d" }, Value("\"1m\""), "\"10m\"",
            "See `strikes`. The delays alone must fit into it: ten strikes take 51 seconds of \
             delays with the defaults.";
    }
    Ready {
        "tcp", Kind::Count { min: 1, max: 65535 }, Derived("not used"), "80",
            "Ready when this port on the tenant's address accepts a connection.";
        "notify", Kind::Flag, Value("false"), "true",
            "Ready when the program says `READY=1` over the socket in `NOTIFY_SOCKET`, see \
             sd_notify(3).";
        "lived", Kind::Duration { min: "1ms", max: "1h" }, Derived("not used"), "\"2s\"",
            "Ready when it has lived for this long.";
        "within", Kind::Duration { min: "1ms", max: "1h" }, Value("\"30s\""), "\"2m\"",
            "How long it may take to get ready. After that, the start has failed.";
    }
    Limits {
        "open_files", Kind::Limit { measure: Measure::Number, min: 64 }, INHERITED, "65536",
            "How many files a process may have open (`RLIMIT_NOFILE`). With `\"1024:65536\"` it \
             starts with 1024, which old programs rely on, see select(2). At most fs.nr_open.";
        "core", BYTES, INHERITED, "\"0:unlimited\"",
            "The largest core file of a process that crashes (`RLIMIT_CORE`): bytes, or a size such \
             as `\"64 MiB\"`. 0 writes none.";
        "locked_memory", BYTES, INHERITED, "\"64 MiB\"",
            "How much memory a process may lock, so that it is never swapped out \
             (`RLIMIT_MEMLOCK`): bytes, or a size such as `\"64 MiB\"`.";
    }
    Network {
        "mode", Kind::Choice(&["routed", "bridge"]), Value("\"routed\""), "\"bridge\"",
            "`routed`: a link of its own per tenant, with nothing shared and no limit on their \
             number. `bridge`: isolated ports of one bridge, at most 1,023.";
        "subnet", Kind::Subnet, Value("\"10.77.0.0/24\""), "\"10.77.0.0/16\"",
            "The network that all tenants' addresses lie in. It is for this application alone: no \
             interface of the host may have an address in it.";
        "gateway", Kind::Address, Derived("the first address of the subnet"), "\"10.77.0.254\"",
            "The host's own address in the subnet, which every tenant reaches.";
        "mtu", Kind::Count { min: 1280, max: 65535 }, Value("1500"), "9000",
            "The largest packet in bytes, the same on both ends of every link. At least 1280, \
             which IPv6 asks for.";
    }
    Defaults {
        "environment", Kind::Environment(ALL), Value("{}"), "{ LANG = \"C.UTF-8\" }",
            "Added to the program's environment.";
        "arguments", Kind::Texts(ALL), Value("[]"), "[\"--site={tenant}\"]",
            "Appended to the command of every tenant that says no arguments itself.";
        "user", Kind::Account, Derived("that of [app]"), "\"www-data\"",
            "Who the program runs as.";
        "group", Kind::Account, Derived("that of [app]"), "\"www-data\"",
            "The group that it runs as.";
        "autostart", Kind::Flag, Value("true"), "false",
            "Whether the tenants start when tenantd does.";
        "limits", Kind::Table(Table::Limits), Derived("those of [app]"), "{ open_files = 65536 }",
            "Resource limits of the tenants' processes, see [app.limits].";
    }
    Tenant {
        "ip", Kind::Address, Required, "\"10.77.0.11\"",
            "The tenant's address, within the subnet.";
        "environment", Kind::Environment(ALL), Derived("nothing of its own"), "{ TITLE = \"Acme\" }",
            "Added to the program's environment.";
        "arguments", Kind::Texts(ALL), Derived("those of [defaults]"), "[\"--verbose\"]",
            "Appended to the command.";
        "datastore", Kind::Path(OF_TENANT), Derived("the tenant's name"), "\"legacy-7\"",
            "The folder that holds the tenant's data: relative to the `root` of the datastores, or \
             absolute. No two tenants may share one, and none may lie in another. The folder that \
             holds an absolute one is hidden from every tenant.";
        "user", Kind::Account, Derived("that of [defaults], or of [app]"), "\"acme\"",
            "Who the program runs as.";
        "group", Kind::Account, Derived("that of [defaults] or of [app], or the user's primary group"),
            "\"acme\"",
            "The group that it runs as.";
        "autostart", Kind::Flag, Derived("that of [defaults]"), "false",
            "Whether the tenant starts when tenantd does.";
        "limits", Kind::Table(Table::Limits), Derived("those of [defaults], or of [app]"), "{ open_files = 65536 }",
            "Resource limits of the tenant's processes, see [app.limits].";
    }
}
