//! What a change of a plan takes, and the fingerprints by which a launch is known after its
//! supervisor's death: made of the same [`fields`], so that both agree on what is outdated.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::derive;
use super::fields::{self, Field, Key, See, Takes};
use super::model::TenantPlan;

/// What a changed field takes, the least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// It holds from now on, and nothing of the tenant is interrupted.
    Live,
    /// The program is ended and started again, on the network that stands.
    Relaunch,
    /// All that a provision made is released and made again, and with it the program.
    Reprovision,
}

/// Numbers that stay the same for as long as a launch need not be made anew: see [`fingerprints`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprints {
    /// Of all that is [`Effect::Reprovision`].
    pub reprovision: u64,
    /// Of all that is [`Effect::Relaunch`].
    pub relaunch: u64,
}

impl Fingerprints {
    /// Of no plan: whatever is planned, all of it is to be made anew.
    pub const NONE: Self = Self {
        reprovision: u64::MAX,
        relaunch: u64::MAX,
    };

    /// What it takes to get from a launch of these to one of those; nothing if they are the same.
    #[must_use]
    pub fn effect(self, new: Fingerprints) -> Option<Effect> {
        if self.reprovision != new.reprovision {
            return Some(Effect::Reprovision);
        }
        (self.relaunch != new.relaunch).then_some(Effect::Relaunch)
    }
}

/// The fingerprints of a tenant's plan: two plans between which [`diff`](super::diff::diff) finds
/// no more than live changes have the same, but for folders that need no hiding any more.
///
/// What contributes to them, and how that may change, is said in [`fields`].
#[must_use]
pub fn fingerprints(tenant: &TenantPlan) -> Fingerprints {
    of(|see| fields::tenant(tenant, see))
}

/// The fingerprints of what a walk shows.
pub(super) fn of(walk: impl FnOnce(See<'_>)) -> Fingerprints {
    let mut parts = Parts::default();
    walk(&mut |field| parts.add(&field));
    parts.fingerprints()
}

/// What contributes to fingerprints, as text.
#[derive(Debug, Default)]
struct Parts {
    reprovision: Half,
    relaunch: Half,
}

/// What contributes to one of them.
#[derive(Debug, Default)]
struct Half {
    /// The fields that were known first, in the order of the plan.
    first: String,
    /// Those that came later, in the order of their names.
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
    fn a_later_field_contributes_only_where_it_is_not_at_its_default() {
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
    fn a_first_field_contributes_even_at_its_default() {
        let start = Field::new(Key::First("starts in"), "starts in", &"/", Takes::Relaunch);
        let unsaid = Field {
            at_default: true,
            ..start
        };
        assert_eq!(of(&[unsaid]), of(&[start]));
        assert_ne!(of(&[unsaid]), of(&[]));
    }

    #[test]
    fn a_label_is_in_no_fingerprint() {
        let field = Field::new(Key::First("private"), "private", &"empty", Takes::Relaunch);
        let other = Field {
            label: "private folder",
            nested: true,
            ..field
        };
        assert_eq!(of(&[field]), of(&[other]));
    }
}
