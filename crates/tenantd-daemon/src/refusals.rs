//! Refused writes that the tenants' logs mention, see [`logs::refused`](crate::logs::refused).
//!
//! The host is read-only for a tenant. A program that writes elsewhere than to its own folders often stays
//! up and only logs the error. So the first such lines of each launch are kept and shown, with the path
//! if the line has one. They are what the tenant says: it can write any line.
//!
//! They are not recorded: after an upgrade of the supervisor only new lines are found.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;

use tokio::sync::mpsc;

use tenantd_api::wire::RefusedWrite;
use tenantd_core::name::TenantName;
use tenantd_core::plan::model::{HostAccess, OWN, TenantPlan};
use tenantd_core::supervisor::Transition;
use tenantd_core::supervisor::view::StateWord;

use crate::executor::inventory::Inventory;
use crate::input::Input;
use crate::logs::Logs;
pub(crate) use crate::logs::refused::Refused;

/// The refused writes of each tenant that has any.
pub(crate) struct Refusals {
    found: mpsc::Receiver<Refused>,
    of: BTreeMap<TenantName, Vec<RefusedWrite>>,
    changed: VecDeque<TenantName>,
}

impl Refusals {
    /// Those in these logs from now on.
    pub(crate) fn of(logs: &Logs) -> Self {
        Self {
            found: logs.refused(),
            of: BTreeMap::new(),
            changed: VecDeque::new(),
        }
    }

    /// Those of a tenant since its last launch.
    pub(crate) fn of_tenant(&self, tenant: &TenantName) -> &[RefusedWrite] {
        self.of.get(tenant).map_or(&[], Vec::as_slice)
    }

    /// The next line that mentions one. Cancelling this loses nothing.
    pub(crate) async fn next(&mut self) -> Refused {
        match self.found.recv().await {
            Some(refused) => refused,
            // The logs have ended.
            None => std::future::pending().await,
        }
    }

    /// Keeps and logs a refused write, unless it cannot be one of the host's files.
    pub(crate) fn on_refused(&mut self, refused: Refused, inventory: &Inventory) {
        let Refused { tenant, path, line } = refused;
        let Some(plan) = inventory.plan(&tenant) else {
            return;
        };
        let is_own = path
            .as_deref()
            .is_some_and(|path| is_own(Path::new(path), plan));
        if is_own || plan.launch.view.host == HostAccess::Writable {
            return;
        }
        match &path {
            Some(path) => tracing::warn!(
                %tenant,
                "{tenant}: its log says that it tried to write {path}, which belongs to the host and is \
                 read-only"
            ),
            None => tracing::warn!(
                %tenant,
                "{tenant}: its log says that it tried to write to a read-only file system: {line}"
            ),
        }
        let refused = self.of.entry(tenant.clone()).or_default();
        refused.push(RefusedWrite { path, line });
        self.changed.push_back(tenant);
    }

    /// Forgets those of an earlier launch.
    pub(crate) fn on_transition(&mut self, transition: &Transition) {
        if matches!(transition.to, StateWord::Launching | StateWord::Down) {
            self.of.remove(&transition.tenant);
        }
    }

    /// The next input for the loop.
    pub(crate) fn poll(&mut self) -> Option<Input> {
        self.changed.pop_front().map(Input::Changed)
    }
}

/// Whether a path is the tenant's own, or shared: a refused write there has another cause.
fn is_own(path: &Path, plan: &TenantPlan) -> bool {
    let launch = &plan.launch;
    let is_in = |folder: &Path| path.starts_with(folder);
    plan.datastore.targets().any(is_in)
        || launch.private.iter().any(|it| is_in(it))
        || launch.view.shared.iter().any(|it| is_in(it))
        || OWN.iter().any(|own| is_in(Path::new(own)))
}
