//! What every history must obey.

/// What every history must obey.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Law {
    /// A tenant has at most one launch, from its action until its last process is gone.
    OneLaunch,
    /// The name of a launch is never used again.
    FreshLaunch,
    /// Nothing is launched before it is provisioned.
    ProvisionFirst,
    /// Nothing is provisioned twice.
    ProvisionOnce,
    /// Nothing is released under a launch.
    ReleaseLast,
    /// Nothing is released that is not there, or twice at the same time.
    ReleaseOnce,
    /// A signal names the launch that lives.
    SignalTheLiving,
    /// A request that is refused, or asks for what is so already, asks nothing of the host. (That
    /// each has exactly one answer is a matter of types.)
    NoIsNothing,
    /// What is stale or does not fit changes nothing.
    StaleIsNothing,
    /// No state waits for nothing: its word fits what is wanted and what is outstanding.
    WaitForSomething,
    /// What is due is done.
    DueIsDone,
    /// Restarts that nobody asked for keep their delays.
    Backoff,
    /// And all of them together keep to the budget.
    Budget,
    /// In a fair world everything ends as it is wanted, and nothing is left.
    EndAsWanted,
    /// A shutdown in a fair world is finished in the end, and nothing is finished without one.
    Finish,
    /// A supervisor in a fair world comes to rest.
    Rest,
    /// What one tenant holds is provisioned for no other.
    OneHolder,
    /// What is launched is what is planned, on a network that is as planned.
    AsPlanned,
    /// A tenant that was removed is forgotten once nothing of it is left, and no other one is.
    Forgotten,
    /// What an operator saw and wanted goes on under the next supervisor.
    GoesOn,
    /// A live change is applied to a launch that runs, and once at a time.
    ApplyToTheRunning,
    /// No live change is called applied that the host has not confirmed, and none is pending that
    /// was not asked for.
    AppliedIsConfirmed,
    /// What was refused is tried again when the manifest is read again.
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

/// A law that was broken, and by what.
#[derive(Debug)]
pub(crate) struct Broken {
    pub(crate) law: Law,
    pub(crate) by: String,
}

/// A law that holds, or what broke it.
pub(crate) fn check(holds: bool, law: Law, by: impl FnOnce() -> String) -> Result<(), Broken> {
    if holds {
        Ok(())
    } else {
        Err(Broken { law, by: by() })
    }
}
