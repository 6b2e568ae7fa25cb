//! What can be typed. The words are those of the wire and of the documents.

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueHint};
use clap_complete::engine::ArgValueCandidates;

use super::complete;
use tenantd_core::name::TenantName;

/// Runs an unchanged single-tenant program once per tenant
///
/// Each tenant has a network namespace (its own address, every port free) and a mount namespace
/// (its own data under the path that the program expects), and nothing else of its own. One
/// manifest says it all.
#[derive(Debug, Parser)]
#[command(
    version,
    args_conflicts_with_subcommands = false,
    after_help = "EXAMPLES\n  \
        tenantd --config /etc/tenantd/wiki.toml   run all tenants of an application\n  \
        tenantd status                            show them\n  \
        tenantd restart acme                      restart one of them\n\n\
        ENVIRONMENT\n  \
        TENANTD_APP, TENANTD_CONFIG   what --app and --config say, where neither is given\n\n\
        EXIT CODES\n  \
        0 done   1 refused, failed or not as wanted   2 usage   78 bad manifest"
)]
pub struct Cli {
    /// Which application is meant.
    #[command(flatten)]
    pub chosen: Chosen,
    /// What to do; `run` if nothing is said.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Which application is meant.
#[derive(Debug, Args)]
pub struct Chosen {
    /// The manifest (`run`, `check`, `plan`), or the one whose application is meant
    #[arg(long, global = true, value_name = "FILE", conflicts_with = "app")]
    #[arg(value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,
    /// The application, where several run
    #[arg(long, global = true, value_name = "NAME")]
    #[arg(add = ArgValueCandidates::new(complete::apps))]
    pub app: Option<String>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run all tenants of a manifest, until SIGTERM or SIGINT stops them
    #[command(after_help = "EXAMPLES\n  \
        tenantd run --config tenants.toml\n  \
        tenantd --config tenants.toml\n  \
        systemctl start tenantd@wiki       runs /etc/tenantd/wiki.toml")]
    Run,
    /// Check a manifest and this host, and say every problem
    #[command(after_help = "EXAMPLES\n  \
        tenantd check --config tenants.toml && systemctl restart tenantd@wiki\n\n\
        Exit code 78: the manifest has problems. 1: the host lacks something.")]
    Check,
    /// Show everything that is derived from a manifest
    #[command(after_help = "EXAMPLES\n  \
        tenantd plan --config tenants.toml\n  \
        tenantd plan --config tenants.toml --json | jq '.tenants[].link.addresses[]'")]
    Plan {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Want tenants up, now: overrides a wait and starts again what has failed
    #[command(after_help = "EXAMPLES\n  \
        tenantd start acme beta\n  \
        tenantd start --all --no-wait\n  \
        tenantd start acme --permanent     also after a reboot\n\n\
        Waits until each is up and ready, or was given up. Ctrl-C ends the waiting only.")]
    Start(ForGood),
    /// Want tenants down: their program is ended, their network released
    #[command(after_help = "EXAMPLES\n  \
        tenantd stop acme\n  \
        tenantd stop --all\n  \
        tenantd stop acme --permanent      also after a reboot\n\n\
        Waits until each is proved down: exit code 0 says that nothing of it is left but its\n\
        datastore. Ctrl-C ends the waiting only.")]
    Stop(ForGood),
    /// End the program of tenants and start it again; their network stays
    #[command(after_help = "EXAMPLES\n  \
        tenantd restart acme\n  \
        tenantd restart --all --no-wait\n  \
        tenantd restart --all --rolling --batch 5\n\n\
        Waits until each is up and ready again, or was given up. Ctrl-C ends the waiting only.\n\
        With --rolling it ends the roll after the wave that is under way, and says who runs what.")]
    Restart(Restart),
    /// Add a tenant to the manifest, and reload
    #[command(after_help = "EXAMPLES\n  \
        tenantd add acme ip=10.77.0.14\n  \
        tenantd add acme ip=10.77.0.14 autostart=false 'arguments=[\"-v\"]'\n\n\
        The keys are those of a tenant in the manifest, see tenantd.toml(5). A value that is no\n\
        TOML is taken as a text. Comments and order of the manifest stay. With any problem nothing\n\
        is changed, and all of them are shown. Without a running supervisor it takes effect when\n\
        one is started.")]
    Add {
        /// The new tenant
        tenant: TenantName,
        /// What it is like
        #[arg(value_name = "KEY=VALUE", value_parser = setting)]
        keys: Vec<(String, String)>,
        /// Return once the changes have begun
        #[arg(long)]
        no_wait: bool,
    },
    /// Remove a tenant from the manifest, and reload: it is ended, its datastore stays
    #[command(after_help = "EXAMPLES\n  \
        tenantd remove acme\n\n\
        The comment right above its line goes with it. tenantd never deletes data: the answer says\n\
        where the datastore stays.")]
    Remove {
        /// The tenant
        #[arg(add = ArgValueCandidates::new(complete::tenants))]
        tenant: TenantName,
        /// Return once the changes have begun
        #[arg(long)]
        no_wait: bool,
    },
    /// Read the manifest again and do what is different: a bad one changes nothing
    #[command(after_help = "EXAMPLES\n  \
        tenantd reload\n  \
        tenantd reload --no-wait\n  \
        tenantd diff && tenantd reload        look first\n\n\
        Waits until each tenant that changed is as wanted, or was given up. SIGHUP does the same\n\
        and says in the log what came of it. Exit code 78: the manifest has problems.")]
    Reload {
        /// Return once the changes have begun
        #[arg(long)]
        no_wait: bool,
    },
    /// Show what a reload would do, and which fields cause it
    #[command(after_help = "EXAMPLES\n  \
        tenantd diff\n  \
        tenantd diff --json | jq -r '.tenants[].tenant'\n  \
        tenantd diff --exit-code >/dev/null || echo 'not reloaded yet'\n\n\
        remove       ended and released; its datastore stays\n\
        reprovision  released, provisioned and launched again\n\
        relaunch     its program is started anew, on the network that stands\n\
        live         nothing of it is interrupted; `autostart` says what is wanted when the\n             \
        supervisor starts for the first time, and starts or stops nothing now\n\
        add          provisioned and launched")]
    Diff {
        /// As JSON
        #[arg(long)]
        json: bool,
        /// End with 1 if anything changes
        #[arg(long)]
        exit_code: bool,
    },
    /// Show the state of tenants; exit code 0 if all are as wanted
    #[command(after_help = "EXAMPLES\n  \
        tenantd status\n  \
        tenantd status acme --json | jq -r '.tenants[0].state'\n  \
        tenantd status --app wiki >/dev/null || echo 'wiki needs an operator'\n  \
        tenantd status --watch\n\n\
        With --watch it goes on until it is interrupted: on a terminal the table is drawn again\n\
        whenever something happens; elsewhere it is printed once, and then a line for each event, as\n\
        `tenantd events --follow` does. It goes on over an upgrade of the supervisor, and fails with\n\
        exit code 1 when the supervisor ends.")]
    Status {
        /// Which tenants; all if none is named
        #[arg(value_name = "NAME", add = ArgValueCandidates::new(complete::tenants))]
        names: Vec<TenantName>,
        /// As JSON
        #[arg(long)]
        json: bool,
        /// Go on, and show each change
        #[arg(short, long, conflicts_with = "json")]
        watch: bool,
    },
    /// Show the state of tenants, a line each, and what happens to them from then on
    #[command(after_help = "EXAMPLES\n  \
        tenantd events -f\n  \
        tenantd events -f acme beta\n  \
        tenantd events -f --json | jq -r 'select(.exit.signal) | .tenant'\n\n\
        First comes a line for each tenant, with its state and since when it is in it. Without\n\
        --follow that is all: the supervisor keeps no events, its log does (`journalctl -u\n\
        tenantd@wiki`). With --follow a line for each event comes after it, as it happens: transitions from\n\
        state to state with their reason, `ready`, `added` and `removed` (by a reload), `changed`\n\
        (what is wanted).\n\n\
        With --json each line is an object: app, tenant, kind (snapshot, or one of transition,\n\
        ready, added, changed, removed), from, state, reason, exit (status or signal of a program that\n\
        ended), time, and status: the tenant after the event, as `tenantd status --json` has it.\n\n\
        It goes on over an upgrade of the supervisor, with a line for each tenant that is not as it was.\n\
        When the supervisor ends, it fails with exit code 1 and says whether the tenants go on.")]
    Events {
        /// Which tenants; all, and those that are added later, if none is named
        #[arg(value_name = "NAME", add = ArgValueCandidates::new(complete::tenants))]
        names: Vec<TenantName>,
        /// Go on with what happens from now on
        #[arg(short, long)]
        follow: bool,
        /// As JSON, an object per line
        #[arg(long)]
        json: bool,
    },
    /// Show all applications that run here; exit code 0 if all their tenants are as wanted
    #[command(after_help = "EXAMPLES\n  \
        tenantd list\n  \
        tenantd list --json | jq -r '.applications[].app'\n\n\
        An application whose supervisor died is shown as dead, and one whose supervisor has detached as\n\
        detached: its tenants go on, and the next supervisor takes them over.")]
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Remove what is left on the host and belongs to no tenant of the manifest
    #[command(after_help = "EXAMPLES\n  \
        tenantd gc --dry-run               show what would be removed\n  \
        tenantd gc --app wiki\n  \
        tenantd gc --config wiki.toml      where no supervisor runs\n  \
        tenantd gc --app wiki --kill       end its tenants too, where no supervisor could\n\n\
        The supervisor does it, by its plan; where none runs, it is done by the manifest, and for\n\
        an application that is named with --app as if that had no tenants. Nothing is taken of a\n\
        tenant of which anything lives: it is kept, and the exit code is 1; with --kill it is ended\n\
        first, by SIGTERM and ten seconds later by SIGKILL, unless a supervisor runs, which has\n\
        ended what is in no plan already. What bears no mark of the application is left alone.")]
    Gc {
        /// Only say what would be removed
        #[arg(long)]
        dry_run: bool,
        /// End what lives, where no supervisor runs
        #[arg(long, conflicts_with = "dry_run")]
        kill: bool,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Show what a tenant's program wrote
    #[command(after_help = "EXAMPLES\n  \
        tenantd logs acme\n  \
        tenantd logs acme -f\n  \
        tenantd logs acme -n 1000 | grep -i error")]
    Logs(Logs),
    /// Run a command inside a tenant: its namespaces, user, cgroup and environment
    #[command(after_help = "EXAMPLES\n  \
        tenantd exec acme -- sh\n  \
        tenantd exec acme -- curl -s http://127.0.0.1/\n  \
        tenantd exec acme -- ls -l /var/lib/wiki\n\n\
        The exit code is the command's; 127: no such command, 126: it cannot be executed.")]
    Exec {
        /// The tenant
        #[arg(add = ArgValueCandidates::new(complete::tenants))]
        tenant: TenantName,
        /// The command and its arguments
        #[arg(last = true, required = true, value_name = "COMMAND")]
        command: Vec<OsString>,
    },
    /// Execute the program on disk in the supervisor's process: the tenants go on
    #[command(after_help = "EXAMPLES\n  \
        tenantd upgrade\n  \
        systemctl reload tenantd@wiki      does the same\n\n\
        The program is tried first. If it would not serve, for example because the manifest has\n\
        mistakes, or if it fails before it is ready, the one that runs carries on, and this says why.\n\
        The manifest is read anew.")]
    Upgrade,
    /// End the supervisor and let the tenants go on: the next supervisor takes them over
    #[command(after_help = "EXAMPLES\n  \
        tenantd detach\n  \
        tenantd detach --app wiki --if-restarting tenantd@wiki.service\n\n\
        Waits until the supervisor has ended. Until the next one runs, `tenantd list` shows the\n\
        application as detached, and nobody starts a tenant again that ends. To end the tenants too,\n\
        stop the supervisor: `systemctl stop tenantd@wiki`.")]
    Detach {
        /// Only while systemd restarts this unit; else do nothing, which is no error
        #[arg(long, value_name = "UNIT")]
        if_restarting: Option<String>,
    },
    /// Print the JSON schema of the manifest, for editors
    #[command(after_help = "EXAMPLES\n  tenantd schema > tenantd.schema.json")]
    Schema,
}

/// Which tenants are to be started, stopped or restarted.
#[derive(Debug, Args)]
pub struct Act {
    /// Which tenants.
    #[command(flatten)]
    pub which: Which,
    /// Return once the request is accepted
    #[arg(long)]
    pub no_wait: bool,
}

/// Which tenants are to be started or stopped, and for how long.
#[derive(Debug, Args)]
pub struct ForGood {
    /// Which tenants.
    #[command(flatten)]
    pub act: Act,
    /// Also after the supervisor's end and a reboot, whatever `autostart` says
    #[arg(long)]
    pub permanent: bool,
}

/// Which tenants are to be restarted, and whether all at once.
#[derive(Debug, Args)]
pub struct Restart {
    /// Which tenants.
    #[command(flatten)]
    pub act: Act,
    /// In waves: the next one begins when all of this one are ready; the first that does not get
    /// ready is the last. Tenants that are wanted down are left alone
    #[arg(long, conflicts_with = "no_wait")]
    pub rolling: bool,
    /// Tenants in a wave
    #[arg(long, value_name = "N", requires = "rolling", default_value = "1")]
    pub batch: NonZeroUsize,
}

/// Tenants by name, or all: one of the two must be said.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct Which {
    /// Which tenants
    #[arg(value_name = "NAME", add = ArgValueCandidates::new(complete::tenants))]
    pub names: Vec<TenantName>,
    /// All tenants of the application
    #[arg(long)]
    pub all: bool,
}

/// Which part of which log.
#[derive(Debug, Args)]
pub struct Logs {
    /// The tenant
    #[arg(add = ArgValueCandidates::new(complete::tenants))]
    pub tenant: TenantName,
    /// Go on with what is written from now on
    #[arg(short, long)]
    pub follow: bool,
    /// How many of the last lines
    #[arg(short = 'n', long, default_value_t = 100, value_name = "N")]
    pub lines: usize,
}

/// A key and its value.
fn setting(typed: &str) -> Result<(String, String), String> {
    let (key, value) = typed
        .split_once('=')
        .ok_or("a key and its value are written KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests;
