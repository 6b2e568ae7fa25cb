//! The arguments of `logs`.

use clap::Args;
use clap_complete::engine::ArgValueCandidates;

use super::since::Since;
use crate::cli::complete;
use tenantd_api::client::pattern::Pattern;

/// The arguments of `logs`.
#[derive(Debug, Args)]
pub struct Logs {
    /// The tenants.
    #[command(flatten)]
    pub logged: Logged,
    /// Keep running, and print new output
    #[arg(short, long)]
    pub follow: bool,
    /// Number of last lines to print, of all tenants together [default: 100; with --since: all]
    #[arg(short = 'n', long, value_name = "N")]
    pub lines: Option<usize>,
    /// Print only lines since this time
    #[arg(short = 'S', long, value_name = "TIME")]
    pub since: Option<Since>,
    /// Print times in UTC, to the microsecond [default: local time]
    #[arg(long)]
    pub utc: bool,
}

/// Tenants by name or pattern, or all: exactly one of the two.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct Logged {
    /// Names of tenants, or patterns with `*` and `?`
    #[arg(value_name = "NAME", add = ArgValueCandidates::new(complete::tenants))]
    pub names: Vec<Pattern>,
    /// All tenants of the application
    #[arg(long)]
    pub all: bool,
}
