//! Which tenants `status` shows, and in which order.

use std::cmp::Reverse;
use std::net::IpAddr;

use clap::ValueEnum;

use tenantd_api::wire::{AppStatus, StateWord, TenantStatus};

/// The order of the tenants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Sort {
    /// By name.
    Name,
    /// Those that need an operator first.
    State,
    /// Those that were restarted most often first.
    Restarts,
    /// Those whose state changed last first.
    Since,
    /// By address.
    Address,
}

/// Which tenants are shown, and in which order.
#[derive(Debug, Clone, Default)]
pub(in crate::cli) struct View {
    /// Only those that are not as wanted.
    pub(in crate::cli) failed: bool,
    /// Only those in one of these states, if there is any.
    pub(in crate::cli) states: Vec<StateWord>,
    /// The order, if it is not that of the manifest.
    pub(in crate::cli) sort: Option<Sort>,
}

impl View {
    /// Whether tenants are left out, so that one that is left was not named.
    pub(in crate::cli) fn leaves_out(&self) -> bool {
        self.failed || !self.states.is_empty()
    }

    /// The status of the tenants that are shown.
    pub(in crate::cli) fn of(&self, status: &AppStatus) -> AppStatus {
        let shown = status.tenants.iter().filter(|tenant| self.shows(tenant));
        let mut tenants: Vec<_> = shown.cloned().collect();
        self.order(&mut tenants);
        AppStatus {
            app: status.app.clone(),
            unwatched: status.unwatched.clone(),
            network: status.network.clone(),
            manifest: status.manifest.clone(),
            tenants,
            ..*status
        }
    }

    /// The same, of a status that is not needed otherwise.
    pub(in crate::cli) fn apply(&self, mut status: AppStatus) -> AppStatus {
        status.tenants.retain(|tenant| self.shows(tenant));
        self.order(&mut status.tenants);
        status
    }

    fn shows(&self, tenant: &TenantStatus) -> bool {
        let is_state = self.states.is_empty() || self.states.contains(&tenant.state);
        is_state && !(self.failed && tenant.is_as_wanted())
    }

    fn order(&self, tenants: &mut [TenantStatus]) {
        match self.sort {
            None => {}
            Some(Sort::Name) => tenants.sort_by(|one, other| one.name.cmp(&other.name)),
            Some(Sort::State) => {
                tenants.sort_by_key(|tenant| (tenant.is_as_wanted(), urgency(tenant.state)));
            }
            Some(Sort::Restarts) => tenants.sort_by_key(|tenant| Reverse(tenant.restarts)),
            Some(Sort::Since) => tenants.sort_by_key(|tenant| Reverse(tenant.since)),
            Some(Sort::Address) => {
                let addresses =
                    |tenant: &TenantStatus| -> Vec<IpAddr> { tenant.addresses.iter().collect() };
                tenants.sort_by_cached_key(addresses);
            }
        }
    }
}

/// The order of the states: those that need an operator first.
pub(in crate::cli) fn urgency(state: StateWord) -> u8 {
    match state {
        StateWord::Failed => 0,
        StateWord::Stuck => 1,
        StateWord::Waiting => 2,
        StateWord::Unknown => 3,
        StateWord::Exited => 4,
        StateWord::Provisioning => 5,
        StateWord::Launching => 6,
        StateWord::Stopping => 7,
        StateWord::Releasing => 8,
        StateWord::Up => 9,
        StateWord::Down => 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::outcome::tests::tenant;
    use tenantd_api::wire::{LogPlace, NetworkState, Tracking};

    fn status() -> AppStatus {
        let of = |name: &str, state, ready, last: u8, restarts| TenantStatus {
            name: name.parse().unwrap(),
            addresses: std::net::Ipv4Addr::new(10, 77, 0, last).into(),
            restarts,
            since: jiff::Timestamp::from_second(restarts.into()).unwrap(),
            ..tenant(state, ready, None)
        };
        AppStatus {
            app: "shop".parse().unwrap(),
            pid: 1,
            tracking: Tracking::Cgroup,
            logs: LogPlace::Files,
            unwatched: None,
            network: NetworkState::default(),
            manifest: None,
            tenants: vec![
                of("cato", StateWord::Up, Some(true), 9, 0),
                of("acme", StateWord::Waiting, None, 11, 3),
                of("bolt", StateWord::Failed, None, 10, 7),
                of("dune", StateWord::Up, Some(false), 12, 1),
            ],
        }
    }

    #[test]
    fn tenants_are_filtered_and_sorted() {
        let names = |view: View| -> String {
            let shown = view.of(&status()).tenants;
            let names: Vec<String> = shown.iter().map(|t| t.name.to_string()).collect();
            names.join(" ")
        };
        let sorted = |sort| View {
            sort: Some(sort),
            ..View::default()
        };
        assert_eq!(names(View::default()), "cato acme bolt dune");
        assert_eq!(names(sorted(Sort::Name)), "acme bolt cato dune");
        assert_eq!(names(sorted(Sort::State)), "bolt acme dune cato");
        assert_eq!(names(sorted(Sort::Restarts)), "bolt acme dune cato");
        assert_eq!(names(sorted(Sort::Since)), "bolt acme dune cato");
        assert_eq!(names(sorted(Sort::Address)), "cato bolt acme dune");
        let failed = View {
            failed: true,
            ..View::default()
        };
        assert_eq!(names(failed), "acme bolt dune");
        let states = View {
            states: vec![StateWord::Up, StateWord::Failed],
            sort: Some(Sort::Name),
            ..View::default()
        };
        assert_eq!(names(states), "bolt cato dune");
    }
}
