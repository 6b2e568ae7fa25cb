//! The difference between two plans: which tenants are added, removed or changed, and how a change
//! takes effect.
//!
//! [`fields`] defines what a change of each field requires.

mod exchange;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::data::{self, KeyChange};
use super::effect::Effect;
use super::fields::{self, Field, LABEL_ADDRESS, LABEL_DATASTORE, LABELS_NETWORK, Takes, Touches};
use super::holders::{Holders, meanwhile};
use super::model::{ControlPlan, NetworkPlan, Plan, TenantPlan};
use super::places::Places;
use super::unified;
use crate::manifest::problem::Place;
use crate::name::{AppName, TenantName};
use crate::stage::Failure;
use exchange::Exchange;

/// How a change of a tenant takes effect. The order is that in which changes are carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// It is stopped and released; its datastore is kept.
    Remove,
    /// See [`Effect::Reprovision`].
    Reprovision,
    /// See [`Effect::Relaunch`].
    Relaunch,
    /// See [`Effect::Live`].
    Live,
    /// It is added.
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

/// A changed field, with values as in `tenantd plan`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldChange {
    /// The name of the field.
    pub field: String,
    /// Its value before, if it had one.
    pub before: Option<String>,
    /// Its value after the change, if it has one.
    pub after: Option<String>,
}

/// The change of one tenant, and its causes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TenantChange {
    /// The tenant.
    pub tenant: TenantName,
    /// How it takes effect.
    pub change: Change,
    /// The changed fields, those that require most first.
    pub fields: Vec<FieldChange>,
    /// The tenants that hold an address or datastore it needs, and must be released first.
    pub after: Vec<TenantName>,
    /// What a live change touches; `None` for other changes.
    #[serde(default)]
    pub touches: Option<Touches>,
    /// The changed values, with the keys of the manifest. Empty from earlier versions.
    #[serde(default)]
    pub keys: Vec<KeyChange>,
    /// The files whose contents change.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<FileDiff>,
}

/// The change of the contents of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileDiff {
    /// The path at which the program reads it.
    pub path: String,
    /// The difference as diff -u shows it, without the lines that name the files.
    pub diff: String,
}

/// The difference between two plans.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changes {
    /// Changes that a running supervisor cannot make. If there are any, the other fields are empty,
    /// and nothing is applied.
    pub fixed: Vec<FieldChange>,
    /// Changes of what all tenants share that a running supervisor makes, without touching a
    /// tenant; and those of their network, for which all of them are reprovisioned.
    #[serde(default)]
    pub shared: Vec<FieldChange>,
    /// The changes of tenants, in the order in which they begin.
    pub tenants: Vec<TenantChange>,
    /// The number of unchanged tenants.
    pub unchanged: usize,
    /// Unchanged tenants with a live change that was refused before and is retried.
    #[serde(default)]
    pub retried: Vec<TenantName>,
    /// Tenants that could not be launched after these changes. If there are any, nothing is applied.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unlaunchable: Vec<Unlaunchable>,
    /// Identifies these changes, see [`hash`](super::hash). `None` if they cannot be applied, and
    /// from a supervisor that is too old to compute it.
    #[serde(default)]
    pub hash: Option<String>,
    /// The values of `fixed`, with the keys of the manifest. Empty from earlier versions.
    #[serde(default)]
    pub fixed_keys: Vec<KeyChange>,
}

/// A tenant that could not be launched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unlaunchable {
    /// The tenant.
    pub tenant: TenantName,
    /// What its launch would fail with.
    pub why: String,
    /// Where the manifest says it. `None` if it does not, and from earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
}

impl Unlaunchable {
    /// A failed rehearsal, with its place in the manifest.
    #[must_use]
    pub fn new(plan: &TenantPlan, failure: &Failure, places: &Places) -> Self {
        Self {
            tenant: plan.name.clone(),
            why: failure.to_string(),
            place: places.find(plan, failure),
        }
    }
}

impl Changes {
    /// Whether there is no difference.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let Changes {
            fixed,
            shared,
            tenants,
            retried,
            unchanged: _,
            hash: _,
            fixed_keys: _,
            unlaunchable: _,
        } = self;
        fixed.is_empty() && shared.is_empty() && tenants.is_empty() && retried.is_empty()
    }
}

/// One of the two plans, by reference to its parts.
#[derive(Debug, Clone)]
pub struct Side<'a> {
    /// The application.
    pub app: &'a AppName,
    /// What its tenants share.
    pub network: &'a NetworkPlan,
    /// Who may use its control socket.
    pub control: &'a ControlPlan,
    /// Its tenants, in order.
    pub tenants: Vec<&'a TenantPlan>,
}

