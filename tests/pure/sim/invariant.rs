//! The invariants that hold in every history.

/// An invariant that holds in every history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Invariant {
    /// A tenant has at most one launch, from its action until its last process exits.
    OneLaunch,
    /// Launch numbers are never reused.
    UniqueLaunch,
    /// Nothing is launched before it is provisioned.
    ProvisionFirst,
    /// Nothing is provisioned twice.
    ProvisionOnce,
    /// Nothing is released under a launch.
    ReleaseLast,
    /// Nothing is released that does not exist, or twice at the same time.
    ReleaseOnce,
    /// Only a launch that has not executed its program is abandoned.
    AbandonUnexecuted,
    /// A signal names the running launch.
    SignalRunningLaunch,
    /// SIGKILL follows the stop signal and the grace, unless there is none.
    KilledAfterGrace,
    /// A kill after the grace is said, with the processes.
    ForcedKillSaid,
    /// The end of its main process ends a launch.
    MainEndsLaunch,
    /// A request that is refused, or changes nothing, causes no action. (The types ensure that each
    /// has exactly one answer.)
    RefusalDoesNothing,
    /// An event that is stale, or does not fit the state, changes nothing.
    StaleDoesNothing,
    /// A state matches what is wanted and which answers are outstanding, so no tenant hangs.
    NoTenantHangs,
    /// Deadlines are handled.
    DeadlinesHandled,
    /// Automatic restarts keep their delays.
    Backoff,
    /// Automatic restarts of all tenants keep to the budget.
    Budget,
    /// Without faults, every tenant reaches the wanted state, and no residue is left.
    WantedStateReached,
    /// Without faults, a shutdown completes; and nothing completes without a shutdown.
    ShutdownCompletes,
    /// Without faults, the supervisor comes to rest.
    ComesToRest,
    /// What one tenant holds is not provisioned for another.
    OneHolder,
    /// A launch matches the plan, and so does its network.
    AsPlanned,
    /// A removed tenant is removed once it has been released, and no other tenant is.
    RemovedAfterRelease,
    /// The next supervisor continues what operators saw and wanted.
    StateResumed,
    /// A live change is applied to a running launch, one at a time.
    ApplyToRunningLaunch,
    /// A live change is reported as applied only if the host confirmed it, and as pending only if
    /// it was ordered.
    AppliedIfConfirmed,
    /// A refused live change is retried on a reload.
    RefusedIsRetried,
    /// A program, and the command before it, run only in a datastore that is initialized.
    InitFirst,
    /// A datastore is initialized once, by a command that succeeded.
    InitOnce,
    /// The result of a command that initializes is recorded once, when no process of it is left.
    ConcludedOnce,
    /// The command before the program succeeds before each start.
    BeforeEachStart,
    /// What is wanted changes only by a request or the manifest.
    WantIsRequested,
    /// A tenant whose program ended by itself and is not restarted is not started without a request.
    ExitedIsOver,
    /// A ready program that no longer answers is ended, and no other.
    NotAliveIsEnded,
    /// A program that asks for more time gets it, up to a limit.
    ExtendedToLimit,
    /// A program that says that it is stopping is left alone for its grace.
    StopsByItself,
    /// A command of `exec --offline` begins only in a tenant at rest, changes no want, and is alone until
    /// it has ended.
    OfflineAlone,
}

impl Invariant {
    pub(crate) const ALL: [Invariant; 37] = [
        Invariant::OneLaunch,
        Invariant::UniqueLaunch,
        Invariant::ProvisionFirst,
        Invariant::ProvisionOnce,
        Invariant::ReleaseLast,
        Invariant::ReleaseOnce,
        Invariant::AbandonUnexecuted,
        Invariant::SignalRunningLaunch,
        Invariant::KilledAfterGrace,
        Invariant::ForcedKillSaid,
        Invariant::MainEndsLaunch,
        Invariant::RefusalDoesNothing,
        Invariant::StaleDoesNothing,
        Invariant::NoTenantHangs,
        Invariant::DeadlinesHandled,
        Invariant::Backoff,
        Invariant::Budget,
        Invariant::WantedStateReached,
        Invariant::ShutdownCompletes,
        Invariant::ComesToRest,
        Invariant::OneHolder,
        Invariant::AsPlanned,
        Invariant::RemovedAfterRelease,
        Invariant::StateResumed,
        Invariant::ApplyToRunningLaunch,
        Invariant::AppliedIfConfirmed,
        Invariant::RefusedIsRetried,
        Invariant::InitFirst,
        Invariant::InitOnce,
        Invariant::ConcludedOnce,
        Invariant::BeforeEachStart,
        Invariant::WantIsRequested,
        Invariant::ExitedIsOver,
        Invariant::NotAliveIsEnded,
        Invariant::ExtendedToLimit,
        Invariant::StopsByItself,
        Invariant::OfflineAlone,
    ];
}

/// A violation of an invariant, and its cause.
#[derive(Debug)]
pub(crate) struct Violation {
    pub(crate) invariant: Invariant,
    pub(crate) cause: String,
}

/// Success, or a violation of an invariant.
pub(crate) fn check(
    holds: bool,
    invariant: Invariant,
    cause: impl FnOnce() -> String,
) -> Result<(), Violation> {
    if holds {
        Ok(())
    } else {
        Err(Violation {
            invariant,
            cause: cause(),
        })
    }
}
