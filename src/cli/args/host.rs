//! The arguments of the commands on the host and on manifests.

use std::path::PathBuf;

use clap::{Args, ValueHint};
use clap_complete::engine::ArgValueCandidates;

use crate::cli::recipes::Recipe;
use crate::cli::{complete, init};
use tenantd_core::name::AppName;

/// The arguments of `doctor`.
#[derive(Debug, Args)]
pub struct Doctor {
    /// Examine the host for this many tenants instead of those that it has
    #[arg(long, value_name = "NUMBER")]
    pub tenants: Option<u64>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// The arguments of `init`.
#[derive(Debug, Args)]
pub struct Init {
    /// Recipe, see --list
    #[arg(value_parser = init::parse, add = ArgValueCandidates::new(complete::recipes))]
    #[arg(conflicts_with = "list")]
    pub recipe: Option<&'static Recipe>,
    /// Name of the application [default: that of the recipe]
    #[arg(conflicts_with = "list")]
    pub name: Option<AppName>,
    /// File to write instead of /etc/tenantd/NAME.toml; - for standard output
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    #[arg(conflicts_with = "list")]
    pub to: Option<PathBuf>,
    /// List the recipes, as without RECIPE
    #[arg(long)]
    pub list: bool,
}

/// The arguments of `gc`.
#[derive(Debug, Args)]
pub struct Gc {
    /// Only show what would be removed
    #[arg(long)]
    pub dry_run: bool,
    /// End the processes of its tenants first, if no supervisor runs
    #[arg(long, conflicts_with = "dry_run")]
    pub kill: bool,
    /// Do not ask before ending processes
    #[arg(long, requires = "kill")]
    pub yes: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}
