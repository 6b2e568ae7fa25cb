//! Invariants across supervisors.

use std::sync::Arc;

use tenantd_core::name::TenantName;
use tenantd_core::plan::model::Policy;
use tenantd_core::plan::phase::Phase;
use tenantd_core::supervisor::event::{Exit, LaunchId};
use tenantd_core::supervisor::view::{StateWord, View, Want};

use super::checker::Checker;
use super::invariant::{Invariant, Violation, check};
use super::model::{Live, Network};

impl Checker {
    /// A supervisor dies, and the next one begins now. Operations in progress may be repeated at
    /// once, and so may all if the supervisor was shutting down.
    pub(crate) fn dies(&mut self, was_ending: bool, alive: impl Fn(LaunchId) -> bool) {
        self.last_launch = LaunchId(0);
        self.hurry = false;
        for model in self.tenants.values_mut() {
            let begun = model.live.is_some_and(|live| !live.launched);
            let under_way = matches!(model.network, Network::Provisioning | Network::Releasing);
            let waited = model.awaits && model.live.is_none();
            model.requested |= begun || under_way || waited || was_ending;
            model.trying = false;
            model.awaits = false;
            model.applying = None;
            model.forced = false;
            if was_ending {
                // A failed tenant is started again, and a policy may give up without a strike.
                model.strikes = 0;
            }
            match model.live.take() {
                Some(live) if alive(live.id) => {
                    self.last_launch = self.last_launch.max(live.id);
                    let launched = true;
                    let concluding = false;
                    model.live = Some(Live {
                        launched,
                        concluding,
                        ..live
                    });
                    model.network = Network::Provisioned;
                    continue;
                }
                Some(over) => {
                    self.launches.remove(&over.id);
                    let success = over.exit.is_some_and(Exit::is_success);
                    model.continuing = over.phase == Phase::Before && success;
                    model.end_unnoticed |= match over.phase {
                        Phase::Main => over.known,
                        Phase::Before => over.known && !success,
                        // Its result is still to be recorded.
                        Phase::Init | Phase::Offline => false,
                    };
                }
                None => {}
            }
            if model.network != Network::None {
                model.network = Network::Stale;
            }
        }
    }

    /// The running launch of a tenant.
    pub(crate) fn launch_of(&self, tenant: &TenantName) -> Option<LaunchId> {
        Some(self.tenants.get(tenant)?.live?.id)
    }

    /// Tenants that are in no plan are ended. Returns their launches.
    pub(crate) fn orphans(&mut self, planned: impl Fn(&TenantName) -> bool) -> Vec<LaunchId> {
        let mut ended = Vec::new();
        for (tenant, model) in &mut self.tenants {
            if !planned(tenant) {
                model.network = Network::None;
                model.end_unnoticed = false;
                ended.extend(model.live.take().map(|live| live.id));
            }
        }
        ended
            .iter()
            .for_each(|launch| drop(self.launches.remove(launch)));
        ended
    }

    /// A tenant has a new policy. If that may start it, this counts as a first start.
    pub(crate) fn set_policy(&mut self, tenant: &TenantName, policy: Policy) {
        if let Some(model) = self.tenants.get_mut(tenant) {
            if policy.autostart != model.policy.autostart {
                model.requested = true;
                model.strikes = 0;
            }
            model.policy = policy.into();
        }
    }

    /// A tenant was removed from the manifest and added again.
    pub(crate) fn set_new(&mut self, tenant: &TenantName) {
        if let Some(model) = self.tenants.get_mut(tenant) {
            model.requested = true;
            model.end_requested = true;
            model.strikes = 0;
        }
    }

    /// A tenant that was removed and added again is a new one.
    pub(crate) fn check_added_again(is: &View, autostart: bool) -> Result<(), Violation> {
        check(
            (is.want == Want::Up) == autostart,
            Invariant::StateResumed,
            || format!("it was added again as {is:?}"),
        )
    }

    /// The resources of a tenant.
    pub(super) fn network(&self, tenant: &TenantName) -> Option<Network> {
        self.tenants.get(tenant).map(|model| model.network)
    }

    pub(crate) fn shared_policy(&self, tenant: &TenantName) -> Option<Arc<Policy>> {
        self.tenants.get(tenant).map(|model| model.policy.clone())
    }

    /// A tenant was started by another plan: it is relaunched or reprovisioned at once, and its
    /// strikes are cleared.
    pub(crate) fn set_outdated(&mut self, tenant: &TenantName) {
        if let Some(model) = self.tenants.get_mut(tenant) {
            model.requested = true;
            model.strikes = 0;
            model.end_requested = true;
        }
    }

    /// What an operator saw continues under the next supervisor; `alive` says whether the launch
    /// still runs.
    pub(crate) fn check_resumed(was: &View, is: &View, alive: bool) -> Result<(), Violation> {
        use StateWord::{
            Down, Exited, Failed, Initializing, Launching, Offline, Preparing, Provisioning,
            Releasing, Stopping, Stuck, Up, Waiting,
        };
        // A tenant that must wait for others after its delay first releases its residue.
        let released = !alive && is.state == Releasing;
        let released = released && is.restarts == was.restarts + 1;
        let again = matches!(is.state, Provisioning | Launching) || released;
        let counted = is.restarts == was.restarts || (again && is.restarts == was.restarts + 1);
        let state = match was.state {
            Down => matches!(is.state, Down | Releasing),
            Waiting => again || (is.state == Waiting && is.until == was.until),
            Failed | Exited => is.state == was.state && is.why == was.why,
            Up if alive => is.state == Up && is.since == was.since,
            Initializing | Preparing | Offline if alive => is.state == was.state,
            Stopping if alive => is.state == Stopping,
            // An operation that was under way is repeated or undone; an exit is handled by the
            // policy.
            Up | Initializing | Preparing | Offline | Stopping | Launching | Provisioning
            | Releasing | Stuck => true,
        };
        let wanted = is.want == was.want;
        check(wanted && counted && state, Invariant::StateResumed, || {
            format!("{was:?} and then {is:?}")
        })
    }
}
