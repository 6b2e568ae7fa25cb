//! Parts that most tenants have equal, which are then stored only once.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::cgroup::GroupLimits;
use crate::manifest::value::Sysctls;
use crate::plan::model::{FilePlan, Identity, LaunchPlan, Policy, TrafficPlan};
use crate::plan::names::NamesPlan;
use crate::plan::phase::Commands;

/// Parts of the previous tenant. Most tenants have equal parts, which are then stored only once.
#[derive(Default)]
pub(super) struct Last {
    pub(super) launch: Kept<LaunchPlan>,
    pub(super) environment: Kept<BTreeMap<String, String>>,
    pub(super) secrets: Kept<BTreeMap<String, PathBuf>>,
    pub(super) sysctls: Kept<Sysctls>,
    pub(super) vars: Kept<BTreeMap<String, String>>,
    pub(super) files: Kept<Vec<FilePlan>>,
    pub(super) commands: Kept<Commands>,
    pub(super) visits: Kept<Vec<String>>,
    pub(super) identity: Kept<Identity>,
    pub(super) group: Kept<GroupLimits>,
    pub(super) policy: Kept<Policy>,
    pub(super) traffic: Kept<TrafficPlan>,
    pub(super) names: Kept<NamesPlan>,
    root: Option<Arc<Path>>,
}

impl Last {
    pub(super) fn root(&mut self, root: &Path) -> Arc<Path> {
        match &self.root {
            Some(kept) if **kept == *root => Arc::clone(kept),
            Some(_) | None => Arc::clone(self.root.insert(root.into())),
        }
    }
}

pub(super) struct Kept<T>(Option<Arc<T>>);

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T: PartialEq> Kept<T> {
    pub(super) fn keep(&mut self, value: T) -> Arc<T> {
        match &self.0 {
            Some(kept) if **kept == value => Arc::clone(kept),
            Some(_) | None => Arc::clone(self.0.insert(Arc::new(value))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_are_shared() {
        let mut kept = Kept::default();
        let [first, same, other] = ["a", "a", "b"].map(|value| kept.keep(value.to_owned()));
        assert!(Arc::ptr_eq(&first, &same));
        assert_eq!((same.as_str(), other.as_str()), ("a", "b"));
    }
}
