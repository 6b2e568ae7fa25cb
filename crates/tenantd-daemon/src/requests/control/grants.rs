//! What the groups of the manifest may do: `[control] read` and `[[control.operators]]`.

use std::collections::BTreeSet;

use tenantd_core::name::TenantName;
use tenantd_core::plan::model::ControlPlan;
use tenantd_core::rights::Right;

/// The rights of one group for some tenants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    gid: u32,
    rights: BTreeSet<Right>,
    /// None: all.
    tenants: Option<BTreeSet<TenantName>>,
}

/// The rights of all groups.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grants(Vec<Grant>);

/// A right that a peer has not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Missing {
    pub(crate) right: Right,
    /// None: for all tenants.
    pub(crate) tenant: Option<TenantName>,
}

impl Grants {
    /// The groups with any right.
    #[must_use]
    pub fn groups(&self) -> BTreeSet<u32> {
        self.0.iter().map(|grant| grant.gid).collect()
    }

    /// What a member of these groups may do.
    #[must_use]
    pub fn of(&self, groups: &BTreeSet<u32>) -> Self {
        let own = self.0.iter().filter(|grant| groups.contains(&grant.gid));
        Self(own.cloned().collect())
    }

    /// Whether it has no right at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Checks that all of these grants together allow this with each of the tenants. If none is named,
    /// all are meant: who may see only some of them sees those.
    pub(crate) fn check(&self, right: Right, tenants: &mut Vec<TenantName>) -> Result<(), Missing> {
        let fits = |grant: &&Grant| right == Right::Status || grant.rights.contains(&right);
        let fitting: Vec<&Grant> = self.0.iter().filter(fits).collect();
        if fitting.iter().any(|grant| grant.tenants.is_none()) {
            return Ok(());
        }
        let some: BTreeSet<&TenantName> = fitting
            .iter()
            .flat_map(|grant| grant.tenants.iter().flatten())
            .collect();
        if tenants.is_empty() && right == Right::Status && !some.is_empty() {
            *tenants = some.into_iter().cloned().collect();
            return Ok(());
        }
        let tenant = match tenants.iter().find(|tenant| !some.contains(tenant)) {
            Some(tenant) => Some(tenant.clone()),
            None if tenants.is_empty() => None,
            None => return Ok(()),
        };
        Err(Missing { right, tenant })
    }
}

impl From<&ControlPlan> for Grants {
    fn from(plan: &ControlPlan) -> Self {
        let readers = plan.readers.iter().map(|reader| Grant {
            gid: reader.gid,
            rights: BTreeSet::new(),
            tenants: None,
        });
        let operators = plan.operators.iter().map(|operator| Grant {
            gid: operator.gid,
            rights: operator.rights.clone(),
            tenants: operator.tenants.clone(),
        });
        Self(readers.chain(operators).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tenantd_core::plan::model::{Operator, Reader};

    fn tenants(names: &[&str]) -> Vec<TenantName> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    fn grants() -> Grants {
        let operator = |gid: u32, right, some: &[&str]| Operator {
            group: gid.to_string(),
            gid,
            rights: [right].into(),
            tenants: (!some.is_empty()).then(|| tenants(some).into_iter().collect()),
        };
        Grants::from(&ControlPlan {
            total: Default::default(),
            readers: vec![Reader {
                group: "1".to_owned(),
                gid: 1,
            }],
            operators: vec![
                operator(2, Right::Restart, &["acme"]),
                operator(3, Right::Restart, &["bolt"]),
                operator(3, Right::Kill, &[]),
            ],
        })
    }

    fn check(groups: &[u32], right: Right, named: &[&str]) -> Result<Vec<TenantName>, String> {
        let own = grants().of(&groups.iter().copied().collect());
        let mut named = tenants(named);
        match own.check(right, &mut named) {
            Ok(()) => Ok(named),
            Err(Missing { tenant: None, .. }) => Err("all".to_owned()),
            Err(Missing { tenant, .. }) => Err(tenant.unwrap().to_string()),
        }
    }

    #[test]
    fn a_right_is_for_its_tenants() {
        let err = |text: &str| Err(text.to_owned());
        assert_eq!(check(&[1], Right::Restart, &["acme"]), err("acme"));
        assert_eq!(
            check(&[2], Right::Restart, &["acme"]),
            Ok(tenants(&["acme"]))
        );
        assert_eq!(check(&[2], Right::Restart, &["acme", "bolt"]), err("bolt"));
        assert_eq!(check(&[2], Right::Restart, &[]), err("all"));
        assert_eq!(check(&[2], Right::Stop, &["acme"]), err("acme"));
        assert!(check(&[2, 3], Right::Restart, &["acme", "bolt"]).is_ok());
        assert_eq!(check(&[2, 3], Right::Restart, &[]), err("all"));
        assert_eq!(check(&[3], Right::Kill, &[]), Ok(Vec::new()));
        assert_eq!(check(&[4], Right::Status, &[]), err("all"));
    }

    #[test]
    fn who_may_see_some_tenants_sees_those() {
        assert_eq!(check(&[2], Right::Status, &[]), Ok(tenants(&["acme"])));
        assert!(check(&[2], Right::Status, &["bolt"]).is_err());
        assert_eq!(check(&[1], Right::Status, &[]), Ok(Vec::new()));
        assert!(check(&[1, 2], Right::Status, &["bolt"]).is_ok());
        assert_eq!(grants().groups(), [1, 2, 3].into());
    }
}
