//! Laws about commands of `exec --offline`, and random ones.

use tenantd_core::name::TenantName;
use tenantd_core::plan::phase::Phase;
use tenantd_core::supervisor::Step;
use tenantd_core::supervisor::action::{Action, Answer};
use tenantd_core::supervisor::offline::Offline;
use tenantd_core::supervisor::view::{StateWord, View};

use super::checker::Checker;
use super::invariant::{Invariant, Violation, check};
use super::world::{FAULTS_FOR, Occurrence, World};

impl Checker {
    /// The answer of the supervisor to the request for such a command.
    pub(crate) fn on_offline(
        &mut self,
        (before, after): (&View, &View),
        answer: &Answer,
        step: &Step,
    ) -> Result<(), Violation> {
        let at_rest = matches!(
            before.state,
            StateWord::Down | StateWord::Exited | StateWord::Failed
        );
        let is_alone = at_rest && before.offline.is_none();
        let fits = match answer {
            Answer::Accepted => is_alone && after.offline.is_some() && after.want == before.want,
            Answer::AlreadySo => false,
            Answer::Refused { .. } => before == after && *step == Step::default(),
        };
        check(fits, Invariant::OfflineAlone, || {
            format!("{answer:?}: {before:?} became {after:?}")
        })?;
        if *answer == Answer::Accepted {
            let model = self.tenants.get_mut(&before.name).unwrap();
            model.requested = true;
            model.repairing = true;
        }
        Ok(())
    }

    /// While such a command is set up or runs, nothing else is launched; and it is launched only then.
    pub(crate) fn check_offline(&self, action: &Action) -> Result<(), Violation> {
        let Action::Launch { tenant, phase, .. } = action else {
            return Ok(());
        };
        let repairing = self.tenants[tenant].repairing;
        let fits = repairing == (*phase == Phase::Offline);
        check(fits, Invariant::OfflineAlone, || {
            format!("{tenant}: {phase} while repairing is {repairing}")
        })
    }

    /// Which tenants such a command is in after a step.
    pub(crate) fn note_offline(&mut self, views: &[View]) {
        for view in views {
            if let Some(model) = self.tenants.get_mut(&view.name) {
                model.repairing = view.offline.is_some();
            }
        }
    }
}

impl World {
    pub(super) fn schedule_offline(&mut self) {
        for _ in 0..self.random.below(8) {
            let tenant = self.random.pick(&self.names).clone();
            self.schedule(FAULTS_FOR, Occurrence::Offline(tenant));
        }
    }

    /// An operator runs such a command, or tries to.
    pub(super) fn exec_offline(&mut self, tenant: &TenantName) -> Result<(), Violation> {
        let Some(before) = self.supervisor.tenant(tenant) else {
            return Ok(());
        };
        let offline = Offline {
            client: 4711,
            command: "fsck".to_owned(),
        };
        let (answer, step) = self.supervisor.exec_offline(self.now, tenant, offline);
        let after = self.supervisor.tenant(tenant).unwrap();
        self.checker.on_offline((&before, &after), &answer, &step)?;
        self.checker
            .step(self.now, &Checker::for_deadline(), &step)?;
        self.apply_step(Some(&("exec --offline", answer)), &step)
    }
}
