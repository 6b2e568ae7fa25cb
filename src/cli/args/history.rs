//! The arguments of `history`.

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap_complete::engine::ArgValueCandidates;

use crate::cli::complete;
use crate::cli::logs::Since;
use tenantd_api::client::pattern::Pattern;
use tenantd_api::history::Kind;

/// The help.
pub(super) const HELP: &str = "EXAMPLES
  tenantd history                             the last 100 entries of all applications
  tenantd history acme --since 12h
  tenantd history 'shop-*' --since '2026-11-27 22:00' --until '2026-11-28 06:00'
  tenantd history --kind end,limit --json | jq -r '.text'

Needs tenantd-meter.service, which keeps what supervisors note: see `tenantd meter`. A user without
root needs the right `logs`, names one application, and sees neither requests nor what a reload
changed.
With names it shows these tenants, and what concerns all of them. What is the same more than three
times within an hour is one entry, with a count and the time of the last. The output of a program before it ended, and
the changes of a reload, follow in lines that begin with spaces.

KINDS
  start       a program was started
  end         a program ended, is being ended, or could not be started, with the reason and its
              last lines of output
  limit       a limit was reached, as that of memory (OOM killer)
  pause       tenants were paused or hibernated, or continue
  request     who asked for what, and what became of it
  reload      what a reload changed
  drift       what another program of the host changed of a tenant's network
  supervisor  a supervisor began, ended, detached, was upgraded, or was killed
  host        the host was booted
  gap         entries are missing here

An entry is kept for 90 days, and all of them take at most 64 MiB: beyond that the tenant with the
most loses its oldest. While no meter runs, supervisors keep at least the last 32 KiB of each
tenant. What a supervisor has noted within the milliseconds before it is killed may be lost.

With --json: one object per line with time, app, tenant, kind, text, times, until, tenants,
details, output and request (see `tenantd events`).";

/// The arguments of `history`.
#[derive(Debug, Args)]
pub struct History {
    /// Names of tenants, or patterns in quotes: 'shop-*' [default: all]
    #[arg(value_name = "NAME", add = ArgValueCandidates::new(complete::tenants))]
    pub names: Vec<Pattern>,
    /// Show only what happened since this time
    #[arg(short = 'S', long, value_name = "TIME")]
    pub since: Option<Since>,
    /// Show only what happened until this time
    #[arg(short = 'U', long, value_name = "TIME")]
    pub until: Option<Since>,
    /// Number of last entries to show [default: 100; with --since: all]
    #[arg(short = 'n', long, value_name = "N")]
    pub lines: Option<u64>,
    /// Show only these kinds, separated by commas
    #[arg(long, value_name = "KIND", value_delimiter = ',', value_parser = kinds())]
    #[arg(hide_possible_values = true)]
    pub kind: Vec<Kind>,
    /// Show times in UTC, to the millisecond [default: local time]
    #[arg(long)]
    pub utc: bool,
    /// Print JSON, one object per line
    #[arg(long)]
    pub json: bool,
}

fn kinds() -> impl TypedValueParser<Value = Kind> {
    let words = Kind::ALL.iter().map(|kind| kind.word());
    PossibleValuesParser::new(words).try_map(|word| {
        let found = Kind::ALL.iter().find(|kind| kind.word() == word);
        found.copied().ok_or("no such kind")
    })
}
