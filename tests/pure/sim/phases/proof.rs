//! Shows that the checks of the phases can fail.

use tenantd_core::plan::model::Policy;
use tenantd_core::plan::phase::{Phase, PhasePolicies, PhasePolicy};
use tenantd_core::supervisor::Limits;
use tenantd_core::supervisor::action::Action;
use tenantd_core::supervisor::event::{Event, Exit, LaunchId};
use tenantd_core::supervisor::time::Moment;

use super::Phases;
use crate::sim::checker::Checker;
use crate::sim::invariant::{Invariant, Violation};

fn policy() -> Policy {
    let command = || PhasePolicy {
        program: "/bin/command".into(),
        within: std::time::Duration::from_secs(1),
    };
    Policy {
        phases: PhasePolicies {
            init: Some(command()),
            before: Some(command()),
        },
        ..Policy::default()
    }
}

fn launch(id: u64, phase: Phase) -> Action {
    Action::Launch {
        tenant: "acme".parse().unwrap(),
        launch: LaunchId(id),
        phase,
    }
}

fn conclude(id: u64) -> Action {
    Action::Conclude {
        tenant: "acme".parse().unwrap(),
        launch: LaunchId(id),
        success: true,
    }
}

/// Phases whose first launch initializes a datastore.
fn begun() -> Phases {
    let mut phases = Phases::default();
    let tenant = "acme".parse().unwrap();
    phases
        .action(&launch(1, Phase::Init), Some(&policy()))
        .unwrap();
    phases.on_launch(&tenant, LaunchId(1), Phase::Init);
    phases
}

fn exited(id: u64) -> Event {
    Event::Exited {
        launch: LaunchId(id),
        exit: Exit::Status(0),
        others: false,
        said: String::new(),
    }
}

fn initialized() -> Phases {
    let mut phases = begun();
    phases.event(&exited(1), false);
    phases.action(&conclude(1), None).unwrap();
    phases.on_conclude(LaunchId(1), true);
    phases.concluded(LaunchId(1));
    phases
}

/// A second launch initializes the same datastore.
fn again() -> Result<(), Violation> {
    let mut phases = initialized();
    phases.on_launch(&"acme".parse().unwrap(), LaunchId(2), Phase::Init);
    phases.event(&exited(2), false);
    phases.action(&conclude(2), None)
}

/// Violates an invariant of the phases.
pub(in crate::sim) fn violations(invariant: Invariant) -> Vec<Result<(), Violation>> {
    let policy = policy();
    match invariant {
        Invariant::InitFirst => [Phase::Before, Phase::Main]
            .map(|phase| begun().action(&launch(2, phase), Some(&policy)))
            .into(),
        Invariant::InitOnce => vec![begun().action(&conclude(1), None), again()],
        Invariant::BeforeEachStart => {
            vec![initialized().action(&launch(2, Phase::Main), Some(&policy))]
        }
        Invariant::ConcludedOnce => {
            let one = std::num::NonZeroU32::MIN;
            let mut checker = Checker::new(Limits {
                restarts_per_second: one,
                burst: one,
            });
            let tenant: tenantd_core::name::TenantName = "acme".parse().unwrap();
            let planned = Event::Planned {
                tenant: tenant.clone(),
                policy: policy.into(),
                found: None,
            };
            checker.event(Moment::ZERO, &planned);
            checker.conclude(&tenant, LaunchId(1), true).unwrap();
            vec![checker.conclude(&tenant, LaunchId(1), true)]
        }
        _ => Vec::new(),
    }
}
