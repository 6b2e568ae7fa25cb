//! `check`: checks a manifest and the host. Changes neither.

use std::io::Write;
use std::path::Path;

use anstyle::{AnsiColor, Style};

use super::{End, plan};
use tenantd_host::doctor::{self, Grade};

/// Prints all problems of a manifest, and what the host lacks.
pub(super) fn check(config: &Path) -> anyhow::Result<End> {
    let (plan, _) = plan::read(config)?;
    let mut out = anstream::stdout().lock();
    writeln!(
        out,
        "{}: good: {} with {} tenant{}",
        config.display(),
        plan.app,
        plan.tenants.len(),
        if plan.tenants.len() == 1 { "" } else { "s" }
    )?;
    let findings = doctor::examine(plan.tenants.len());
    for finding in &findings {
        let style = Style::new().fg_color(Some(match finding.grade {
            Grade::Good => AnsiColor::Green.into(),
            Grade::Weak => AnsiColor::Yellow.into(),
            Grade::Bad => AnsiColor::Red.into(),
        }));
        let (grade, subject, found) = (finding.grade, finding.subject, &finding.found);
        writeln!(out, "host: {subject}: {style}{grade}{style:#}: {found}")?;
    }
    Ok(
        match findings.iter().any(|finding| finding.grade == Grade::Bad) {
            true => End::NotAsWanted,
            false => End::Done,
        },
    )
}
