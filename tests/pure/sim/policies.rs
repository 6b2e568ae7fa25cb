//! Random policies.

use std::time::Duration;

use tenantd_core::manifest::engine::Engine;
use tenantd_core::manifest::storage::Storage;
use tenantd_core::name::TenantName;
use tenantd_core::plan::alive::{Alive, Probe};
use tenantd_core::plan::model::{
    Policy, Readiness, RestartPolicy, RestartWhen, StopSignal, SuccessExit,
};
use tenantd_core::plan::phase::{PhasePolicies, PhasePolicy};

use super::random::Random;
use super::world::World;

impl World {
    pub(super) fn policy(&mut self) -> Policy {
        use RestartWhen::{Always, Never, OnFailure};
        let lived = Readiness::Lived(self.random.millis(5_000));
        let ready = [
            Readiness::Started,
            lived,
            Readiness::Tcp(80),
            Readiness::Notify,
        ];
        let random = &mut self.random;
        Policy {
            autostart: random.chance(80),
            engine: Engine::Tenantd,
            storage: Storage::Local,
            stop_signal: StopSignal {
                number: 15,
                name: "SIGTERM".to_owned(),
            },
            grace: Duration::from_secs(*random.pick(&[0, 1, 10])),
            restart: RestartPolicy {
                when: *random.pick(&[Always, Always, OnFailure, Never]),
                delay: Duration::from_millis(*random.pick(&[0, 100, 1_000])),
                delay_max: Duration::from_secs(*random.pick(&[1, 30])),
                healthy_after: Duration::from_secs(*random.pick(&[1, 10, 60])),
                strikes: *random.pick(&[0, 1, 3, 10]),
                window: Duration::from_secs(*random.pick(&[5, 60])),
                success: random.pick(&[vec![], vec![SuccessExit::Status(1)]]).clone(),
            },
            ready: random.pick(&ready).clone(),
            ready_within: Duration::from_secs(*random.pick(&[1, 30])),
            daemonizes: random.chance(30),
            pid_file: None,
            phases: phases(random),
            alive: random.chance(30).then(alive),
            watchdog: None,
            reload: None,
        }
    }

    /// Another policy with the same delays, because the current delay was computed from the old
    /// ones.
    pub(super) fn changed_policy(&mut self, tenant: &TenantName) -> Policy {
        let policy = self.policy();
        // Whether there are commands stays the same: the checks look at the policy of the moment.
        let phases = policy.phases.clone();
        match self.checker.policy(tenant) {
            Some(old) => Policy {
                restart: old.restart.clone(),
                phases: PhasePolicies {
                    init: phases
                        .init
                        .filter(|_| old.phases.init.is_some())
                        .or(old.phases.init.clone()),
                    before: phases
                        .before
                        .filter(|_| old.phases.before.is_some())
                        .or(old.phases.before.clone()),
                },
                ..policy
            },
            None => policy,
        }
    }
}

fn alive() -> Alive {
    Alive {
        probe: Probe::Tcp(80),
        interval: Duration::from_secs(2),
        timeout: Duration::from_secs(1),
        failures: 2,
    }
}

fn phases(random: &mut Random) -> PhasePolicies {
    let mut some = |percent| {
        let within = Duration::from_secs(*random.pick(&[1, 30]));
        random.chance(percent).then(|| PhasePolicy {
            program: "/bin/command".into(),
            within,
        })
    };
    PhasePolicies {
        init: some(30),
        before: some(30),
    }
}
