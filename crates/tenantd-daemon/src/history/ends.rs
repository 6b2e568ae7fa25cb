//! Which output belongs to which end of a program. The log reads what a program wrote before it ended, and the loop
//! learns of the end, in any order: on a busy machine the program of the next launch may be there before either.

use std::collections::BTreeMap;

use tenantd_core::name::TenantName;

/// The ends of the programs of each tenant, numbered from 1.
#[derive(Debug, Default)]
pub(super) struct Ends(BTreeMap<TenantName, Last>);

/// The last end of a tenant.
#[derive(Debug, Default)]
struct Last {
    number: u64,
    /// Whether an entry has this end.
    is_noted: bool,
    /// The output before it, while no entry has the end.
    output: Option<Vec<String>>,
}

impl Ends {
    /// A program has ended. Nobody else knows yet. Returns the number of the end.
    pub(super) fn begin(&mut self, tenant: &TenantName) -> u64 {
        let number = self.0.get(tenant).map_or(0, |last| last.number) + 1;
        let last = Last {
            number,
            ..Last::default()
        };
        self.0.insert(tenant.clone(), last);
        number
    }

    /// The last end gets an entry. Returns its output if that is known.
    pub(super) fn note(&mut self, tenant: &TenantName) -> Option<Vec<String>> {
        let last = self.0.get_mut(tenant)?;
        last.is_noted = true;
        last.output.take()
    }

    /// What a program wrote before this end. Returns it if an entry has the end and lacks the output. That of an
    /// earlier end than the last is lost: it would be shown at the wrong one.
    pub(super) fn output(
        &mut self,
        (tenant, number): (&TenantName, u64),
        lines: Vec<String>,
    ) -> Option<Vec<String>> {
        let last = self.0.get_mut(tenant)?;
        if last.number != number {
            return None;
        }
        if last.is_noted {
            return Some(lines);
        }
        last.output = Some(lines);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_that_of_its_own_end_in_any_order() {
        let acme: TenantName = "acme".parse().unwrap();
        let lines = |text: &str| vec![text.to_owned()];
        let mut ends = Ends::default();
        assert_eq!(ends.note(&acme), None);

        let first = ends.begin(&acme);
        assert_eq!(ends.output((&acme, first), lines("one")), None);
        assert_eq!(ends.note(&acme), Some(lines("one")));
        // An entry about the same end: that the program is not started again.
        assert_eq!(ends.note(&acme), None);

        let second = ends.begin(&acme);
        assert_eq!(ends.note(&acme), None);
        assert_eq!(
            ends.output((&acme, second), lines("two")),
            Some(lines("two"))
        );

        let third = ends.begin(&acme);
        assert_eq!(ends.output((&acme, second), lines("late")), None);
        assert_eq!(ends.note(&acme), None);
        assert_eq!(
            ends.output((&acme, third), lines("three")),
            Some(lines("three"))
        );
        let other: TenantName = "globex".parse().unwrap();
        assert_eq!(ends.output((&other, 1), lines("x")), None);
    }
}
