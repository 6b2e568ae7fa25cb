//! Upgrades of the supervisor, which must not interrupt tenants.

use std::collections::BTreeMap;

use nix::sys::signal::Signal;

use crate::chaos::scene::Scene;
use crate::chaos::seen::SeenTenant;
use crate::support::daemon::PROGRAM;
use crate::support::place::{install, script};

/// The status of tenants that nothing is done to.
pub type Undisturbed = BTreeMap<String, (Option<u32>, u32)>;

impl Scene {
    /// Installs a new file of the program, and upgrades to it.
    pub fn upgrade(&mut self) {
        self.versions.install();
        let before = self.undisturbed();
        if self.tell(&["upgrade"]).code == 0 {
            self.check_undisturbed(&before);
        }
    }

    /// The same, without waiting for the upgrade.
    pub fn start_upgrade(&mut self) {
        self.versions.install();
        // The signal would end a supervisor that does not handle it yet.
        if self.answers() {
            self.signal_supervisor(Signal::SIGUSR2);
        }
    }

    /// Upgrades to a program that passes its preflight and fails then.
    pub fn upgrade_to_failing(&mut self) {
        let fails = "[ -n \"$TENANTD_TRIAL\" ] || set -- --config /nonexistent";
        install(&script("fails", &format!("{fails}\nexec {PROGRAM} \"$@\"")));
        let before = self.undisturbed();
        assert_ne!(self.tell(&["upgrade"]).code, 0);
        self.versions.install();
        if self.answers() {
            self.check_undisturbed(&before);
        }
    }

    pub fn answers(&self) -> bool {
        let status = self.daemon.is_running().then(|| self.try_status());
        status
            .flatten()
            .is_some_and(|status| status.pid == self.daemon.pid())
    }

    /// The tenants that run, except those with a change that no supervisor has noticed yet.
    pub fn undisturbed(&self) -> Undisturbed {
        let killed = |pid: u32| self.killed.contains(&pid.cast_signed());
        let at_rest = |tenant: &SeenTenant| {
            let unread = self.unread.contains(tenant.name.as_str());
            tenant.is_ready() && !unread && !tenant.pid.is_some_and(killed) && !self.ending
        };
        let status = self.try_status().into_iter();
        let tenants = status.flat_map(|status| status.tenants);
        let seen = |tenant: SeenTenant| (tenant.name, (tenant.pid, tenant.restarts));
        tenants.filter(|tenant| at_rest(tenant)).map(seen).collect()
    }

    #[track_caller]
    pub fn check_undisturbed(&self, before: &Undisturbed) {
        // A supervisor that is shutting down may have ended by now.
        if before.is_empty() {
            return;
        }
        eprintln!("{} tenants must not be interrupted", before.len());
        let status = self.status();
        for tenant in status.tenants {
            if let Some(before) = before.get(&tenant.name) {
                let now = (tenant.pid, tenant.restarts);
                assert_eq!(now, *before, "{}", self.daemon.output());
            }
        }
    }
}
