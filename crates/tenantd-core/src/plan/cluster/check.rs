//! Compares what a cluster has with what the plan wants of it.

mod cluster;
mod tenant;

use std::time::Duration;

use super::cib::Cib;
use super::{Hosts, Misfit, Shell, resources, sizes};
use crate::plan::model::Plan;

/// Something that is not as the plan wants it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How it differs.
    pub kind: Kind,
    /// The resource, host, or property.
    pub subject: String,
    /// What there is, and what follows from that.
    pub found: String,
    /// What to type.
    pub fix: String,
}

/// How a cluster differs from a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The cluster lacks it.
    Missing,
    /// The cluster has another value.
    Different,
    /// The cluster has it, and the plan does not.
    Extra,
}

impl Kind {
    /// `missing`.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Different => "different",
            Self::Extra => "extra",
        }
    }
}

/// What is found, and in which shell it is mended.
struct Report {
    findings: Vec<Finding>,
    shell: Shell,
}

impl Report {
    fn add(&mut self, kind: Kind, subject: &str, found: impl Into<String>, fix: impl Into<String>) {
        self.findings.push(Finding {
            kind,
            subject: subject.to_owned(),
            found: found.into(),
            fix: fix.into(),
        });
    }

    /// The one of two commands for the shell.
    fn either(&self, crm: String, pcs: String) -> String {
        match self.shell {
            Shell::Crm => crm,
            Shell::Pcs => pcs,
        }
    }

    /// The command that sets a property of the cluster.
    fn property(&self, pair: &str) -> String {
        self.either(
            format!("crm configure property {pair}"),
            format!("pcs property set {pair}"),
        )
    }

    /// The command that sets a meta attribute of a resource.
    fn meta(&self, id: &str, key: &str, value: &str) -> String {
        self.either(
            format!("crm resource meta {id} set {key} {value}"),
            format!("pcs resource meta {id} {key}={value}"),
        )
    }
}

/// What of a cluster is not as the plan wants it, for this shell.
///
/// # Errors
/// Those of [`text`](super::text).
pub fn check(plan: &Plan, shell: Shell, hosts: &Hosts, cib: &Cib) -> Result<Vec<Finding>, Misfit> {
    let resources = resources(plan, &hosts.local)?;
    let sizes = sizes(hosts)?;
    let findings = Vec::new();
    let mut report = Report { findings, shell };
    report.cluster(&resources, &sizes, cib);
    for resource in &resources {
        report.tenant(resource, cib);
    }
    report.extra(plan.app.as_str(), &resources, cib);
    Ok(report.findings)
}

/// Whether a word is one of Pacemaker's for yes.
fn is_true(word: &str) -> bool {
    ["1", "true", "yes", "on", "y"].contains(&word.to_ascii_lowercase().as_str())
}

/// A time of Pacemaker, such as `20s`, `500ms` or `2min`.
fn time(text: &str) -> Option<Duration> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let milliseconds = match unit.trim() {
        "ms" | "msec" => 1,
        "" | "s" | "sec" => 1_000,
        "m" | "min" => 60_000,
        "h" | "hr" => 3_600_000,
        _ => return None,
    };
    Some(Duration::from_millis(number.checked_mul(milliseconds)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_pacemaker() {
        let seconds = |n| Some(Duration::from_secs(n));
        for (text, expected) in [
            ("20s", seconds(20)),
            ("20", seconds(20)),
            ("2min", seconds(120)),
        ] {
            assert_eq!(time(text), expected, "{text}");
        }
        assert_eq!(time("500ms"), Some(Duration::from_millis(500)));
        for text in [
            "",
            "s",
            "1d",
            "99999999999999999999",
            "18446744073709551615h",
        ] {
            assert_eq!(time(text), None, "{text}");
        }
    }
}
