//! Resolves the groups of `[control]`.

use std::collections::{BTreeMap, BTreeSet};

use toml::Spanned;

use super::facts::HostFacts;
use super::identity::find_group;
use super::limits;
use super::model::{ControlPlan, Operator, Reader};
use crate::manifest::problem::Problems;
use crate::manifest::raw::{self, Manifest, Tenant};

const NO_GROUP: &str = "create it with groupadd(8), or use an existing group";

/// Builds the plan of the control socket. Returns `None` if a problem has been reported.
pub(super) fn control(
    manifest: &Manifest,
    host: &dyn HostFacts,
    problems: &mut Problems,
) -> Option<ControlPlan> {
    let (control, tenants) = (&manifest.control, &manifest.tenants);
    let mut readers = BTreeMap::new();
    let mut complete = true;
    for group in control.read.as_ref()?.get_ref() {
        match find_group(host, group.get_ref()) {
            Ok(gid) => {
                let group = group.get_ref().to_string();
                readers.entry(gid).or_insert(Reader { group, gid });
            }
            Err(why) => {
                problems.report(&group.span(), why).help(NO_GROUP);
                complete = false;
            }
        }
    }
    let operators: Vec<_> = control
        .operators
        .iter()
        .map(|one| operator(one, tenants, host, problems))
        .collect();
    let operators: Option<Vec<Operator>> = operators.into_iter().collect();
    complete.then_some(ControlPlan {
        readers: readers.into_values().collect(),
        operators: merged(operators?),
        total: limits::total(manifest),
    })
}

/// One entry of `operators`. Returns `None` if a problem has been reported.
fn operator(
    raw: &raw::Operator,
    all: &[Tenant],
    host: &dyn HostFacts,
    problems: &mut Problems,
) -> Option<Operator> {
    let group = raw.group.as_ref();
    let gid = group.and_then(|group| match find_group(host, group.get_ref()) {
        Ok(gid) => Some(gid),
        Err(why) => {
            problems.report(&group.span(), why).help(NO_GROUP);
            None
        }
    });
    let named = raw.tenants.iter().flat_map(Spanned::get_ref);
    let mut tenants = BTreeSet::new();
    for name in named {
        if !all
            .iter()
            .any(|it| it.name.as_ref() == Some(name.get_ref()))
        {
            let message = format!("there is no tenant {}", name.get_ref());
            problems
                .report(&name.span(), message)
                .help("name tenants of [tenants], or remove `tenants` for all of them");
        }
        tenants.insert(name.get_ref().clone());
    }
    Some(Operator {
        group: group?.get_ref().to_string(),
        gid: gid?,
        rights: raw.rights.as_ref()?.get_ref().iter().copied().collect(),
        tenants: raw.tenants.is_some().then_some(tenants),
    })
}

/// Entries of one group for the same tenants are one.
fn merged(each: Vec<Operator>) -> Vec<Operator> {
    let mut merged: Vec<Operator> = Vec::new();
    for one in each {
        let same = |it: &&mut Operator| it.gid == one.gid && it.tenants == one.tenants;
        match merged.iter_mut().find(same) {
            Some(other) => other.rights.extend(one.rights),
            None => merged.push(one),
        }
    }
    merged
}
