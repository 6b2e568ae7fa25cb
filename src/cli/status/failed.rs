//! The lines about the last failure of a tenant that is shown alone, and about its strikes.

use std::io::{self, Write};

use jiff::Timestamp;

use super::table::length;
use crate::cli::typed;
use crate::cli::wrap::wrapped;
use tenantd_api::wire::{AppStatus, StateWord, TenantStatus};

/// Whether its last failure is to be shown: it is as wanted again, and the table does not say why it was not.
pub(super) fn is_over(tenant: &TenantStatus) -> bool {
    let failure = tenant.last_failure.as_ref();
    tenant.is_as_wanted() && failure.is_some_and(|failure| failure.reason.is_some())
}

/// Writes the lines below a tenant. `said` is what the program that failed wrote last to its standard error.
pub(super) fn below(
    out: &mut (impl Write + ?Sized),
    (status, tenant): (&AppStatus, &TenantStatus),
    now: Timestamp,
    said: &[String],
) -> io::Result<()> {
    let Some(failure) = &tenant.last_failure else {
        return Ok(());
    };
    if let (true, Some(reason), Some(time)) = (is_over(tenant), &failure.reason, failure.time) {
        let line = format!("  FAILED {} ago: {reason}", length(time, now));
        writeln!(out, "{}", wrapped(&line, &io::stdout()))?;
        for line in said {
            writeln!(out, "  STDERR {line}")?;
        }
    }
    if let (1.., Some(until)) = (failure.strikes, failure.until) {
        let of = match failure.strikes_max {
            0 => String::new(),
            most => format!(" of {most}"),
        };
        let left = length(now, until);
        writeln!(
            out,
            "  STRIKES {}{of}, the oldest counts for {left}",
            failure.strikes
        )?;
    }
    // One that was given up has others.
    if is_over(tenant) || tenant.state == StateWord::Waiting {
        let logs = typed(&status.app, &format!("logs {}", tenant.name));
        writeln!(out, "  NEXT `{logs}` shows what it said")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tenantd_api::wire::{LastFailure, Want};

    #[test]
    fn a_failure_that_is_over_is_shown_with_what_was_said() {
        let address = std::net::Ipv4Addr::new(10, 77, 0, 11).into();
        let mut tenant = TenantStatus::bare("acme".parse().unwrap(), address, StateWord::Up);
        tenant.want = Want::Up;
        tenant.ready = Some(true);
        let now: Timestamp = "2026-11-28T10:00:00Z".parse().unwrap();
        let before = |seconds: i64| {
            now.checked_sub(jiff::SignedDuration::from_secs(seconds))
                .ok()
        };
        tenant.last_failure = Some(LastFailure {
            time: before(190),
            reason: Some("program was killed by SIGKILL".to_owned()),
            strikes: 2,
            strikes_max: 5,
            until: before(-70),
        });
        let written = |tenant: &TenantStatus| {
            let status = crate::cli::status::tests::sample();
            let mut out = Vec::new();
            below(&mut out, (&status, tenant), now, &["no room".to_owned()]).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!(
            written(&tenant),
            "  FAILED 3m 10s ago: program was killed by SIGKILL\n  STDERR no room\n  STRIKES 2 of 5, the oldest \
             counts for 1m 10s\n  NEXT `tenantd logs acme` shows what it said\n"
        );
        // One that waits says why already.
        tenant.state = StateWord::Waiting;
        let said = written(&tenant);
        assert!(
            said.starts_with("  STRIKES 2 of 5") && said.contains("NEXT"),
            "{said}"
        );
        tenant.last_failure = None;
        tenant.state = StateWord::Up;
        assert_eq!(written(&tenant), "");
    }
}
