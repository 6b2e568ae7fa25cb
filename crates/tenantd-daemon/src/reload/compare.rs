//! Compares a manifest that was read with the present plans, on another thread: with thousands of tenants that takes
//! longer than the loop may.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::task::{spawn_blocking, spawn_local};

use tenantd_core::manifest::Source;
use tenantd_core::name::{AppName, TenantName};
use tenantd_core::plan::diff::{Changes, Side, diff};
use tenantd_core::plan::hash::{self, Digests};
use tenantd_core::plan::model::{ControlPlan, NetworkPlan, Plan, TenantPlan};
use tenantd_host::doctor;

use super::{Present, Read, ReloadRequest, Reloads, Reread, Stage};

/// The position of each tenant in the manifest.
pub(super) type Order = BTreeMap<TenantName, usize>;

/// The present plans.
struct Before {
    app: AppName,
    network: NetworkPlan,
    control: ControlPlan,
    tenants: Vec<Arc<TenantPlan>>,
    order: Arc<Order>,
    /// The tenants with a live change that was refused.
    refused: Vec<TenantName>,
}

/// What is new in a manifest.
pub(super) struct Compared {
    pub(super) app: AppName,
    pub(super) changes: Changes,
    pub(super) network: NetworkPlan,
    pub(super) control: ControlPlan,
    /// The new plans of the tenants that change, in the order of the manifest.
    pub(super) plans: Vec<Arc<TenantPlan>>,
    /// By which these changes are known from others.
    pub(super) digests: Digests,
    /// The order of the tenants; `None` if it is as before.
    pub(super) order: Option<Arc<Order>>,
    /// Why the host has no room for the tenants.
    pub(super) too_many: Option<String>,
    pub(super) source: Source,
}

impl Reloads {
    /// Compares a manifest with the present plans on another thread.
    pub(super) fn compare(
        &self,
        requests: Vec<ReloadRequest>,
        read: Read,
        Present {
            executor,
            supervisor,
        }: Present<'_>,
    ) {
        let before = Before {
            app: executor.host().app.clone(),
            network: self.network.clone(),
            control: self.control.clone(),
            tenants: executor.inventory().planned().cloned().collect(),
            order: Arc::clone(&self.order),
            refused: supervisor.refused().cloned().collect(),
        };
        let reread = self.reread.clone();
        spawn_local(async move {
            let compared = match spawn_blocking(move || compared(read, before)).await {
                Ok(compared) => compared,
                // It is never cancelled, so it panicked: a defect, which must not be hidden.
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            };
            let stage = Stage::Compared(compared);
            let _ended = reread.send(Reread { requests, stage });
        });
    }
}

fn compared(Read { plan, source }: Read, before: Before) -> Compared {
    let mut changes = changes(&plan, &before);
    let changed: BTreeSet<&TenantName> = changes.tenants.iter().map(|it| &it.tenant).collect();
    if changes.fixed.is_empty() {
        let refused = before.refused.into_iter();
        changes.retried = refused.filter(|it| !changed.contains(it)).collect();
    }
    let order = order(&plan, &before.order);
    let too_many = doctor::too_many(&plan);
    let plans = plan.tenants.into_iter();
    let plans = plans
        .filter(|plan| changed.contains(&plan.name))
        .map(Arc::new);
    let plans: Vec<Arc<TenantPlan>> = plans.collect();
    Compared {
        app: plan.app,
        network: plan.network,
        control: plan.control,
        digests: hash::digests(plans.iter().map(Arc::as_ref)),
        plans,
        order,
        too_many,
        source,
        changes,
    }
}

/// The changes from the present plans to this one.
fn changes(new: &Plan, before: &Before) -> Changes {
    let old = Side {
        app: &before.app,
        network: &before.network,
        control: &before.control,
        tenants: before.tenants.iter().map(Arc::as_ref).collect(),
    };
    diff(old, new)
}

/// The order of the tenants, if it is another one.
fn order(new: &Plan, before: &Order) -> Option<Arc<Order>> {
    let names = new.tenants.iter().map(|tenant| &tenant.name);
    let mut each = names.clone().enumerate();
    let is_same =
        before.len() == new.tenants.len() && each.all(|(at, name)| before.get(name) == Some(&at));
    (!is_same).then(|| Arc::new(names.cloned().zip(0..).collect()))
}

#[cfg(test)]
mod tests {
    use tenantd_core::plan;
    use tenantd_core::plan::facts::{ProgramFact, Table, User};

    use super::*;

    fn read(tenants: &str) -> Read {
        let root = User {
            name: "root".to_owned(),
            uid: 0,
            gid: 0,
            home: "/root".to_owned(),
        };
        let program = ProgramFact::Executable("/bin/wiki".into());
        let host = Table {
            users: vec![root],
            programs: [("/bin/wiki".into(), program)].into(),
            ..Table::default()
        };
        let text = format!(
            "[app]\nname = \"wiki\"\ncommand = [\"/bin/wiki\"]\nuser = \"root\"\n\
             datastore.path = \"/srv/wiki\"\n[network]\nsubnet = \"10.77.0.0/24\"\n[tenants]\n{tenants}"
        );
        let source = Source {
            name: "wiki.toml".to_owned(),
            folder: "/etc".into(),
            text,
        };
        match plan::read(&source, &host) {
            Ok(plan) => Read { plan, source },
            Err(problems) => panic!("{}", problems.render(false)),
        }
    }

    fn before(tenants: &str, refused: &[&str]) -> Before {
        let plan = read(tenants).plan;
        Before {
            order: order(&plan, &Order::new()).unwrap_or_default(),
            app: plan.app,
            network: plan.network,
            control: plan.control,
            tenants: plan.tenants.into_iter().map(Arc::new).collect(),
            refused: refused.iter().map(|name| name.parse().unwrap()).collect(),
        }
    }

    #[test]
    fn the_loop_gets_only_the_tenants_that_change() {
        let all = "a = { ip = \"10.77.0.11\" }\nb = { ip = \"10.77.0.12\" }\nc = { ip = \"10.77.0.13\" }\n";
        let edited = all.replace("0.12\"", "0.12\", autostart = false");
        let found = compared(read(&edited), before(all, &["a", "b"]));
        let names: Vec<&str> = found.plans.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names, ["b"]);
        assert!(found.digests.keys().map(TenantName::as_str).eq(["b"]));
        assert_eq!(found.changes.unchanged, 2);
        // The other one is tried again by its change.
        let retried = found.changes.retried.iter().map(TenantName::as_str);
        assert!(retried.eq(["a"]));
        assert_eq!(found.order, None);
    }

    #[test]
    fn a_new_order_is_kept() {
        let [a, b] = [
            "a = { ip = \"10.77.0.11\" }\n",
            "b = { ip = \"10.77.0.12\" }\n",
        ];
        let found = compared(read(&format!("{b}{a}")), before(&format!("{a}{b}"), &[]));
        assert!(found.plans.is_empty() && found.changes.is_empty());
        let order = found.order.unwrap();
        let place = |name: &str| order.get(&name.parse::<TenantName>().unwrap()).copied();
        assert_eq!((place("b"), place("a")), (Some(0), Some(1)));
    }
}
