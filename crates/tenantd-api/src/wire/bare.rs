//! A status without anything that a tenant may lack.

use tenantd_core::name::TenantName;
use tenantd_core::plan::address::Addresses;

use super::{StateWord, TenantStatus, Want};

impl TenantStatus {
    /// The status of a tenant that is wanted up, of which only this is known. It is since the beginning of
    /// the Unix epoch.
    #[must_use]
    pub fn bare(name: TenantName, addresses: Addresses, state: StateWord) -> Self {
        Self {
            name,
            want: Want::Up,
            permanent: None,
            state,
            phase: None,
            pid: None,
            addresses,
            restarts: 0,
            since: jiff::Timestamp::UNIX_EPOCH,
            ready: None,
            program: None,
            awaits: Vec::new(),
            until: None,
            why: None,
            failure: None,
            applying: false,
            unapplied: None,
            lid: None,
            refused: Vec::new(),
            misfit: None,
            exit: None,
            killed: None,
            main: None,
            status_text: None,
            reloading: None,
            confined: None,
            offline: None,
            paused: false,
            network: super::NetworkState::default(),
            cgroup: None,
            link: None,
            last_failure: None,
            starved: None,
            probe: None,
            by_hand: Vec::new(),
            reached: Vec::new(),
            engine: None,
        }
    }
}
