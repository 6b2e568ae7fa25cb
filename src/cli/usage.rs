//! `usage`: prints what tenants used, as the meter has kept it.

mod csv;
mod html;
mod table;
pub(super) mod units;

use std::collections::BTreeMap;
use std::io::{self, Write};

use anyhow::{Context, bail};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::args::{By, Usage as Asked};
use super::{End, meter};
use tenantd_api::usage::{Amounts, Usage};
use tenantd_core::name::AppName;

/// Prints the usage of the tenants of this application, or of all.
pub(super) fn usage(app: Option<&AppName>, what: &Asked) -> anyhow::Result<End> {
    let today = Timestamp::now().to_zoned(TimeZone::UTC).date();
    let to = what.to.unwrap_or(today);
    let from = what.from.unwrap_or_else(|| to.first_of_month());
    if from > to {
        bail!("--from {from} is later than --to {to}");
    }
    let answer = meter::query(&from.to_string(), &to.to_string())?;
    let mut days: Vec<Usage> =
        serde_json::from_slice(&answer).context("cannot understand the answer of tenantd-meter")?;
    days.retain(|day| app.is_none_or(|app| day.app == *app));
    for pattern in &what.names {
        if !days.iter().any(|day| pattern.matches(&day.tenant)) {
            bail!("{pattern}: nothing is known of such a tenant from {from} to {to}");
        }
    }
    let is_meant = |day: &Usage| what.names.iter().any(|it| it.matches(&day.tenant));
    days.retain(|day| what.names.is_empty() || is_meant(day));
    let usage = match what.by {
        By::Day => days,
        By::Month => months(days),
    };
    let text = match what {
        Asked { json: true, .. } => serde_json::to_string_pretty(&usage)? + "\n",
        Asked { csv: true, .. } => csv::csv(&usage),
        Asked { html: true, .. } => html::page(&usage, (from, to)),
        _ if usage.is_empty() => {
            eprintln!("nothing is known of any tenant from {from} to {to}");
            return Ok(End::Done);
        }
        _ => table::table(&usage),
    };
    io::stdout().lock().write_all(text.as_bytes())?;
    Ok(End::Done)
}

/// Adds up the days of each month.
fn months(days: Vec<Usage>) -> Vec<Usage> {
    let mut months: BTreeMap<_, Amounts> = BTreeMap::new();
    for day in days {
        let month = day
            .period
            .parse::<Date>()
            .map(|date| date.strftime("%Y-%m").to_string());
        let period = month.unwrap_or(day.period);
        months
            .entry((day.app, day.tenant, period))
            .or_default()
            .add(&day.amounts);
    }
    let months = months.into_iter();
    let usage = months.map(|((app, tenant, period), amounts)| Usage {
        app,
        tenant,
        period,
        amounts,
    });
    usage.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Some days of two tenants.
    pub(super) fn sample() -> Vec<Usage> {
        let day = |tenant: &str, period: &str, cpu: u64| Usage {
            app: "wiki".parse().unwrap(),
            tenant: tenant.parse().unwrap(),
            period: period.to_owned(),
            amounts: Amounts {
                cpu_usec: Some(cpu),
                memory_byte_seconds: Some(3600 << 30),
                memory_peak: Some(64 << 20),
                in_bytes: Some(1536),
                out_bytes: Some(0),
                restarts: Some(2),
                up_ms: Some(86_400_000),
                ..Amounts::default()
            },
        };
        vec![
            day("acme", "2026-10-31", 90_000_000),
            day("acme", "2026-11-01", 1_500_000),
            day("acme", "2026-11-02", 0),
            day("globex", "2026-11-02", 7_200_000_000),
        ]
    }

    #[test]
    fn days_are_added_up_to_months() {
        let found = months(sample());
        let found: Vec<_> = found
            .iter()
            .map(|it| {
                (
                    it.tenant.as_str(),
                    it.period.as_str(),
                    it.amounts.cpu_usec.unwrap(),
                )
            })
            .collect();
        let expected = [
            ("acme", "2026-10", 90_000_000),
            ("acme", "2026-11", 1_500_000),
            ("globex", "2026-11", 7_200_000_000),
        ];
        assert_eq!(found, expected);
    }
}
