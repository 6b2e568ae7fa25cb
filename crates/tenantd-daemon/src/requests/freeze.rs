//! Pauses tenants, and lets them continue: `tenantd pause`, `resume` and `hibernate`.
//!
//! The state of a tenant does not change by that, and the supervisor has no record of it: the freezer of its
//! cgroup is one. So a paused tenant stays paused without a supervisor, and the next one finds it so. A stop, a
//! restart and the next launch let it continue.

use tokio::sync::oneshot;

use tenantd_api::wire::{self, Frozen};
use tenantd_core::name::TenantName;
use tenantd_core::supervisor::view::StateWord;
use tenantd_host::cgroup::{Leaf, Limiter, Taken};

use crate::executor::blocking::blocking_change;
use crate::requests::answer::Tenants;
use crate::requests::queue::Unknown;

/// Pauses these tenants or lets them continue, and takes their memory if `reclaim` is set. Answers when that is
/// done.
pub(super) fn begin(
    tenants: Tenants<'_>,
    names: &[TenantName],
    (frozen, reclaim): (bool, bool),
    reply: oneshot::Sender<Result<Vec<Frozen>, Unknown>>,
) {
    let names = match tenants.names(names) {
        Ok(names) => names,
        Err(unknown) => return drop(reply.send(Err(unknown))),
    };
    let target = |name: TenantName| {
        let leaf = target(tenants, &name, frozen);
        (name, leaf)
    };
    let targets: Vec<_> = names.into_iter().map(target).collect();
    let host = tenants.executor.host();
    let limiter = host.limiter();
    host.spawn(async move {
        let mut all = Vec::with_capacity(targets.len());
        for (tenant, leaf) in targets {
            let limiter = limiter.clone();
            let done = match leaf {
                Ok(Some((leaf, goes_on))) => {
                    let how = (frozen, reclaim);
                    let change = move || Ok(change(&leaf, &limiter, how, &goes_on));
                    blocking_change(change).await
                }
                Ok(None) => Ok((true, None, None)),
                Err(why) => Ok((true, None, Some(why))),
            };
            let (unchanged, taken, refused) =
                done.unwrap_or_else(|why| (true, None, Some(why.to_string())));
            if !unchanged {
                let what = if frozen { "paused" } else { "continued" };
                tracing::info!(%tenant, "{tenant}: {what}, as requested");
            }
            all.push(Frozen {
                tenant,
                unchanged,
                reclaimed: taken.map(|it| it.bytes),
                cut: taken.is_some_and(|it| it.is_cut),
                refused,
            });
        }
        // The client may have disconnected.
        let _gone = reply.send(Ok(all));
    });
}

/// Whether the leaf was so before, how much memory was taken, and what failed. Blocks.
fn change(
    leaf: &Leaf,
    limiter: &Limiter,
    (frozen, reclaim): (bool, bool),
    goes_on: &dyn Fn() -> bool,
) -> (bool, Option<Taken>, Option<String>) {
    let was = leaf.is_frozen();
    if !frozen {
        let thawed = leaf.thaw();
        return (!was, None, thawed.err().map(|why| why.to_string()));
    }
    let possible = match reclaim {
        true => limiter.can_reclaim(leaf),
        false => Ok(()),
    };
    let done = possible.and_then(|()| if was { Ok(()) } else { leaf.freeze(goes_on) });
    if let Err(why) = done {
        return (true, None, Some(why.to_string()));
    }
    match reclaim.then(|| limiter.reclaim(leaf, goes_on)) {
        None => (was, None, None),
        Some(Ok(taken)) => (was, Some(taken), None),
        Some(Err(why)) => (was, None, Some(format!("it is paused, but {why}"))),
    }
}

/// What is frozen of a tenant, while its launch is the same and is not to end; or why nothing may be. `None` if it is to
/// continue and nothing of it runs.
fn target(
    tenants: Tenants<'_>,
    tenant: &TenantName,
    frozen: bool,
) -> Result<Option<(Leaf, impl Fn() -> bool + Send + 'static + use<>)>, String> {
    let view = tenants.supervisor.tenant(tenant);
    let state = view.as_ref().map_or(StateWord::Down, |view| view.state);
    let is_ready = view.is_some_and(|view| view.ready == Some(true));
    match state {
        StateWord::Up if is_ready || !frozen => {}
        StateWord::Up => return Err("it is not ready yet".to_owned()),
        _ if !frozen => return Ok(None),
        StateWord::Down
        | StateWord::Provisioning
        | StateWord::Launching
        | StateWord::Initializing
        | StateWord::Preparing
        | StateWord::Offline
        | StateWord::Stopping
        | StateWord::Waiting
        | StateWord::Failed
        | StateWord::Exited
        | StateWord::Releasing
        | StateWord::Stuck => {
            let word = wire::StateWord::from(state).word();
            return Err(format!(
                "it is {word}: only a tenant that is up can be paused"
            ));
        }
    }
    let entry = tenants.executor.inventory().get(tenant);
    let provisioned = entry.and_then(|it| Some((it, it.provisioned.as_ref()?)));
    let (entry, provisioned) = provisioned.ok_or("its program has just ended")?;
    let leaf = provisioned.leaf.clone().ok_or(
        "the host has no cgroup tree of version 2, which is needed to pause a tenant".to_owned(),
    )?;
    Ok(Some((leaf, entry.steps.none_since())))
}
