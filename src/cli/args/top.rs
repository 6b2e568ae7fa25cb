//! The arguments of `top`.

use std::time::Duration;

use clap::Args;
use clap_complete::engine::ArgValueCandidates;

use crate::cli::complete;
use crate::cli::top::order::Column;
use tenantd_api::client::pattern::Pattern;

/// The arguments of `top`.
#[derive(Debug, Args)]
pub struct Top {
    /// Names of tenants, or patterns in quotes: 'shop-*' [default: all, including tenants added
    /// later]
    #[arg(value_name = "NAME", add = ArgValueCandidates::new(complete::tenants))]
    pub names: Vec<Pattern>,
    /// Time between two measurements, in seconds
    #[arg(short, long, value_name = "SECONDS", default_value = "2", value_parser = interval)]
    pub interval: Duration,
    /// Order of the tenants: name, state, cpu, memory, in, out, restarts or uptime
    #[arg(
        long,
        value_name = "COLUMN",
        default_value = "cpu",
        hide_possible_values = true
    )]
    pub sort: Column,
    /// Measure for one interval, print the table and end, as without a terminal
    #[arg(long)]
    pub once: bool,
}

/// The longer help text.
pub(super) const HELP: &str = "EXAMPLES
  tenantd top
  tenantd top 'shop-*' --interval 5 --sort memory
  tenantd top --once | head -20      one table, measured for two seconds

On a terminal, the table is drawn again after each event and each measurement, until q. The
tenants come from the supervisor, which serves everyone who may ask it, see `operators` in
tenantd.toml(5); what they use is read from their cgroups and links, as every process of the
host may. A key that acts on a tenant needs the right that its command needs. If the
supervisor ends, the table stays, marked NOT CURRENT, until another one answers.

KEYS
  up, down, k, j    choose a tenant, as PageUp, PageDown, Home and End do; Escape: none
  s, x, r, p        start, stop, restart, pause it or let it continue; what interrupts it is
                    asked before
  l                 follow its log, until Ctrl-C
  w, Enter          show why it is in its state, its last error and what to type
  /, f              show only tenants with a text in their name; only those not as wanted
  o, O, i           sort by the next column, by the previous one; invert the order
  ?, q              show all keys; quit. Ctrl-Z suspends

COLUMNS
  CPU%          processor time, in percent of one processor
  MEM           memory that the kernel counts for the tenant's cgroup; where it does not, the
                column is RSS: the resident memory of its processes, in which what several
                share counts several times
  IN/s, OUT/s   bytes per second that the tenant receives and sends
  RESTARTS      how often its program was started again by the restart policy
  UPTIME        how long it is up
  TREND         CPU% of the last measurements; the full height is the largest, and at least 10
  K is 1024, M 1024 times that, and so on. A dash is not known, or nothing runs. A narrow
  terminal shows fewer columns.

Without a terminal on standard input and output, or with --once, it measures for one interval
and prints the table once. NO_COLOR suppresses colours.

EXIT CODES
  0 done   1 no supervisor answers, or TERM names a terminal that cannot be drawn on
  2 usage error   130 Ctrl-C";

/// The shortest and the longest interval, in seconds.
const SHORTEST: f64 = 0.1;
const LONGEST: f64 = 3600.0;

/// Parses a number of seconds.
fn interval(typed: &str) -> Result<Duration, String> {
    match typed.parse::<f64>() {
        Ok(seconds) if (SHORTEST..=LONGEST).contains(&seconds) => {
            Ok(Duration::from_secs_f64(seconds))
        }
        Ok(_) | Err(_) => Err(format!(
            "expected a number of seconds from {SHORTEST} to {LONGEST}"
        )),
    }
}
