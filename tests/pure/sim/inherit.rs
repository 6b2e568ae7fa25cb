//! Laws across supervisors.

use std::sync::Arc;

use tenantd_core::name::TenantName;
use tenantd_core::plan::model::Policy;
use tenantd_core::supervisor::event::LaunchId;
use tenantd_core::supervisor::view::{StateWord, View, Want, Why};

use super::law::{Broken, Law, check};
use super::laws::Laws;
use super::truth::{Live, Network};

impl Laws {
    /// A supervisor dies, and the next one begins now. Operations in progress may be repeated at
    /// once, and so may all if the supervisor was shutting down.
    pub(crate) fn dies(&mut self, was_ending: bool, lives: impl Fn(LaunchId) -> bool) {
        self.last_launch = LaunchId(0);
        for truth in self.tenants.values_mut() {
            let begun = truth.live.is_some_and(|live| !live.launched);
            let under_way = matches!(truth.network, Network::Making | Network::Taking);
            let waited = truth.awaits && truth.live.is_none();
            truth.free |= begun || under_way || waited || was_ending;
            truth.trying = false;
            truth.awaits = false;
            truth.applying = None;
            if was_ending {
                // One that had failed is started again, and a policy may give up without a strike.
                truth.strikes = 0;
            }
            match truth.live.take() {
                Some(live) if lives(live.id) => {
                    self.last_launch = self.last_launch.max(live.id);
                    let launched = true;
                    truth.live = Some(Live { launched, ..live });
                    truth.network = Network::There;
                    continue;
                }
                Some(over) => {
                    self.launches.remove(&over.id);
                    truth.unseen |= over.known;
                }
                None => {}
            }
            if truth.network != Network::None {
                truth.network = Network::Stale;
            }
        }
    }

    /// The running launch of a tenant.
    pub(crate) fn lives_of(&self, tenant: &TenantName) -> Option<LaunchId> {
        Some(self.tenants.get(tenant)?.live?.id)
    }

    /// Tenants that are in no plan are ended. Returns their launches.
    pub(crate) fn orphans(&mut self, planned: impl Fn(&TenantName) -> bool) -> Vec<LaunchId> {
        let mut ended = Vec::new();
        for (tenant, truth) in &mut self.tenants {
            if !planned(tenant) {
                truth.network = Network::None;
                truth.unseen = false;
                ended.extend(truth.live.take().map(|live| live.id));
            }
        }
        ended
            .iter()
            .for_each(|launch| drop(self.launches.remove(launch)));
        ended
    }

    /// A tenant has a new policy. If that may start it, this counts as a first start.
    pub(crate) fn has_policy(&mut self, tenant: &TenantName, policy: Policy) {
        if let Some(truth) = self.tenants.get_mut(tenant) {
            if policy.autostart != truth.policy.autostart {
                truth.free = true;
                truth.strikes = 0;
            }
            truth.policy = policy.into();
        }
    }

    /// A tenant was removed from the manifest and added again.
    pub(crate) fn is_new(&mut self, tenant: &TenantName) {
        if let Some(truth) = self.tenants.get_mut(tenant) {
            truth.free = true;
            truth.asked_end = true;
            truth.strikes = 0;
        }
    }

    /// A tenant that was removed and added again is a new one.
    pub(crate) fn came_back(is: &View, autostart: bool) -> Result<(), Broken> {
        check((is.want == Want::Up) == autostart, Law::GoesOn, || {
            format!("it came back as {is:?}")
        })
    }

    /// The resources of a tenant.
    pub(super) fn network(&self, tenant: &TenantName) -> Option<Network> {
        self.tenants.get(tenant).map(|truth| truth.network)
    }

    pub(crate) fn shared_policy(&self, tenant: &TenantName) -> Option<Arc<Policy>> {
        self.tenants.get(tenant).map(|truth| truth.policy.clone())
    }

    /// A tenant was started by another plan: it is relaunched or reprovisioned at once, and its
    /// strikes are cleared.
    pub(crate) fn is_outdated(&mut self, tenant: &TenantName) {
        if let Some(truth) = self.tenants.get_mut(tenant) {
            truth.free = true;
            truth.strikes = 0;
            truth.asked_end = true;
        }
    }

    /// What an operator saw continues under the next supervisor; `lives` says whether its launch
    /// does.
    pub(crate) fn goes_on(was: &View, is: &View, lives: bool) -> Result<(), Broken> {
        use StateWord::{
            Down, Failed, Launching, Provisioning, Releasing, Stopping, Stuck, Up, Waiting,
        };
        // A tenant that must wait for others after its delay releases what is left of it first.
        let released = !lives && is.state == Releasing;
        let released = released && is.restarts == was.restarts + 1;
        let again = matches!(is.state, Provisioning | Launching) || released;
        let counted = is.restarts == was.restarts || (again && is.restarts == was.restarts + 1);
        let state = match was.state {
            Down => matches!(is.state, Down | Releasing),
            Waiting => again || (is.state == Waiting && is.until == was.until),
            Failed => is.state == Failed && is.why == was.why,
            Up if lives => is.state == Up && is.since == was.since,
            Stopping if lives => is.state == Stopping,
            // What was under way is done again, is undone, or has ended and is judged.
            Up | Stopping | Launching | Provisioning | Releasing | Stuck => true,
        };
        // One that ended as it should may be judged only now; one that was stuck hides how it did.
        let done = match &was.why {
            Some(Why::Exit(exit)) => exit.is_success(),
            Some(Why::Failure(_)) | None => was.state == Stuck,
        };
        let wanted = is.want == was.want || (done && !lives);
        check(wanted && counted && state, Law::GoesOn, || {
            format!("{was:?} and then {is:?}")
        })
    }
}
