//! The end of a command on tenants: its summary and the commands to type next, or its JSON.

use std::collections::BTreeMap;
use std::io::{self, Write};

use super::{Doing, Progress};
use crate::cli::last_line::last_line;
use crate::cli::outcome::{self, Became, Outcome, Outcomes};
use crate::cli::wrap::wrapped;
use crate::cli::{End, typed};
use tenantd_core::name::TenantName;

/// For how many failed tenants the last line of stderr is printed.
const LAST_LINES_MAX: usize = 10;

impl Progress<'_> {
    /// How many outcomes there are of a kind.
    fn count(&self, became: Became) -> usize {
        let those = self.outcomes.iter().filter(|o| o.became == became);
        those.count()
    }

    /// Prints the summary or the JSON. Returns how the command ends.
    pub(in crate::cli) fn finish(mut self, interrupted: bool) -> io::Result<End> {
        if let Some(bar) = &mut self.bar {
            bar.clear()?;
        }
        let failed = self.outcomes.iter().any(|o| o.became.is_failure());
        let end = match (interrupted, failed) {
            (true, _) => End::Interrupted,
            (false, true) => End::NotAsWanted,
            (false, false) => End::Done,
        };
        if self.show.json {
            let outcomes = Outcomes {
                app: self.app,
                verb: self.doing.verb(),
                ok: end == End::Done,
                tenants: &self.outcomes,
            };
            serde_json::to_writer_pretty(&mut self.out, &outcomes).map_err(io::Error::from)?;
            writeln!(self.out)?;
            return Ok(end);
        }
        if interrupted || (!self.show.quiet && self.outcomes.len() > 1) {
            let mut summary = self.summary(interrupted);
            if interrupted {
                summary = format!("interrupted: {summary}");
            }
            writeln!(self.out, "{}", wrapped(&summary, &io::stdout()))?;
        }
        if interrupted || !self.show.quiet {
            for hint in self.hints(interrupted) {
                writeln!(self.out, "{}", wrapped(&hint, &io::stdout()))?;
            }
        }
        self.out.flush()?;
        Ok(end)
    }

    /// `200 tenants: 195 started, 5 failed`. If interrupted, names the first of those that were not
    /// waited for.
    fn summary(&self, interrupted: bool) -> String {
        let kinds = [
            (Became::Done, self.doing.past()),
            (Became::Removed, "removed"),
            (Became::Failed, "failed"),
            (Became::Refused, "refused"),
        ];
        let counts = kinds.map(|(became, word)| (self.count(became), word));
        let counts = counts.iter().filter(|(count, _)| *count > 0);
        let mut parts: Vec<String> = counts
            .map(|(count, word)| format!("{count} {word}"))
            .collect();
        let is_left = |o: &&Outcome| matches!(o.became, Became::Pending | Became::NoChange);
        let mut kinds: BTreeMap<(bool, &str), Vec<&TenantName>> = BTreeMap::new();
        for outcome in self.outcomes.iter().filter(is_left) {
            let kind = (outcome.became == Became::Pending, outcome.word);
            kinds.entry(kind).or_default().push(&outcome.tenant);
        }
        for ((pending, what), names) in kinds {
            let count = names.len();
            parts.push(match pending && interrupted && self.hint.is_none() {
                true => format!("{count} {what} ({})", outcome::list(names)),
                false => format!("{count} {what}"),
            });
        }
        let tenants = outcome::tenants(self.outcomes.len());
        format!("{tenants}: {}", parts.join(", "))
    }

    /// What the program of a failed tenant wrote last.
    fn last_line(&self, tenant: &TenantName) -> Option<String> {
        let known = self.outcomes.iter().find(|o| o.tenant == *tenant);
        known.filter(|outcome| outcome.has_run)?;
        let line = last_line(self.app, tenant, self.logs?)?;
        Some(format!("{tenant}: last line of stderr: {line}"))
    }

    /// The commands to type next.
    fn hints(&self, interrupted: bool) -> Vec<String> {
        let to_type = |command: &str| typed(self.app, command);
        let failed = self.outcomes.iter();
        let failed = failed.filter(|o| o.became == Became::Failed && !o.is_told);
        let mut failed: Vec<_> = failed.map(|outcome| &outcome.tenant).collect();
        // Not in the order in which they failed, which differs each time.
        failed.sort_unstable();
        let mut hints = Vec::new();
        let all = to_type("status --failed");
        if interrupted {
            let continues = "The supervisor continues:";
            let hint = format!("{continues} `{all}` lists what is not as wanted.");
            hints.push(self.hint.clone().unwrap_or(hint));
        }
        match (&failed[..], self.doing) {
            ([], _) => {}
            ([one], Doing::Stop) => {
                let one = to_type(&format!("status {one}"));
                hints.push(format!("`{one}` shows what is left of it."));
            }
            (_, Doing::Stop) => hints.push(format!("`{all}` shows what is left of each.")),
            ([one], _) => {
                hints.extend(self.last_line(one));
                let logs = to_type(&format!("logs {one}"));
                hints.push(format!("`{logs}` shows the output of its program."));
            }
            (_, _) => {
                let first = failed.iter().take(LAST_LINES_MAX);
                hints.extend(first.filter_map(|one| self.last_line(one)));
                let logs = to_type("logs NAME");
                hints.push(format!("`{all}` shows why, `{logs}` a program's output."));
            }
        }
        hints
    }
}
