//! Rehearses the launches that a start or restart leads to, before the supervisor gets the request:
//! what would fail is refused, and changes nothing. A restart then ends no running program for one
//! that cannot be started.
//!
//! A start is refused only for what no retry can mend (see [`Retry`]): otherwise the tenant is wanted up,
//! and the restart policy tries again.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Rlimit;
use tokio::sync::mpsc;
use tokio::task::{spawn_blocking, spawn_local};
use tokio::time::timeout;

use tenantd_api::wire::Verb;
use tenantd_core::name::{AppName, TenantName};
use tenantd_core::plan::model::TenantPlan;
use tenantd_core::stage::{Failure, Retry};
use tenantd_core::supervisor::view::{StateWord, View, Want};
use tenantd_host::launch::{MountTemplates, rehearse_all};

use super::Act;
use crate::requests::answer::Tenants;

/// How long a request waits for a rehearsal: a filesystem may hang. One of a hundred tenants takes
/// less than 200 ms.
const LIMIT: Duration = Duration::from_secs(10);

/// A launch to rehearse.
struct Launch {
    plan: Arc<TenantPlan>,
    /// Whether a program runs that would be ended before.
    ends: bool,
}

/// A request whose launches have been rehearsed.
pub(crate) struct Rehearsed {
    pub(super) act: Act,
    /// Why the request is refused for a tenant.
    pub(super) refused: HashMap<TenantName, String>,
}

/// The rehearsals that are under way.
pub(super) struct Rehearsals {
    done: mpsc::UnboundedSender<Rehearsed>,
    ended: mpsc::UnboundedReceiver<Rehearsed>,
}

impl Rehearsals {
    pub(super) fn new() -> Self {
        let (done, ended) = mpsc::unbounded_channel();
        Self { done, ended }
    }

    /// The next request whose rehearsal has ended. Cancelling this loses nothing.
    pub(super) async fn next(&mut self) -> Rehearsed {
        match self.ended.recv().await {
            Some(rehearsed) => rehearsed,
            // Cannot happen: this object holds a sender.
            None => std::future::pending().await,
        }
    }

    /// Rehearses the launches of a request on another thread. Returns the request if it has none.
    pub(super) fn begin(&self, act: Act, tenants: Tenants<'_>) -> Option<Act> {
        let launches = act.left.iter();
        let launches = launches.filter_map(|tenant| launch(act.verb, tenants, tenant));
        let launches: Vec<Launch> = launches.collect();
        if launches.is_empty() {
            return Some(act);
        }
        let host = tenants.executor.host();
        let (app, descriptors) = (host.app.clone(), host.descriptors);
        let templates = Arc::new(host.templates.for_rehearsals());
        let done = self.done.clone();
        spawn_local(async move {
            let refused = refused((app, &templates), launches, descriptors).await;
            // The loop closes the channel only when it ends.
            let _ended = done.send(Rehearsed { act, refused });
            drop(spawn_blocking(move || drop(templates)));
        });
        None
    }
}

/// The launch to which a verb leads, if it leads to one.
fn launch(verb: Verb, tenants: Tenants<'_>, tenant: &TenantName) -> Option<Launch> {
    let view = tenants.supervisor.tenant(tenant)?;
    let entry = tenants.executor.inventory().get(tenant)?;
    let is_launched = match verb {
        Verb::Stop => false,
        Verb::Restart => true,
        Verb::Start => !is_started(&view),
    };
    (is_launched && !entry.removed).then(|| Launch {
        plan: Arc::clone(entry.planned()),
        ends: view.state == StateWord::Up,
    })
}

/// Whether a start changes nothing.
fn is_started(view: &View) -> bool {
    view.want == Want::Up
        && match view.state {
            StateWord::Provisioning
            | StateWord::Launching
            | StateWord::Initializing
            | StateWord::Preparing
            | StateWord::Up => true,
            StateWord::Down
            | StateWord::Offline
            | StateWord::Stopping
            | StateWord::Waiting
            | StateWord::Failed
            | StateWord::Exited
            | StateWord::Releasing
            | StateWord::Stuck => false,
        }
}

/// The launches that are refused, each with the reason.
async fn refused(
    (app, templates): (AppName, &Arc<MountTemplates>),
    launches: Vec<Launch>,
    descriptors: Rlimit,
) -> HashMap<TenantName, String> {
    let running = launches.iter().filter(|launch| launch.ends);
    let running: Vec<TenantName> = running.map(|launch| launch.plan.name.clone()).collect();
    let templates = Arc::clone(templates);
    let rehearsal = spawn_blocking(move || rehearsed((&app, &templates), &launches, descriptors));
    match timeout(LIMIT, rehearsal).await {
        Ok(Ok(refused)) => refused,
        Ok(Err(panicked)) => std::panic::resume_unwind(panicked.into_panic()),
        // A launch of a tenant that does not run waits for the filesystem, and says where.
        Err(_elapsed) => {
            let limit = LIMIT.as_secs();
            let why = format!(
                "nothing was changed: the rehearsal of its launch took more than {limit} s"
            );
            let refused = running.into_iter().map(|tenant| (tenant, why.clone()));
            refused.collect()
        }
    }
}

/// Rehearses launches, and returns those that are refused. Blocks.
fn rehearsed(
    (app, templates): (&AppName, &MountTemplates),
    launches: &[Launch],
    descriptors: Rlimit,
) -> HashMap<TenantName, String> {
    let ends: HashMap<&TenantName, bool> = launches
        .iter()
        .map(|launch| (&launch.plan.name, launch.ends))
        .collect();
    let plans = launches.iter().map(|launch| launch.plan.as_ref());
    let failed = rehearse_all(templates, app, plans, descriptors).into_iter();
    let ends = |tenant: &TenantName| ends.get(tenant).is_some_and(|ends| *ends);
    failed
        .filter(|(plan, why)| ends(&plan.name) || why.retry() != Retry::Policy)
        .map(|(plan, why)| (plan.name.clone(), reason(&why)))
        .collect()
}

fn reason(why: &Failure) -> String {
    format!("nothing was changed: its launch would fail: {why}")
}
