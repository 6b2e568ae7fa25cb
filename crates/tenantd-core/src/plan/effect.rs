//! Effects of changes, and fingerprints, by which a later supervisor recognizes whether a launch
//! matches the current plan. Both are based on the same [`fields`], so that they agree.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::derive;
use super::fields::{self, Field, Key, See, Takes};
use super::model::TenantPlan;

/// What a change requires, the least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// Nothing is interrupted.
    Live,
    /// The program is restarted. The network is kept.
    Relaunch,
    /// The tenant is stopped, released, provisioned and launched again.
    Reprovision,
}

/// Hashes of a plan. They are equal for plans between which no relaunch is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprints {
    /// The hash of all fields with [`Effect::Reprovision`].
    pub reprovision: u64,
    /// The hash of all fields with [`Effect::Relaunch`].
    pub relaunch: u64,
}

impl Fingerprints {
    /// Fingerprints of no plan: they differ from those of every plan.
    pub const NONE: Self = Self {
        reprovision: u64::MAX,
        relaunch: u64::MAX,
    };

    /// What a change from `self` to `new` requires; `None` if they are equal.
    #[must_use]
    pub fn effect(self, new: Fingerprints) -> Option<Effect> {
        if self.reprovision != new.reprovision {
            return Some(Effect::Reprovision);
        }
        (self.relaunch != new.relaunch).then_some(Effect::Relaunch)
    }
}

/// The fingerprints of a tenant's plan. Two plans with only live changes between them have the same
/// fingerprints, except if a folder no longer has to be hidden.
///
/// [`fields`] defines what contributes to fingerprints, and how that may change.
#[must_use]
pub fn fingerprints(tenant: &TenantPlan) -> Fingerprints {
    of(|see| fields::tenant(tenant, see))
}

/// The fingerprints of the fields that `walk` visits.
pub(super) fn of(walk: impl FnOnce(See<'_>)) -> Fingerprints {
    let mut parts = Parts::default();
    walk(&mut |field| parts.add(&field));
    parts.fingerprints()
}

/// The text that is hashed.
#[derive(Debug, Default)]
struct Parts {
    reprovision: Half,
    relaunch: Half,
}

/// The text of one of the fingerprints.
#[derive(Debug, Default)]
struct Half {
    /// The original fields, in the order of the plan.
    first: String,
    /// Fields that were added later, sorted by name.
    later: BTreeSet<String>,
}

impl Parts {
    fn add(&mut self, field: &Field<'_>) {
        let half = match field.takes {
            Takes::Reprovision => &mut self.reprovision,
            Takes::Relaunch => &mut self.relaunch,
            Takes::Live(_) => return,
        };
        let text = format!("{}={}\0", field.id(), field.value);
        match field.key {
            Key::First(_) => half.first.push_str(&text),
            Key::Later(_) if field.at_default => {}
            Key::Later(_) => drop(half.later.insert(text)),
        }
    }

    fn fingerprints(self) -> Fingerprints {
        let hash = |Half { first, later }| {
            derive::hash(&later.iter().fold(first, |all, text: &String| all + text))
        };
        Fingerprints {
            reprovision: hash(self.reprovision),
            relaunch: hash(self.relaunch),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fields::Touches;
    use super::*;

    fn of(fields: &[Field<'_>]) -> Fingerprints {
        super::of(|see| fields.iter().copied().for_each(see))
    }

    #[test]
    fn later_fields_count_only_if_not_at_their_default() {
        let first = Field::new(
            Key::First("address"),
            "address",
            &"10.0.0.11/32",
            Takes::Reprovision,
        );
        let program = Field::new(Key::First("program"), "program", &"/bin/a", Takes::Relaunch);
        let before = of(&[first, program]);
        for (takes, effect) in [
            (Takes::Reprovision, Some(Effect::Reprovision)),
            (Takes::Relaunch, Some(Effect::Relaunch)),
            (Takes::Live(Touches::Policy), None),
        ] {
            let said = Field::new(Key::Later("new"), "new", &"7", takes);
            let unsaid = Field {
                at_default: true,
                ..said
            };
            assert_eq!(of(&[first, unsaid, program]), before);
            assert_eq!(before.effect(of(&[first, said, program])), effect);
            let other = Field {
                value: &"8",
                ..said
            };
            assert_eq!(of(&[said]).effect(of(&[other])), effect);
            // Where it is listed does not matter.
            assert_eq!(of(&[said, first, program]), of(&[first, program, said]));
        }
    }

    #[test]
    fn original_fields_count_even_at_their_default() {
        let start = Field::new(Key::First("starts in"), "starts in", &"/", Takes::Relaunch);
        let unsaid = Field {
            at_default: true,
            ..start
        };
        assert_eq!(of(&[unsaid]), of(&[start]));
        assert_ne!(of(&[unsaid]), of(&[]));
    }

    #[test]
    fn labels_do_not_change_fingerprints() {
        let field = Field::new(Key::First("private"), "private", &"empty", Takes::Relaunch);
        let other = Field {
            label: "private folder",
            nested: true,
            ..field
        };
        assert_eq!(of(&[field]), of(&[other]));
    }
}
