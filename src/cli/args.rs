//! What can be typed. The words are those of the wire and of the documents.

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueHint};
use clap_complete::engine::ArgValueCandidates;

use super::complete;
use crate::name::TenantName;

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
        tenantd plan --config tenants.toml --json | jq '.tenants[].link.address'")]
    Plan {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Want tenants up, now: overrides a wait and ends a hold
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
        With --rolling it ends the roll: no further wave begins.")]
    Restart(Restart),
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
        remove    ended and released; its datastore stays\n\
        renew     released, provisioned and launched anew\n\
        relaunch  its program is started anew, on the network that stands\n\
        live      nothing of it is interrupted; `autostart` says what is wanted when the\n          \
        supervisor starts for the first time, and starts or stops nothing now\n\
        add       provisioned and launched")]
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
        tenantd status --app wiki >/dev/null || echo 'wiki needs an operator'")]
    Status {
        /// Which tenants; all if none is named
        #[arg(value_name = "NAME", add = ArgValueCandidates::new(complete::tenants))]
        names: Vec<TenantName>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Show all applications that run here; exit code 0 if all their tenants are as wanted
    #[command(after_help = "EXAMPLES\n  \
        tenantd list\n  \
        tenantd list --json | jq -r '.applications[].app'\n\n\
        An application whose supervisor died and left its runtime folder behind is shown as dead.")]
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Remove what is left on the host and belongs to no tenant of the manifest
    #[command(after_help = "EXAMPLES\n  \
        tenantd gc --dry-run               show what would be removed\n  \
        tenantd gc --app wiki\n  \
        tenantd gc --config wiki.toml      where no supervisor runs\n\n\
        The supervisor does it, by its plan; where none runs, it is done by the manifest, and for\n\
        an application that is named with --app as if that had no tenants. Nothing is taken of a\n\
        tenant of which anything lives: it is kept, and the exit code is 1. What bears no mark of\n\
        the application is left alone.")]
    Gc {
        /// Only say what would be removed
        #[arg(long)]
        dry_run: bool,
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
        tenantd leave\n  \
        tenantd leave --app wiki --if-restarting tenantd@wiki.service\n\n\
        Waits until the supervisor has ended. Until the next one runs, nobody starts a tenant again\n\
        that ends. To end the tenants too, stop the supervisor: `systemctl stop tenantd@wiki`.")]
    Leave {
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

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, error::ErrorKind};

    use super::*;

    fn parse(line: &str) -> Result<Cli, ErrorKind> {
        Cli::try_parse_from(line.split_whitespace()).map_err(|error| error.kind())
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn run_may_be_left_out() {
        let cli = parse("tenantd --config a.toml").unwrap();
        assert!(cli.command.is_none());
        assert_eq!(cli.chosen.config.unwrap().to_str(), Some("a.toml"));
        for line in ["tenantd run --config a.toml", "tenantd --config a.toml run"] {
            let cli = parse(line).unwrap();
            assert!(matches!(cli.command, Some(Command::Run)));
            assert!(cli.chosen.config.is_some());
        }
    }

    #[test]
    fn tenants_are_named_or_all_but_not_both_nor_neither() {
        let Some(Command::Stop(act)) = parse("tenantd stop acme beta --no-wait").unwrap().command
        else {
            panic!("a stop was typed");
        };
        assert_eq!(
            (
                act.act.which.names.len(),
                act.act.which.all,
                act.act.no_wait
            ),
            (2, false, true)
        );
        assert!(!act.permanent);
        assert!(parse("tenantd restart acme --permanent").is_err());
        assert!(parse("tenantd stop --all").is_ok());
        assert_eq!(
            parse("tenantd stop").unwrap_err(),
            ErrorKind::MissingRequiredArgument
        );
        assert_eq!(
            parse("tenantd stop acme --all").unwrap_err(),
            ErrorKind::ArgumentConflict
        );
        assert_eq!(
            parse("tenantd stop ../etc").unwrap_err(),
            ErrorKind::ValueValidation
        );
        assert_eq!(
            parse("tenantd status --app a --config b").unwrap_err(),
            ErrorKind::ArgumentConflict
        );
    }

    #[test]
    fn a_command_in_a_tenant_keeps_its_own_options() {
        let line = "tenantd exec acme --app wiki -- ls -l --all";
        let cli = parse(line).unwrap();
        assert_eq!(cli.chosen.app.as_deref(), Some("wiki"));
        let Some(Command::Exec { command, .. }) = cli.command else {
            panic!("an exec was typed");
        };
        assert_eq!(command, ["ls", "-l", "--all"]);
        assert!(parse("tenantd exec acme").is_err());
        assert!(parse("tenantd exec acme --").is_err());
    }

    #[test]
    fn each_help_has_examples_of_its_own_command() {
        let mut cli = Cli::command();
        cli.build();
        for command in cli.get_subcommands_mut() {
            let name = command.get_name().to_owned();
            if name == "help" {
                continue;
            }
            let help = command.render_long_help().to_string();
            let (_, examples) = help.split_once("EXAMPLES\n").expect(&name);
            assert!(examples.contains(&format!("tenantd {name}")), "{help}");
        }
    }

    #[test]
    fn every_example_parses() {
        let mut cli = Cli::command();
        cli.build();
        let mut texts = vec![cli.render_long_help().to_string()];
        texts.extend(
            cli.get_subcommands_mut()
                .map(|c| c.render_long_help().to_string()),
        );
        let mut count = 0;
        for line in texts.iter().flat_map(|text| text.lines()) {
            let Some(line) = line.strip_prefix("  tenantd ") else {
                continue;
            };
            // Up to a pipe, a redirection, or the explanation behind the columns.
            let end = [" |", " &&", " >", "   "]
                .iter()
                .filter_map(|at| line.find(at))
                .min();
            let typed = format!("tenantd {}", &line[..end.unwrap_or(line.len())]);
            assert!(parse(&typed).is_ok(), "{typed}: {:?}", parse(&typed).err());
            count += 1;
        }
        assert!(count >= 18, "only {count} examples were found");
    }
}
