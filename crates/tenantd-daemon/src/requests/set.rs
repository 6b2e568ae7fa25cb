//! Sets limits of a running tenant by hand: `tenantd set` without `--permanent`.
//!
//! They are kept with the tenant's cgroup: see `by_hand` in tenantd-host. The supervisor has no record of them, and
//! its decisions do not depend on them.

use std::sync::Arc;

use tenantd_api::wire::{LimitByHand, LimitsSet};
use tenantd_core::cgroup::by_hand::{ByHand, Typed, typed_name};
use tenantd_core::cgroup::{GroupLimits, shown};
use tenantd_core::name::TenantName;
use tenantd_core::plan::model::TenantPlan;
use tenantd_host::cgroup::Leaf;

use crate::executor::blocking::blocking_change;
use crate::executor::inventory::Entry;
use crate::executor::report::ReportKind;
use crate::requests::answer::Tenants;
use crate::requests::queue::AskedSet;

/// Sets them, and answers once the kernel has confirmed it.
pub(super) fn begin(tenants: Tenants<'_>, asked: AskedSet) {
    let AskedSet {
        tenants: names,
        typed,
        reset,
        reply,
    } = asked;
    let found = match tenants.names(&names) {
        Ok(names) => names.into_iter().next(),
        Err(unknown) => return drop(reply.send(Err(unknown))),
    };
    let Some(tenant) = found else { return };
    let ready = typed.and_then(|typed| Ok((typed, target(tenants, &tenant)?)));
    let (typed, (leaf, plan)) = match ready {
        Ok(ready) => ready,
        Err(why) => return drop(reply.send(Ok(refused(why)))),
    };
    let host = tenants.executor.host();
    let (limiter, reporter, task) = (
        host.limiter(),
        host.reporter.clone(),
        host.under_way.begin(),
    );
    host.spawn(async move {
        let planned = Arc::clone(&plan);
        let set = blocking_change(move || {
            let before = leaf.by_hand()?;
            let typed = with_reset(typed, reset, &before);
            let after = limiter.set(&leaf, &planned, &typed)?;
            Ok((before, after))
        });
        let answer = match set.await {
            Ok((before, after)) => {
                let limits = shown_all(&after, &plan.launch.group);
                let unchanged = before == after;
                reporter.report(&tenant, ReportKind::SetByHand(after));
                if !unchanged {
                    tracing::info!(%tenant, "{tenant}: limits set by hand: {}", listed(&limits));
                }
                LimitsSet {
                    unchanged,
                    limits,
                    refused: None,
                }
            }
            Err(why) => refused(why.to_string()),
        };
        // The client may have disconnected.
        let _gone = reply.send(Ok(answer));
        drop(task);
    });
}

/// Takes back all that is set, before what was typed.
fn with_reset(typed: Vec<Typed>, reset: bool, before: &ByHand) -> Vec<Typed> {
    let back = before.each().filter(|_| reset).map(|(key, item, _)| Typed {
        key,
        item: item.to_owned(),
        value: None,
    });
    back.chain(typed).collect()
}

/// The leaf of a tenant that has one, and its newest plan, whose limits a live change has set.
fn target(tenants: Tenants<'_>, tenant: &TenantName) -> Result<(Leaf, Arc<TenantPlan>), String> {
    let entry = tenants.executor.inventory().get(tenant);
    let provisioned = entry.and_then(|it| Some((it, it.provisioned.as_ref()?)));
    let (entry, provisioned) = provisioned.ok_or_else(|| {
        "it is stopped: with --permanent, its next start has the limit".to_owned()
    })?;
    let leaf = provisioned.leaf.clone();
    let leaf = leaf.ok_or(
        "the host has no cgroup tree of version 2, which is needed to limit a tenant".to_owned(),
    )?;
    Ok((leaf, Arc::clone(entry.planned())))
}

fn refused(why: String) -> LimitsSet {
    LimitsSet {
        unchanged: true,
        limits: Vec::new(),
        refused: Some(why),
    }
}

/// What is set by hand of a tenant.
pub(super) fn shown_of(entry: &Entry) -> Vec<LimitByHand> {
    match entry.by_hand.is_empty() {
        true => Vec::new(),
        false => shown_all(&entry.by_hand, &entry.planned().launch.group),
    }
}

fn shown_all(hand: &ByHand, planned: &GroupLimits) -> Vec<LimitByHand> {
    let holding = hand.holding(planned);
    let one = holding.each().map(|(key, item, held)| LimitByHand {
        limit: typed_name(key, item),
        value: shown(key, &held.value),
        planned: held.planned.as_deref().map(|planned| shown(key, planned)),
    });
    one.collect()
}

fn listed(limits: &[LimitByHand]) -> String {
    let one = |it: &LimitByHand| format!("{} {}", it.limit, it.value);
    match limits {
        [] => "none".to_owned(),
        all => all.iter().map(one).collect::<Vec<_>>().join(", "),
    }
}
