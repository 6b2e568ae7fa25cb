//! Limits of a running tenant that an operator has set by hand: `tenantd set` without `--permanent`.
//!
//! Each one is kept with what was planned when it was set, and holds while that is still planned: a change of
//! the manifest takes precedence.

use std::collections::BTreeMap;

use super::{GroupKey, GroupLimits, GroupValue, Item, Named};

/// One limit that is set by hand, or taken back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Typed {
    /// Its key, such as `memory.max`.
    pub key: &'static GroupKey,
    /// Its item. Empty for most limits; taken back, it stands for each item.
    pub item: String,
    /// Its value as the kernel reads it; `None` takes it back.
    pub value: Option<String>,
}

/// What is set by hand of one limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The value as the kernel reads it.
    pub value: String,
    /// What was planned then; `None` if it was not limited.
    pub planned: Option<String>,
}

/// All limits of one tenant that are set by hand.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ByHand(BTreeMap<(&'static str, Item), Held>);

impl ByHand {
    /// Reads what [`ByHand::text`] returned. A line that is not understood, as of another version, is left out.
    #[must_use]
    pub fn read(text: &str) -> Self {
        Self(text.lines().filter_map(line).collect())
    }

    /// One line for each limit.
    #[must_use]
    pub fn text(&self) -> String {
        let line = |((name, item), held): (&(&str, Item), &Held)| {
            let planned = held.planned.as_deref().unwrap_or_default();
            format!("{name}\t{item}\t{}\t{planned}\n", held.value)
        };
        self.0.iter().map(line).collect()
    }

    /// Whether none is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each limit, with its item.
    pub fn each(&self) -> impl Iterator<Item = (&'static GroupKey, &str, &Held)> {
        self.0.iter().filter_map(|((name, item), held)| {
            GroupKey::named(name).map(|key| (key, item.as_str(), held))
        })
    }

    /// Those that hold with this plan: what the manifest has changed since they were set is left out.
    #[must_use]
    pub fn holding(&self, planned: &GroupLimits) -> Self {
        let mut all = self.clone();
        all.0
            .retain(|(name, item), held| planned.of(name, item) == held.planned.as_deref());
        all
    }

    /// The limits that hold: those of the plan, with these in their place.
    #[must_use]
    pub fn over(&self, planned: &GroupLimits) -> GroupLimits {
        let mut all = planned.clone();
        for (key, item, held) in self.holding(planned).each() {
            let value = [(item.to_owned(), held.value.clone())].into();
            all.set(key.name, &GroupValue(value));
        }
        all
    }

    /// Sets one by hand, or takes it back.
    pub fn change(&mut self, one: &Typed, planned: &GroupLimits) {
        let Typed { key, item, value } = one;
        match value {
            Some(value) => {
                let held = Held {
                    value: value.clone(),
                    planned: planned.of(key.name, item).map(str::to_owned),
                };
                self.0.insert((key.name, item.clone()), held);
            }
            None => self
                .0
                .retain(|(name, of), _| *name != key.name || !(item.is_empty() || of == item)),
        }
    }
}

fn line(line: &str) -> Option<((&'static str, Item), Held)> {
    let mut parts = line.split('\t');
    let mut next = || parts.next().map(str::to_owned);
    let (name, item, value, planned) = (next()?, next()?, next()?, next()?);
    let key = GroupKey::named(&name).filter(|_| !value.is_empty())?;
    let planned = Some(planned).filter(|it| !it.is_empty());
    Some(((key.name, item), Held { value, planned }))
}

/// What a limit is named when it is typed: `hugetlb.2MB`, where messages have `hugetlb 2MB`.
#[must_use]
pub fn typed_name(key: &GroupKey, item: &str) -> String {
    match (key.name, item) {
        ("hugetlb", size) if !size.is_empty() => format!("hugetlb.{size}"),
        (name, item) => Named(GroupKey::named(name).map_or("", |key| key.name), item).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(name: &str, item: &str, value: Option<&str>) -> Typed {
        Typed {
            key: GroupKey::named(name).unwrap(),
            item: item.to_owned(),
            value: value.map(str::to_owned),
        }
    }

    fn limits(all: &[(&'static str, &str)]) -> GroupLimits {
        let mut limits = GroupLimits::default();
        for (name, value) in all {
            limits.set(name, &GroupValue::one(*value));
        }
        limits
    }

    #[test]
    fn what_is_set_holds_until_the_manifest_changes_it() {
        let planned = limits(&[("memory.max", "8192"), ("pids.max", "9")]);
        let mut hand = ByHand::default();
        hand.change(&typed("memory.max", "", Some("max")), &planned);
        hand.change(&typed("cpu.quota", "", Some("50000 100000")), &planned);
        hand.change(&typed("hugetlb", "2MB", Some("0")), &planned);
        assert_eq!(ByHand::read(&hand.text()), hand);
        let now = hand.over(&planned);
        assert_eq!(now.value("memory.max"), Some("max"));
        assert_eq!(now.value("cpu.quota"), Some("50000 100000"));
        assert_eq!(
            (now.value("pids.max"), now.of("hugetlb", "2MB")),
            (Some("9"), Some("0"))
        );
        // Another value in the manifest takes precedence, also one that was not there.
        let changed = limits(&[("memory.max", "4096"), ("cpu.quota", "1000 100000")]);
        let now = hand.over(&changed);
        assert_eq!(now.value("memory.max"), Some("4096"));
        assert_eq!(now.value("cpu.quota"), Some("1000 100000"));
        assert_eq!(now.of("hugetlb", "2MB"), Some("0"));
        assert_eq!(hand.holding(&changed).each().count(), 1);
    }

    #[test]
    fn what_is_taken_back_is_as_planned() {
        let planned = limits(&[("memory.max", "8192")]);
        let mut hand = ByHand::default();
        for (name, item) in [("memory.max", ""), ("io.max", "8:0"), ("io.max", "8:16")] {
            hand.change(&typed(name, item, Some("1")), &planned);
        }
        hand.change(&typed("io.max", "8:0", None), &planned);
        assert_eq!(hand.each().count(), 2);
        hand.change(&typed("io.max", "", None), &planned);
        hand.change(&typed("memory.max", "", None), &planned);
        assert!(hand.is_empty());
        assert_eq!(hand.over(&planned), planned);
    }

    #[test]
    fn lines_that_are_not_understood_are_left_out() {
        let text = "memory.max\t\t1\t\nnext.version\t\t1\t\nmemory.high\t\nmemory.low\t\t\t\n\n";
        assert_eq!(ByHand::read(text).text(), "memory.max\t\t1\t\n");
    }
}
