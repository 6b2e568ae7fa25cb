//! The arguments of the commands on tenants: which ones, whether to wait, and what to print.

use std::num::NonZeroUsize;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap_complete::engine::ArgValueCandidates;

use crate::cli::complete;
use crate::cli::status::view::{Sort, View};
use tenantd_api::client::pattern::Pattern;
use tenantd_api::wire::StateWord;
use tenantd_core::name::TenantName;

/// Which tenants to start, stop or restart, and whether to wait.
#[derive(Debug, Args)]
pub struct Act {
    /// The tenants.
    #[command(flatten)]
    pub which: Which,
    /// Do not wait until the request is carried out
    #[arg(long)]
    pub no_wait: bool,
    /// Wait until a tenant is as wanted or failed, also while a failed start is tried again
    #[arg(long, conflicts_with = "no_wait")]
    pub wait: bool,
    /// What to print.
    #[command(flatten)]
    pub show: Show,
}

/// Whose datastores to give away.
#[derive(Debug, Args)]
pub struct Chown {
    /// Names of tenants
    #[arg(value_name = "NAME", required = true, add = ArgValueCandidates::new(complete::tenants))]
    pub names: Vec<TenantName>,
    /// Change nothing, only count
    #[arg(long)]
    pub dry_run: bool,
    /// Print JSON, one object per tenant
    #[arg(long)]
    pub json: bool,
}

/// What a command prints that changes tenants.
#[derive(Debug, Clone, Copy, Args)]
pub struct Show {
    /// Print only failures
    #[arg(short, long, conflicts_with = "json")]
    pub quiet: bool,
    /// Print JSON, with the outcome for each tenant
    #[arg(long)]
    pub json: bool,
}

/// Whether a change of the manifest is waited for, and what is printed.
#[derive(Debug, Clone, Copy, Args)]
pub struct Wait {
    /// Do not wait until the changes are complete
    #[arg(long)]
    pub no_wait: bool,
    /// What to print.
    #[command(flatten)]
    pub show: Show,
}

/// The arguments of `start`.
#[derive(Debug, Args)]
pub struct Start {
    /// The tenants, and whether to wait.
    #[command(flatten)]
    pub act: Act,
    /// Keep this after a full stop of the supervisor and after a reboot, instead of `autostart`
    #[arg(long)]
    pub permanent: bool,
    /// Take the datastores over from another host, which does not use them any more
    #[arg(long)]
    pub takeover: bool,
}

/// The arguments of `stop`.
#[derive(Debug, Args)]
pub struct Stop {
    /// The tenants, and whether to wait.
    #[command(flatten)]
    pub act: Act,
    /// Keep this after a full stop of the supervisor and after a reboot, instead of `autostart`
    #[arg(long)]
    pub permanent: bool,
}

/// The arguments of `restart`.
#[derive(Debug, Args)]
pub struct Restart {
    /// The tenants, and whether to wait.
    #[command(flatten)]
    pub act: Act,
    /// Restart in batches: each begins when all tenants of the previous one are ready; halt after a
    /// batch that does not become ready. Tenants that are wanted down are skipped
    #[arg(long, conflicts_with = "no_wait")]
    pub rolling: bool,
    /// Number of tenants per batch
    #[arg(long, value_name = "N", requires = "rolling", default_value = "1")]
    pub batch: NonZeroUsize,
}

/// The arguments of `kill`.
#[derive(Debug, Args)]
pub struct Kill {
    /// Signal, by its name or number: HUP, SIGHUP, 1
    #[arg(short, long, value_name = "SIGNAL", default_value = "TERM")]
    #[arg(value_parser = crate::cli::kill::signal, add = ArgValueCandidates::new(complete::signals))]
    pub signal: i32,
    /// Signal only the main process, and not every process
    #[arg(long)]
    pub main: bool,
    /// The tenants.
    #[command(flatten)]
    pub which: Which,
    /// What to print.
    #[command(flatten)]
    pub show: Show,
}

/// The arguments of `pause`, `resume` and `hibernate`.
#[derive(Debug, Args)]
pub struct Pause {
    /// The tenants.
    #[command(flatten)]
    pub which: Which,
    /// What to print.
    #[command(flatten)]
    pub show: Show,
}

/// The arguments of `reload-app`.
#[derive(Debug, Args)]
pub struct ReloadApp {
    /// The tenants.
    #[command(flatten)]
    pub which: Which,
    /// What to print.
    #[command(flatten)]
    pub show: Show,
}

/// The arguments of `verify`.
#[derive(Debug, Args)]
pub struct Verify {
    /// Names of tenants, or patterns [default: all that run]
    #[arg(value_name = "NAME", add = ArgValueCandidates::new(complete::tenants))]
    pub names: Vec<Pattern>,
    /// Mend what can be mended while the tenants run
    #[arg(long)]
    pub repair: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// The arguments of `leak-test`.
#[derive(Debug, Args)]
pub struct LeakTest {
    /// Tenant whose rights are tried [default: the first that runs]
    #[arg(value_name = "TENANT", add = ArgValueCandidates::new(complete::tenants))]
    pub tenant: Option<TenantName>,
    /// Tenant that is its neighbour [default: each other that runs]
    #[arg(value_name = "NEIGHBOUR", add = ArgValueCandidates::new(complete::tenants))]
    pub neighbour: Option<TenantName>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Tenants by name, or all: exactly one of the two.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct Which {
    /// Names of tenants, or patterns in quotes: 'shop-*'
    #[arg(value_name = "NAME", add = ArgValueCandidates::new(complete::tenants))]
    pub names: Vec<Pattern>,
    /// All tenants of the application
    #[arg(long)]
    pub all: bool,
}

/// The arguments of `status`.
#[derive(Debug, Args)]
pub struct Status {
    /// Names of tenants, or patterns in quotes: 'shop-*' [default: all]
    #[arg(value_name = "NAME", add = ArgValueCandidates::new(complete::tenants))]
    pub names: Vec<Pattern>,
    /// Show only tenants that are not as wanted
    #[arg(long)]
    pub failed: bool,
    /// Show only tenants in one of these states, as `failed,waiting`: down, provisioning, launching,
    /// up, stopping, waiting, failed, exited, releasing, stuck. Offline, initializing and preparing
    /// count as launching
    #[arg(long, value_name = "STATE", value_delimiter = ',', value_parser = states())]
    #[arg(hide_possible_values = true)]
    pub state: Vec<StateWord>,
    /// Sort by name, state, restarts, since or address, instead of the order of the manifest
    #[arg(long, value_name = "COLUMN", hide_possible_values = true)]
    pub sort: Option<Sort>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Keep running, and show each change
    #[arg(short, long, conflicts_with = "json")]
    pub watch: bool,
}

impl Status {
    /// Which tenants are shown, and in which order.
    pub(in crate::cli) fn view(&self) -> View {
        View {
            failed: self.failed,
            states: self.state.clone(),
            sort: self.sort,
        }
    }
}

/// Parses a state by its word.
fn states() -> impl TypedValueParser<Value = StateWord> {
    let words = StateWord::ALL.map(StateWord::word);
    PossibleValuesParser::new(words).map(|typed| {
        let mut all = StateWord::ALL.into_iter();
        let state = all.find(|state| state.word() == typed);
        state.expect("the possible values are the words of the states")
    })
}
