//! The command line: commands, options and their help texts. The terms are those of LEXICON.md.

mod bundle;
mod chosen;
mod cluster;
mod help;
mod history;
mod host;
mod learn;
mod relocate;
mod run;
mod set;
mod tenants;
mod top;
mod usage;

use std::ffi::OsString;

use clap::{Args, Parser, Subcommand};
use clap_complete::engine::ArgValueCandidates;

use super::complete;
use super::logs::typed::Logs;
use super::ocf;
use tenantd_api::client::pattern::Pattern;
use tenantd_core::name::TenantName;

pub use self::bundle::{Export, Import, ImportUnit};
pub use self::chosen::Chosen;
pub use self::cluster::{Cluster, Task};
pub use self::history::History;
pub use self::host::{Doctor, Gc, Init};
pub use self::learn::Learn;
pub use self::relocate::{Asked, Move, Receive, Step};
pub use self::run::Run;
pub use self::set::Set;
pub use self::tenants::{
    Act, Chown, Kill, LeakTest, Pause, ReloadApp, Restart, Show, Start, Status, Stop, Verify, Wait,
    Which,
};
pub use self::top::Top;
pub use self::usage::{By, Meter, Metrics, Usage};

/// Runs an unchanged single-tenant program once per tenant
///
/// Each tenant has its own network namespace (its own address, every port free) and its own mount
/// namespace (its own data at the path that the program expects). It shares everything else with
/// the host. One manifest describes an application and all its tenants.
#[derive(Debug, Parser)]
#[command(
    version,
    args_conflicts_with_subcommands = false,
    after_help = "EXAMPLES\n  \
        tenantd --config /etc/tenantd/wiki.toml   run all tenants of an application\n  \
        tenantd status                            show their state\n  \
        tenantd restart acme                      restart one of them\n\n\
        ENVIRONMENT\n  \
        TENANTD_APP, TENANTD_CONFIG   used if neither --app nor --config is given\n  \
        TENANTD_LOG                   level of a supervisor's log, such as tenantd=debug\n\n\
        EXIT CODES\n  \
        0 done   1 refused, failed or not as wanted   2 usage error\n  \
        3 `diff`: a reload would change something   78 manifest has problems\n  \
        130 Ctrl-C ended the waiting; `exec`: see `tenantd exec --help`"
)]
pub struct Cli {
    /// The options that select an application.
    #[command(flatten)]
    pub chosen: Chosen,
    /// The command; `run` if none is given.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Supervise all tenants of a manifest, or one, until SIGTERM or SIGINT
    #[command(after_help = run::HELP)]
    Run(Run),
    /// Check a manifest and this host, and report every problem
    #[command(after_help = "EXAMPLES\n  \
        tenantd check --config tenants.toml && systemctl restart tenantd@wiki\n  \
        tenantd check --config tenants.toml --json | jq '.problems[]'\n\n\
        Exit code 78: the manifest has problems. 1: the host lacks something that tenantd needs.\n\n\
        With --json it prints one object: manifest (its path), good, app, tenants (their number),\n\
        problems (line, column, message, note, help, and related: line, column, note), and host\n\
        (subject, grade, found, fix).")]
    Check {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show everything that tenantd derives from a manifest
    #[command(after_help = "EXAMPLES\n  \
        tenantd plan --config tenants.toml\n  \
        tenantd plan --config tenants.toml acme\n  \
        tenantd plan --config tenants.toml --json | jq '.tenants[].restart.delay'\n  \
        tenantd plan --config tenants.toml --files acme\n\n\
        With --files it lists the files of the host that a tenant does not see as they are now,\n\
        in folders with seed = \"overlay\": changed, frozen (only the owner, mode or times were\n\
        changed), deleted or replaced (a folder that was made again) by the tenant, and whether\n\
        the host has changed them since.\n\n\
        The JSON has the keys and the values of the manifest: a duration is \"1m 30s\", a mode\n\
        \"0750\". A tenant has all keys that apply to it, those of [app] and [defaults] too.")]
    Plan {
        /// Names of tenants [default: all]
        #[arg(value_name = "NAME", add = ArgValueCandidates::new(complete::tenants))]
        names: Vec<TenantName>,
        /// List the files in overlays that hide the host's instead
        #[arg(long)]
        files: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Hold the limits and settings of this host against the number of its tenants
    #[command(after_help = help::DOCTOR)]
    Doctor(Doctor),
    /// Give the datastores of tenants to their users
    #[command(after_help = help::CHOWN)]
    Chown(Chown),
    /// Tell the host the names of the tenants' own users
    #[command(after_help = help::USERDB)]
    Userdb,
    /// Keep what tenants use, day by day
    #[command(after_help = usage::METER)]
    Meter(Meter),
    /// Serve the state of tenants, and what they use, to Prometheus
    #[command(after_help = usage::METRICS)]
    Metrics(Metrics),
    /// Show what tenants have used, as the meter has kept it
    #[command(after_help = usage::USAGE)]
    Usage(Usage),
    /// Show what has happened to tenants, as the meter has kept it
    #[command(after_help = history::HELP)]
    History(History),
    /// Tell systemd-resolved of the host the names of tenants
    #[command(after_help = help::RESOLVE_HOOK)]
    ResolveHook,
    /// Write a manifest from a recipe, or list the recipes
    #[command(after_help = "EXAMPLES\n  \
        tenantd init --list\n  \
        tenantd init redis shop            writes /etc/tenantd/shop.toml\n  \
        tenantd init squid --to -          prints the manifest\n\n\
        A recipe is a manifest for a program of the distribution: which folders it writes to,\n\
        how it runs in the foreground, when it is ready and how it is stopped. Its first lines\n\
        say which packages it needs and what to set. The manifest has no tenants yet, and a\n\
        subnet that no address of the host and no manifest in /etc/tenantd is in. Some recipes\n\
        have templates, which are written to the folder NAME.d beside the manifest. Nothing is\n\
        overwritten.")]
    Init(Init),
    /// Start tenants, including those that wait for a restart or have failed
    #[command(after_help = help::START)]
    Start(Start),
    /// Stop tenants: end their programs and release their networks
    #[command(after_help = help::STOP)]
    Stop(Stop),
    /// End the programs of tenants and start them again; their networks stay
    #[command(after_help = help::RESTART)]
    Restart(Restart),
    /// Send a signal to the processes of tenants' programs
    #[command(after_help = help::KILL)]
    Kill(Kill),
    /// Freeze the processes of tenants
    #[command(after_help = help::PAUSE)]
    Pause(Pause),
    /// Let paused tenants continue
    #[command(after_help = help::RESUME)]
    Resume(Pause),
    /// Freeze the processes of tenants, and take their memory
    #[command(after_help = help::HIBERNATE)]
    Hibernate(Pause),
    /// Make the programs of tenants read their configuration again, without a restart
    #[command(after_help = help::RELOAD_APP)]
    ReloadApp(ReloadApp),
    /// Add a tenant to the manifest, and reload
    #[command(after_help = "EXAMPLES\n  \
        tenantd add acme ip=10.77.0.14\n  \
        tenantd add acme ip=10.77.0.14 autostart=false 'arguments=[\"-v\"]'\n  \
        tenantd add acme ip=10.77.0.14 vars.colour=red\n\n\
        The keys are those of a tenant in the manifest, see tenantd.toml(5). A value that is not\n\
        valid TOML is taken as a string. Comments and order of the manifest are preserved. If\n\
        the new manifest has problems, nothing is changed and all problems are shown. If no\n\
        supervisor runs, the change takes effect when one starts.")]
    Add {
        /// Name of the new tenant
        tenant: TenantName,
        /// Keys of the tenant
        #[arg(value_name = "KEY=VALUE", value_parser = set::setting)]
        keys: Vec<(String, String)>,
        /// Whether to wait, and what to print.
        #[command(flatten)]
        wait: Wait,
    },
    /// Set limits of a tenant: until it stops, or in the manifest
    #[command(after_help = set::HELP)]
    Set(Set),
    /// Remove a tenant from the manifest, and reload; its datastore stays
    #[command(after_help = "EXAMPLES\n  \
        tenantd remove acme\n\n\
        Stops and releases the tenant. A comment directly above its line is removed too. tenantd\n\
        never deletes data: the output says where the datastore is. The JSON is that of\n\
        `tenantd start`.")]
    Remove {
        /// Name of the tenant
        #[arg(add = ArgValueCandidates::new(complete::tenants))]
        tenant: TenantName,
        /// Whether to wait, and what to print.
        #[command(flatten)]
        wait: Wait,
    },
    /// Read the manifest again and apply what has changed
    #[command(after_help = "EXAMPLES\n  \
        tenantd reload\n  \
        tenantd reload --no-wait\n  \
        tenantd diff                       prints the changes, and their hash\n  \
        tenantd reload --expect 3f86c1d09a24\n\n\
        Waits until each changed tenant is as wanted, or its first attempt to start has failed.\n\
        The output is as that of `tenantd start`. SIGHUP to the supervisor does the same and\n\
        logs the result. Exit code 78: the manifest has problems, and nothing was changed. 130:\n\
        Ctrl-C ended the waiting.\n\n\
        With --expect, the supervisor compares the hash after it has read the manifest. If the\n\
        changes are no longer those that `tenantd diff` showed, because the manifest was edited\n\
        or reloaded meanwhile, nothing is changed, and the exit code is 1.")]
    Reload {
        /// Apply the changes only if they have this hash, which `tenantd diff` prints
        #[arg(long, value_name = "HASH")]
        expect: Option<String>,
        /// Whether to wait, and what to print.
        #[command(flatten)]
        wait: Wait,
    },
    /// Show what a reload would change, and which fields cause it
    #[command(after_help = "EXAMPLES\n  \
        tenantd diff\n  \
        tenantd diff --json | jq -r '.tenants[].tenant'\n  \
        tenantd reload --expect 3f86c1d09a24   applies exactly the changes of this hash\n\n\
        Exit code 0: a reload would change nothing. 3: it would change something. 1: it would be\n\
        refused, because the supervisor cannot change this while it runs. 78: the manifest has\n\
        problems.\n\n\
        CHANGES\n  \
        remove       stop and release the tenant; its datastore stays\n  \
        reprovision  stop the tenant, replace its network, and start it again\n  \
        relaunch     start the program again; the network stays\n  \
        live         no interruption; `autostart` starts or stops nothing now\n  \
        add          set up the tenant and start it\n\n\
        The JSON has the changed values of each tenant in `keys`: key (of the manifest, such as\n\
        restart.delay), before and after.")]
    Diff {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show the state of tenants; exit code 0 if all are as wanted
    #[command(after_help = help::STATUS)]
    Status(Status),
    /// Show what tenants use, and act on them, in a table that is kept current
    #[command(after_help = top::HELP)]
    Top(Top),
    /// Show the state of each tenant, and events as they happen
    #[command(after_help = help::EVENTS)]
    Events {
        /// Names of tenants, or patterns in quotes: 'shop-*' [default: all, including tenants
        /// added later]
        #[arg(value_name = "NAME", add = ArgValueCandidates::new(complete::tenants))]
        names: Vec<Pattern>,
        /// Keep running, and print each event
        #[arg(short, long)]
        follow: bool,
        /// Print JSON, one object per line
        #[arg(long)]
        json: bool,
    },
    /// Show all applications on this host; exit code 0 if all tenants are as wanted
    #[command(after_help = "EXAMPLES\n  \
        tenantd list\n  \
        tenantd list --json | jq -r '.applications[].app'\n\n\
        States: `running`; `dead`, if the supervisor died; `detached`, if it has detached;\n\
        `unknown`, if it does not answer. Tenants of a dead or detached supervisor keep running,\n\
        and the next supervisor adopts them.")]
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Remove residue: what an application left on the host and no tenant owns
    #[command(after_help = "EXAMPLES\n  \
        tenantd gc --dry-run               show what would be removed\n  \
        tenantd gc --app wiki\n  \
        tenantd gc --config wiki.toml      if no supervisor runs\n  \
        tenantd gc --app wiki --kill       end its tenants first, if no supervisor runs\n\n\
        Residue is a link, cgroup, name or folder with the application's mark that belongs to no\n\
        tenant of its manifest. A running supervisor removes it, by its own manifest. If none\n\
        runs, this command does: with --config by that manifest, whose tenants are kept, running\n\
        or not; with --app as if the application had no tenants.\n\n\
        A tenant with running processes is kept, and the exit code is 1. With --kill, and if no\n\
        supervisor runs, its processes are ended first: by SIGTERM, and ten seconds later by\n\
        SIGKILL. The command names these tenants and asks on a terminal; elsewhere it needs\n\
        --yes, and without it changes nothing and exits with 2. What does not have the\n\
        application's mark is never touched.")]
    Gc(Gc),
    /// Show the output of tenants' programs, with their launches and ends
    #[command(after_help = "EXAMPLES\n  \
        tenantd logs acme\n  \
        tenantd logs acme beta -f\n  \
        tenantd logs 'shop-*' --since 10m\n  \
        tenantd logs --all --since '2026-11-26 18:30' | grep -i error\n\n\
        A line has a time, a stream (`stdout`, `stderr`; `syslog` for what the program writes to\n\
        /dev/log, with its name, process and level; `file` for the log files that the manifest\n\
        names; `tenantd` for launches and ends of the program) and a text. Lines of several tenants begin with the name of the tenant and are\n\
        merged by time. With --follow, a tenant without a line yet is waited for, and patterns and\n\
        --all also show tenants that are added later. The lines come from the journal if the\n\
        supervisor writes there, else from /var/log/tenantd. If no supervisor runs, patterns and\n\
        --all mean the tenants that have lines there.\n\n\
        TIMES for --since\n  \
        10m, 2h, 1h30m, 1d            that long ago\n  \
        18:30, 2026-11-26             today at that time; the beginning of that day\n  \
        '2026-11-26 18:30'            in the local time zone, with --utc in UTC\n  \
        2026-11-26T17:30:00Z          with its offset from UTC")]
    Logs(Logs),
    /// Run a command in a tenant, with its namespaces, user, cgroup and environment
    #[command(after_help = help::EXEC)]
    Exec(Exec),
    /// Compare what running tenants have with their plans
    #[command(after_help = help::VERIFY)]
    Verify(Verify),
    /// Try what a process of a tenant can do to its neighbours, the supervisor and the host
    #[command(after_help = help::LEAK_TEST)]
    LeakTest(LeakTest),
    /// Replace the running supervisor by the program on disk; tenants keep running
    #[command(after_help = help::UPGRADE)]
    Upgrade {
        /// Also if changes of the manifest, which are applied too, interrupt tenants
        #[arg(long)]
        apply: bool,
    },
    /// End the supervisor but not its tenants; the next supervisor adopts them
    #[command(after_help = help::DETACH)]
    Detach {
        /// Detach only while systemd restarts this unit; otherwise do nothing and exit with 0
        #[arg(long, value_name = "UNIT")]
        if_restarting: Option<String>,
    },
    /// Write a tenant, with its data, as one stream
    #[command(after_help = bundle::EXPORT)]
    Export(Export),
    /// Make a tenant from a stream that `export` wrote, or check one
    #[command(after_help = bundle::IMPORT)]
    Import(Import),
    /// Move a tenant to another host
    #[command(after_help = relocate::MOVE)]
    Move(Move),
    /// Carry out a step of a move, as its other host asks for on standard input
    #[command(hide = true)]
    Receive(Receive),
    /// Print the JSON schema of the manifest, for editors
    #[command(after_help = "EXAMPLES\n  tenantd schema > tenantd.schema.json")]
    Schema,
    /// Carry out an action of the resource agent ocf:tenantd:tenant, for Pacemaker
    #[command(after_help = help::OCF)]
    Ocf {
        /// What Pacemaker asks for
        #[arg(value_enum, hide_possible_values = true)]
        action: ocf::Action,
    },
    /// Print the commands that make tenants resources of Pacemaker
    #[command(after_help = cluster::HELP)]
    Cluster(Cluster),
    /// Print a manifest that is made from a unit of systemd
    #[command(after_help = help::IMPORT_UNIT)]
    ImportUnit(ImportUnit),
    /// Run a program once, see what it needs, and print a manifest for it
    #[command(after_help = help::LEARN)]
    Learn(Learn),
}

/// The arguments of `exec`.
#[derive(Debug, Args)]
pub struct Exec {
    /// Run the command while the tenant is down or has failed, for repairs
    #[arg(long)]
    pub offline: bool,
    /// Run the command as this user of the host, such as root, instead of the tenant's
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    /// The command is one of the manifest, which may signal the program
    #[arg(long, hide = true)]
    pub may_signal: bool,
    /// Name of the tenant
    #[arg(add = ArgValueCandidates::new(complete::tenants))]
    pub tenant: TenantName,
    /// Command and its arguments
    #[arg(trailing_var_arg = true, required = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

#[cfg(test)]
mod tests;
