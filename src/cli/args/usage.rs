//! The arguments of `meter` and `usage`.

use std::time::Duration;

use clap::{Args, ValueEnum};
use clap_complete::engine::ArgValueCandidates;
use jiff::civil::Date;

use super::learn::span;
use crate::cli::complete;
use crate::cli::metrics::{Listen, listen};
use tenantd_api::client::pattern::Pattern;

/// The help of `meter`.
pub(super) const METER: &str = "EXAMPLES
  systemctl enable --now tenantd-meter
  tenantd meter --interval 1m --datastores never

One process for all applications of the host, and one at a time. It reads what the kernel counts
for the cgroup and the link of each tenant, and writes what was used to the SQLite database
/var/lib/tenantd/.meter/usage.db. It may be ended, killed and upgraded at any moment: tenants
do not notice, and nothing is lost or counted twice. While none runs, supervisors keep the last
counters of the tenants that they release; what tenants used that run on is read later, and
spread evenly over the time.

Memory, input and output are counted if the cgroup tree has the controllers `memory` and `io`.
Supervisors enable them when they start or reload and find a meter: after the first start of the
meter, reload each application once. What tenants used before the first meter ran is not known.";

/// The help of `usage`.
pub(super) const USAGE: &str = "EXAMPLES
  tenantd usage
  tenantd usage acme --from 2026-10 --to 2026-10 --html > acme.html
  tenantd usage --app wiki 'shop-*' --from 2026-01 --by month
  tenantd usage --csv | column -ts,

Days and months are in UTC. Shows the tenants of all applications, without --app or --config,
also of those that have been removed. It needs root, and tenantd-meter.service: see
`tenantd meter`.

COLUMNS
  CPU        processor time
  MEMORY     bytes times hours: 1.0 GiB h is 1 GiB for an hour, or 2 GiB for half of it
  PEAK       the most memory
  READ, WRITTEN  bytes from and to block devices
  IN, OUT    bytes that the tenant received and sent over its link
  DATA       the largest size of its datastore
  UP         how long its program ran
  RESTARTS   how often it was started again after it ended without a request
  OOM        processes that were killed because memory was used up
A dash, in JSON null: not counted on this host. JSON and comma-separated values have bytes,
byte_seconds, microseconds (usec) and milliseconds (ms).";

/// The arguments of `meter`.
#[derive(Debug, Args)]
pub struct Meter {
    /// Time between two readings of the counters
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = span)]
    pub interval: Duration,
    /// Time between two measurements of the datastores, or never
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = seldom)]
    pub datastores: Duration,
}

/// The help of `metrics`.
pub(super) const METRICS: &str = "EXAMPLES
  systemctl enable --now tenantd-metrics
  curl --unix-socket /run/tenantd-metrics/socket http://localhost/metrics
  tenantd metrics --listen 127.0.0.1:9750

One process for all applications of the host. It serves /metrics by HTTP, in the format of
OpenMetrics or, if that is not asked for, in the text format of Prometheus. Without --listen it is
a Unix socket that only root may use. Everybody who reaches an address may read it: the names of all
tenants are in it.

What the cgroup tree has no controller for has no metric. Counters of a tenant begin at zero with each
provision, which Prometheus notices.";

/// The arguments of `metrics`.
#[derive(Debug, Args)]
pub struct Metrics {
    /// Where to listen: unix:PATH, or an address and a port
    #[arg(long, value_name = "PLACE", default_value = "unix:/run/tenantd-metrics/socket", value_parser = listen)]
    pub listen: Listen,
}

/// The arguments of `usage`.
#[derive(Debug, Args)]
pub struct Usage {
    /// Names of tenants, or patterns in quotes: 'shop-*' [default: all]
    #[arg(value_name = "NAME", add = ArgValueCandidates::new(complete::tenants))]
    pub names: Vec<Pattern>,
    /// First day or month, such as 2026-11-27 or 2026-11 [default: this month]
    #[arg(long, value_name = "DATE", value_parser = first)]
    pub from: Option<Date>,
    /// Last day or month [default: today]
    #[arg(long, value_name = "DATE", value_parser = last)]
    pub to: Option<Date>,
    /// Length of a period
    #[arg(long, value_name = "day|month", value_enum, default_value_t = By::Day)]
    #[arg(hide_possible_values = true)]
    pub by: By,
    /// Print JSON
    #[arg(long, conflicts_with_all = ["csv", "html"])]
    pub json: bool,
    /// Print comma-separated values
    #[arg(long, conflicts_with = "html")]
    pub csv: bool,
    /// Print a page with charts, to send or to print
    #[arg(long)]
    pub html: bool,
}

/// The length of a period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum By {
    /// A day, in UTC.
    Day,
    /// A month.
    Month,
}

/// Parses a time, or `never`, which is zero.
fn seldom(typed: &str) -> Result<Duration, String> {
    match typed {
        "never" => Ok(Duration::ZERO),
        typed => span(typed),
    }
}

/// Parses a day, or a month as its first day.
fn first(typed: &str) -> Result<Date, String> {
    let month = || format!("{typed}-01").parse();
    let day = typed.parse().or_else(|_| month());
    day.map_err(|_| "expected a day as 2026-11-27 or a month as 2026-11".to_owned())
}

/// Parses a day, or a month as its last day.
fn last(typed: &str) -> Result<Date, String> {
    let day: Result<Date, _> = typed.parse();
    day.or_else(|_| first(typed).map(Date::last_of_month))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_months_are_understood() {
        let days = |typed| [first(typed), last(typed)].map(|it| it.unwrap().to_string());
        assert_eq!(days("2026-02-07"), ["2026-02-07", "2026-02-07"]);
        assert_eq!(days("2028-02"), ["2028-02-01", "2028-02-29"]);
        assert!(first("February").is_err() && last("2026-13").is_err());
        assert_eq!(seldom("never"), Ok(Duration::ZERO));
        assert_eq!(seldom("2h"), Ok(Duration::from_secs(7200)));
    }
}
