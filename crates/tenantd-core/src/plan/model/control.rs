//! What a supervisor needs for all tenants, besides their network.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::cgroup::GroupLimits;
use crate::name::TenantName;
use crate::rights::Right;

/// Who may use the control socket, besides root, and what all tenants have together. A reload changes it live.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ControlPlan {
    /// The groups whose members may read the state, by number, without repetitions.
    pub readers: Vec<Reader>,
    /// The groups whose members may do more with tenants, in the order of the manifest.
    pub operators: Vec<Operator>,
    /// Limits of the cgroup that has those of all tenants.
    pub total: GroupLimits,
}

impl ControlPlan {
    /// The numbers of the groups whose members may use the control socket.
    #[must_use]
    pub fn groups(&self) -> BTreeSet<u32> {
        let operators = self.operators.iter().map(|operator| operator.gid);
        self.readers
            .iter()
            .map(|reader| reader.gid)
            .chain(operators)
            .collect()
    }
}

/// A group whose members may do something with tenants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Operator {
    /// The group's name, or its number as text.
    pub group: String,
    /// The group.
    pub gid: u32,
    /// What they may do.
    pub rights: BTreeSet<Right>,
    /// With which tenants; None: with all.
    pub tenants: Option<BTreeSet<TenantName>>,
}

impl Operator {
    /// Which group, and for which tenants.
    #[must_use]
    pub fn name(&self) -> String {
        match &self.tenants {
            None => self.group.clone(),
            Some(tenants) => {
                let tenants: Vec<&str> = tenants.iter().map(TenantName::as_str).collect();
                format!("{} of {}", self.group, tenants.join(", "))
            }
        }
    }

    /// The rights as text, with the number of the group.
    #[must_use]
    pub fn text(&self) -> String {
        let rights: Vec<&str> = self.rights.iter().map(|right| right.word()).collect();
        format!("{}: {}", self.gid, rights.join(", "))
    }
}

/// A group whose members may read the state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reader {
    /// The group's name, or its number as text.
    pub group: String,
    /// The group.
    pub gid: u32,
}
