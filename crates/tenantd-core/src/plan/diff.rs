//! The difference between two plans: which tenants come, which go, and what has to happen to each
//! of those that stay but are planned otherwise.
//!
//! What a changed field takes is said in [`fields`].

#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::effect::Effect;
use super::fields::{self, Field, LABEL_ADDRESS, LABEL_DATASTORE, Takes, Touches};
use super::holders::Holders;
use super::model::{NetworkPlan, Plan, TenantPlan};
use crate::name::{AppName, TenantName};

/// What happens to a tenant, in the order in which it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// It is ended and released; its datastore stays.
    Remove,
    /// See [`Effect::Reprovision`].
    Reprovision,
    /// See [`Effect::Relaunch`].
    Relaunch,
    /// See [`Effect::Live`].
    Live,
    /// It is new.
    Add,
}

impl From<Effect> for Change {
    fn from(effect: Effect) -> Self {
        match effect {
            Effect::Live => Change::Live,
            Effect::Relaunch => Change::Relaunch,
            Effect::Reprovision => Change::Reprovision,
        }
    }
}

/// A field that is not what it was, as `tenantd plan` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldChange {
    /// Which.
    pub field: String,
    /// Its value before; none where there was none.
    pub before: Option<String>,
    /// Its value from now on; none where there is none any more.
    pub after: Option<String>,
}

/// What happens to one tenant, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TenantChange {
    /// The tenant.
    pub tenant: TenantName,
    /// What happens to it.
    pub change: Change,
    /// What causes it: those fields first that take most.
    pub fields: Vec<FieldChange>,
    /// The tenants that hold the address or the datastore which it takes, and are released first.
    pub after: Vec<TenantName>,
    /// What a live change touches; nothing for other changes.
    #[serde(default)]
    pub touches: Option<Touches>,
}

/// All that is different.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changes {
    /// What cannot change while the supervisor runs. Where there is any, nothing else is said, and
    /// nothing is applied.
    pub fixed: Vec<FieldChange>,
    /// What happens to which tenant, in the order in which it begins.
    pub tenants: Vec<TenantChange>,
    /// How many tenants stay as they are.
    pub unchanged: usize,
    /// Of those, the ones with an earlier live change that the host refused: it is tried again.
    #[serde(default)]
    pub retried: Vec<TenantName>,
}

impl Changes {
    /// Whether nothing is different.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.fixed.is_empty() && self.tenants.is_empty() && self.retried.is_empty()
    }
}

/// One of two plans, wherever its parts are kept.
#[derive(Debug, Clone)]
pub struct Side<'a> {
    /// The application.
    pub app: &'a AppName,
    /// What its tenants share.
    pub network: &'a NetworkPlan,
    /// Its tenants, in order.
    pub tenants: Vec<&'a TenantPlan>,
}

impl Side<'_> {
    fn shared(&self) -> Vec<Part> {
        let mut parts = Vec::new();
        fields::shared(self.app, self.network, &mut |field| {
            parts.push(Part::of(&field));
        });
        parts
    }
}

impl<'a> From<&'a Plan> for Side<'a> {
    fn from(plan: &'a Plan) -> Self {
        let Plan {
            app,
            network,
            tenants,
        } = plan;
        Self {
            app,
            network,
            tenants: tenants.iter().collect(),
        }
    }
}

/// What has to happen where `old` holds, for `new` to hold.
#[must_use]
pub fn diff<'a>(old: impl Into<Side<'a>>, new: impl Into<Side<'a>>) -> Changes {
    let (old, new) = (old.into(), new.into());
    let mut changes = Changes {
        fixed: compare(old.shared(), new.shared()).1,
        ..Changes::default()
    };
    if !changes.fixed.is_empty() {
        return changes;
    }
    let named = old.tenants.iter().map(|tenant| (&tenant.name, *tenant));
    let mut before: BTreeMap<&TenantName, &TenantPlan> = named.collect();
    let holders = Holders::new(old.tenants.iter().copied());
    for tenant in &new.tenants {
        let mut touches = None;
        let (change, fields) = match before.remove(&tenant.name) {
            None => (Change::Add, shown(tenant, |value| (None, Some(value)))),
            Some(old) if old == *tenant => {
                changes.unchanged += 1;
                continue;
            }
            Some(old) => {
                let (takes, fields) = compare(parts(old), parts(tenant));
                touches = match takes {
                    Takes::Live(touches) => Some(touches),
                    Takes::Relaunch | Takes::Reprovision => None,
                };
                (takes.effect().into(), fields)
            }
        };
        let after = match change {
            Change::Add | Change::Reprovision => holders.of(tenant),
            Change::Remove | Change::Relaunch | Change::Live => Vec::new(),
        };
        changes.tenants.push(TenantChange {
            tenant: tenant.name.clone(),
            change,
            fields,
            after,
            touches,
        });
    }
    let gone = old.tenants.iter().filter(|t| before.contains_key(&t.name));
    changes.tenants.extend(gone.map(|tenant| TenantChange {
        tenant: tenant.name.clone(),
        change: Change::Remove,
        fields: shown(tenant, |value| (Some(value), None)),
        after: Vec::new(),
        touches: None,
    }));
    // Stable: within each kind the order of the manifest stays.
    changes.tenants.sort_by_key(|change| change.change);
    changes
}

/// A field by itself.
struct Part {
    id: String,
    name: String,
    value: String,
    takes: Takes,
    leaving: Takes,
}

impl Part {
    fn of(field: &Field<'_>) -> Self {
        Self {
            id: field.id().to_string(),
            name: field.name().to_string(),
            value: field.value.to_string(),
            takes: field.takes,
            leaving: field.leaving,
        }
    }
}

fn parts(tenant: &TenantPlan) -> Vec<Part> {
    let mut parts = Vec::new();
    fields::tenant(tenant, &mut |field| parts.push(Part::of(&field)));
    parts
}

/// What is different, and the most that any of it takes.
fn compare(old: Vec<Part>, new: Vec<Part>) -> (Takes, Vec<FieldChange>) {
    let mut before: Vec<Option<Part>> = old.into_iter().map(Some).collect();
    let mut fields = Vec::new();
    for part in new {
        let same = |old: &&mut Option<Part>| old.as_ref().is_some_and(|o| o.id == part.id);
        let old = before.iter_mut().find(same).and_then(Option::take);
        if old.as_ref().is_none_or(|old| old.value != part.value) {
            let (before, after) = (old.map(|old| old.value), Some(part.value));
            fields.push((part.takes, part.name, before, after));
        }
    }
    for part in before.into_iter().flatten() {
        fields.push((part.leaving, part.name, Some(part.value), None));
    }
    // Stable: among those that take as much, the order of the plan stays.
    fields.sort_by_key(|(takes, ..)| Reverse(takes.effect()));
    let takes = fields.iter().map(|(takes, ..)| *takes).max();
    let change = |(_, field, before, after)| FieldChange {
        field,
        before,
        after,
    };
    let fields = fields.into_iter().map(change).collect();
    (takes.unwrap_or(Takes::Live(Touches::Nothing)), fields)
}

/// What of a tenant that comes or goes is shown.
fn shown(
    tenant: &TenantPlan,
    side: impl Fn(String) -> (Option<String>, Option<String>),
) -> Vec<FieldChange> {
    let mut shown = Vec::new();
    fields::tenant(tenant, &mut |field| {
        if [LABEL_ADDRESS, LABEL_DATASTORE].contains(&field.label) {
            let (before, after) = side(field.value.to_string());
            let field = field.name().to_string();
            shown.push(FieldChange {
                field,
                before,
                after,
            });
        }
    });
    shown
}
