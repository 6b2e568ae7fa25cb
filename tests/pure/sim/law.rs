//! The laws that every history must obey.

/// A law that every history must obey.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Law {
    /// A tenant has at most one launch, from its action until its last process exits.
    OneLaunch,
    /// Launch numbers are never reused.
    FreshLaunch,
    /// Nothing is launched before it is provisioned.
    ProvisionFirst,
    /// Nothing is provisioned twice.
    ProvisionOnce,
    /// Nothing is released under a launch.
    ReleaseLast,
    /// Nothing is released that does not exist, or twice at the same time.
    ReleaseOnce,
    /// A signal names the running launch.
    SignalTheLiving,
    /// A request that is refused, or changes nothing, causes no action. (The types ensure that each
    /// has exactly one answer.)
    NoIsNothing,
    /// An event that is stale or does not fit changes nothing.
    StaleIsNothing,
    /// A state matches what is wanted and which answers are outstanding, so no tenant hangs.
    WaitForSomething,
    /// Deadlines are handled.
    DueIsDone,
    /// Automatic restarts keep their delays.
    Backoff,
    /// Automatic restarts of all tenants keep to the budget.
    Budget,
    /// Without faults, every tenant reaches what is wanted, and nothing is left over.
    EndAsWanted,
    /// Without faults, a shutdown completes; and nothing completes without a shutdown.
    Finish,
    /// Without faults, the supervisor comes to rest.
    Rest,
    /// What one tenant holds is not provisioned for another.
    OneHolder,
    /// A launch matches the plan, and so does its network.
    AsPlanned,
    /// A removed tenant is forgotten once it has been released, and no other tenant is.
    Forgotten,
    /// The next supervisor continues what operators saw and wanted.
    GoesOn,
    /// A live change is applied to a running launch, one at a time.
    ApplyToTheRunning,
    /// A live change is reported as applied only if the host confirmed it, and as pending only if
    /// it was ordered.
    AppliedIsConfirmed,
    /// A refused live change is retried on a reload.
    ApplyAgain,
}

impl Law {
    pub(crate) const ALL: [Law; 23] = [
        Law::OneLaunch,
        Law::FreshLaunch,
        Law::ProvisionFirst,
        Law::ProvisionOnce,
        Law::ReleaseLast,
        Law::ReleaseOnce,
        Law::SignalTheLiving,
        Law::NoIsNothing,
        Law::StaleIsNothing,
        Law::WaitForSomething,
        Law::DueIsDone,
        Law::Backoff,
        Law::Budget,
        Law::EndAsWanted,
        Law::Finish,
        Law::Rest,
        Law::OneHolder,
        Law::AsPlanned,
        Law::Forgotten,
        Law::GoesOn,
        Law::ApplyToTheRunning,
        Law::AppliedIsConfirmed,
        Law::ApplyAgain,
    ];
}

/// A violation of a law, and its cause.
#[derive(Debug)]
pub(crate) struct Broken {
    pub(crate) law: Law,
    pub(crate) by: String,
}

/// Success, or a violation of a law.
pub(crate) fn check(holds: bool, law: Law, by: impl FnOnce() -> String) -> Result<(), Broken> {
    if holds {
        Ok(())
    } else {
        Err(Broken { law, by: by() })
    }
}
