//! The options that select an application.

use std::path::PathBuf;

use clap::{Args, ValueHint};
use clap_complete::engine::ArgValueCandidates;

use crate::cli::complete;

/// The options that select an application.
#[derive(Debug, Args)]
pub struct Chosen {
    /// Manifest to read (run, check, plan), or whose application to select
    #[arg(long, global = true, value_name = "FILE", conflicts_with = "app")]
    #[arg(value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,
    /// Application to select, if several run
    #[arg(long, global = true, value_name = "NAME")]
    #[arg(add = ArgValueCandidates::new(complete::apps))]
    pub app: Option<String>,
}