impl Side<'_> {
    /// The fields that tenants share: those that a running supervisor cannot change, and those that
    /// it can.
    fn shared(&self) -> (Vec<Part>, Vec<Part>) {
        let mut parts = Vec::new();
        fields::shared(self.app, self.network, self.control, &mut |field| {
            if !LABELS_NETWORK.contains(&field.label) {
                parts.push(Part::of(&field));
            }
        });
        parts.into_iter().partition(|part| match part.takes {
            Takes::Relaunch | Takes::Reprovision => true,
            Takes::Live(_) => false,
        })
    }
}

impl<'a> From<&'a Plan> for Side<'a> {
    fn from(plan: &'a Plan) -> Self {
        let Plan {
            app,
            network,
            control,
            tenants,
            given: _,
        } = plan;
        Self {
            app,
            network,
            control,
            tenants: tenants.iter().collect(),
        }
    }
}

/// What tenants hold that others may need, while a reload applies the changes. Few reloads need it.
fn holders<'a>(old: &Side<'a>, new: &Side<'a>) -> Holders<'a> {
    let new = new.tenants.iter().map(|tenant| (&tenant.name, *tenant));
    let new: BTreeMap<&TenantName, &'a TenantPlan> = new.collect();
    let all = old.tenants.iter();
    Holders::new(all.map(|old| meanwhile(old, new.get(&old.name).copied())))
}

/// The changes from `old` to `new`.
#[must_use]
pub fn diff<'a>(old: impl Into<Side<'a>>, new: impl Into<Side<'a>>) -> Changes {
    let (old, new) = (old.into(), new.into());
    let ((fixed, live), (new_fixed, new_live)) = (old.shared(), new.shared());
    let mut changes = Changes {
        fixed: compare(fixed, new_fixed).1,
        ..Changes::default()
    };
    if !changes.fixed.is_empty() {
        let shared = [(old.app, old.network), (new.app, new.network)];
        changes.fixed_keys = data::shared_changes(shared[0], shared[1]);
        return changes;
    }
    changes.shared = compare(live, new_live).1;
    let exchange = Exchange::between(&old, &new);
    changes.shared.extend(exchange.fields.iter().cloned());
    let named = old.tenants.iter().map(|tenant| (&tenant.name, *tenant));
    let mut before: BTreeMap<&TenantName, &TenantPlan> = named.collect();
    let holders = std::cell::LazyCell::new(|| holders(&old, &new));
    for tenant in &new.tenants {
        let (mut touches, mut files) = (None, Vec::new());
        let (change, fields, keys) = match before.remove(&tenant.name) {
            None => {
                let fields = shown(tenant, |value| (None, Some(value)));
                (Change::Add, fields, keys_of(tenant, Change::Add))
            }
            Some(old) if old == *tenant && exchange.fields.is_empty() => {
                changes.unchanged += 1;
                continue;
            }
            Some(old) => {
                let (takes, fields) = compare(parts(old), parts(tenant));
                touches = match takes {
                    Takes::Live(touches) => Some(touches),
                    Takes::Relaunch | Takes::Reprovision => None,
                };
                let keys = data::tenant_changes(old, tenant);
                files = file_diffs(old, tenant);
                exchange.on((takes.effect().into(), fields, keys), &mut touches)
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
            keys,
            files,
        });
    }
    let gone = old.tenants.iter().filter(|t| before.contains_key(&t.name));
    changes.tenants.extend(gone.map(|tenant| removal(tenant)));
    // A stable sort: within each kind, the order of the manifest is kept.
    changes.tenants.sort_by_key(|change| change.change);
    changes
}

fn removal(tenant: &TenantPlan) -> TenantChange {
    TenantChange {
        tenant: tenant.name.clone(),
        change: Change::Remove,
        fields: shown(tenant, |value| (Some(value), None)),
        after: Vec::new(),
        touches: None,
        keys: keys_of(tenant, Change::Remove),
        files: Vec::new(),
    }
}

/// The files that both plans have, with other contents.
fn file_diffs(old: &TenantPlan, new: &TenantPlan) -> Vec<FileDiff> {
    let files = new.launch.files.iter();
    let changed = files.filter_map(|file| {
        let before = old.launch.files.iter().find(|it| it.path == file.path)?;
        (before.contents != file.contents).then(|| FileDiff {
            path: file.path.display().to_string(),
            diff: unified::text(&before.contents, &file.contents),
        })
    });
    changed.collect()
}

/// An owned copy of a field.
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

/// The changed fields, and the most that any of them requires.
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
    // A stable sort: among fields that require the same, the order of the plan is kept.
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

/// The values that are shown of an added or removed tenant.
fn keys_of(tenant: &TenantPlan, change: Change) -> Vec<KeyChange> {
    let shown = data::shown(tenant).into_iter();
    let keys = shown.map(|(key, value)| match change == Change::Remove {
        true => KeyChange {
            key,
            before: value,
            after: serde_json::Value::Null,
        },
        false => KeyChange {
            key,
            before: serde_json::Value::Null,
            after: value,
        },
    });
    keys.collect()
}

/// The fields that are shown of an added or removed tenant.
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
