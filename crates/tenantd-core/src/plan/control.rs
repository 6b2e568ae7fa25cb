//! Resolves the groups of `[control]`.

use std::collections::BTreeMap;

use super::facts::HostFacts;
use super::identity::find_group;
use super::model::{ControlPlan, Reader};
use crate::manifest::problem::Problems;
use crate::manifest::raw::Control;

/// Builds the plan of the control socket. Returns `None` if a problem has been reported.
pub(super) fn control(
    control: &Control,
    host: &dyn HostFacts,
    problems: &mut Problems,
) -> Option<ControlPlan> {
    let mut readers = BTreeMap::new();
    let mut complete = true;
    for group in control.read.as_ref()?.get_ref() {
        match find_group(host, group.get_ref()) {
            Ok(gid) => {
                let group = group.get_ref().to_string();
                readers.entry(gid).or_insert(Reader { group, gid });
            }
            Err(why) => {
                let help = "create it with groupadd(8), or use an existing group";
                problems.report(&group.span(), why).help(help);
                complete = false;
            }
        }
    }
    complete.then(|| ControlPlan {
        readers: readers.into_values().collect(),
    })
}
