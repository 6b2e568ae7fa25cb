//! Converts a record to the types of the file. This cannot fail.

use std::net::IpAddr;
use std::path::Path;

use crate::state_file::disk::exit::Exit2;
use crate::state_file::disk::forced::Forced2;
use crate::state_file::disk::form::{
    After2, Ended2, Failure2, Fingerprints2, Holding2, Holding3, Left2, Made2, Made3, Making2,
    Memory2, Process2, Readying2, Record2, Record3, Resources2, RestartScope2, State2, Strikes2,
    Want2, Written,
};
use crate::state_file::disk::live::Live2;
use crate::state_file::disk::repair::Repair2;
use crate::state_file::disk::{last, main_process, says, stage, view};
use crate::state_file::record::{Made, ProcessKey, Record};
use tenantd_core::plan::effect::Fingerprints;
use tenantd_core::plan::holders::Holding;
use tenantd_core::stage::Failure;
use tenantd_core::supervisor::checkpoint::{
    After, Checkpoint, FailureCount, Left, Live, Making, Readying, Resources, RestartScope, State,
};
use tenantd_core::supervisor::time::Moment;
use tenantd_core::supervisor::view::Want;
use tenantd_host::program::ProgramFile;

/// A record in the oldest version that can hold it.
pub(super) fn record(record: &Record) -> Written {
    let Record {
        tenant,
        checkpoint,
        process,
        main,
        statement,
        netns,
        made: Made { by, holds },
        program,
        view,
    } = record;
    let (tenant, checkpoint) = (tenant.to_string(), checkpoint.into());
    let (process, netns) = (process.map(Process2::from), *netns);
    let (by, program) = (by.into(), program.map(ProgramFile::number));
    let view = view.map(view::write);
    let (main, says) = (main.map(main_process::write), says::write(statement));
    match held(holds.as_ref()) {
        Failed::Two(holds) => Written::Two(Record2 {
            tenant,
            checkpoint,
            process,
            netns,
            plan: 0,
            made: Made2 { by, holds },
            program,
            view,
            main,
            says,
        }),
        Failed::Three(holds) => Written::Three(Record3 {
            version: 3,
            tenant,
            checkpoint,
            process,
            netns,
            made: Made3 { by, holds },
            program,
            view,
            main,
            says,
        }),
    }
}

/// What a tenant holds, in the oldest version that can express it.
enum Failed {
    Two(Option<Holding2>),
    Three(Option<Holding3>),
}

fn held(holds: Option<&Holding>) -> Failed {
    let Some(Holding { addresses, source }) = holds else {
        return Failed::Two(None);
    };
    // A path that is not UTF-8 is left out: then no tenant waits for it. (A manifest is UTF-8.)
    let source = source.as_deref().and_then(Path::to_str).map(str::to_owned);
    let addresses: Vec<IpAddr> = addresses.iter().collect();
    match *addresses.as_slice() {
        [IpAddr::V4(address)] => Failed::Two(Some(Holding2 { address, source })),
        _ => Failed::Three(Some(Holding3 { addresses, source })),
    }
}

impl From<ProcessKey> for Process2 {
    fn from(ProcessKey { pid, start_ticks }: ProcessKey) -> Self {
        Self { pid, start_ticks }
    }
}

impl From<&Fingerprints> for Fingerprints2 {
    fn from(
        Fingerprints {
            reprovision,
            relaunch,
        }: &Fingerprints,
    ) -> Self {
        Self {
            reprovision: *reprovision,
            relaunch: *relaunch,
        }
    }
}

impl From<&Checkpoint> for Memory2 {
    fn from(checkpoint: &Checkpoint) -> Self {
        let Checkpoint {
            want,
            requested: asked,
            state,
            since: Moment(since),
            restarts,
            strikes,
            budget: Moment(budget),
            exited,
            left_others,
            forced,
            unready,
            last_failure,
            repair,
        } = checkpoint;
        Self {
            want: match want {
                Want::Up => Want2::Up,
                Want::Down => Want2::Down,
            },
            asked: *asked,
            state: state.into(),
            since: *since,
            restarts: *restarts,
            strikes: strikes.into(),
            budget: *budget,
            exited: exited.as_ref().map(Exit2::from),
            left_others: *left_others,
            forced: forced.as_ref().map(Forced2::from),
            last: last::write(*unready, last_failure.as_ref()),
            repair: repair.as_ref().map(Repair2::from),
        }
    }
}

impl From<&FailureCount> for Strikes2 {
    fn from(FailureCount { count, times }: &FailureCount) -> Self {
        Self {
            count: *count,
            times: times.iter().map(|Moment(times)| *times).collect(),
        }
    }
}

impl From<&State> for State2 {
    fn from(state: &State) -> Self {
        match state {
            State::Down => Self::Down,
            State::Provisioning {
                started_at: Moment(started_at),
                making,
            } => Self::Provisioning {
                started_at: *started_at,
                making: making.into(),
            },
            State::Launching { launch, again } => launching(launch, again.as_ref()),
            State::Preparing { launch, until } => preparing(launch, *until),
            State::Concluding {
                launch,
                after,
                resources,
            } => concluding(launch, after, resources),
            State::Up { launch, ready } => Self::Up {
                launch: launch.into(),
                ready: ready.into(),
            },
            State::Stopping {
                launch,
                ending,
                after,
            } => Self::Stopping {
                launch: ended(launch, after),
                ending: ending.into(),
                after: after.into(),
            },
            State::Waiting {
                until: Moment(until),
                resources,
                again,
                why,
            } => Self::Waiting {
                until: *until,
                resources: resources.into(),
                again: *again,
                why: why.into(),
            },
            State::Failed { resources, why } => Self::Failed {
                resources: resources.into(),
                why: why.into(),
            },
            State::Releasing { tries } => Self::Releasing { tries: *tries },
            State::Stuck {
                left,
                why,
                tries,
                retry_at,
            } => Self::Stuck {
                left: left.into(),
                why: why.into(),
                tries: *tries,
                retry_at: retry_at.map(|Moment(retry_at)| retry_at),
            },
        }
    }
}

fn launching(launch: &Live, again: Option<&RestartScope>) -> State2 {
    State2::Launching {
        launch: launch.into(),
        again: again.map(RestartScope2::from),
        until: None,
        ended: None,
    }
}

fn preparing(launch: &Live, Moment(until): Moment) -> State2 {
    State2::Launching {
        launch: launch.into(),
        again: None,
        until: Some(until),
        ended: None,
    }
}

fn concluding(launch: &Live, after: &After, resources: &Resources) -> State2 {
    State2::Launching {
        launch: ended(launch, after),
        again: None,
        until: None,
        ended: Some(Ended2 {
            after: after.into(),
            resources: resources.into(),
        }),
    }
}

/// A launch that has ended or is about to.
fn ended(launch: &Live, after: &After) -> Live2 {
    let mut launch = Live2::from(launch);
    launch.success = (*after == After::Proceed).then_some(true);
    launch
}

impl From<&Making> for Making2 {
    fn from(making: &Making) -> Self {
        match making {
            Making::Awaiting => Self::Awaiting,
            Making::Begun => Self::Begun,
            Making::Outdated => Self::Outdated,
        }
    }
}

impl From<&RestartScope> for RestartScope2 {
    fn from(scope: &RestartScope) -> Self {
        match scope {
            RestartScope::Relaunch => Self::Relaunch,
            RestartScope::Reprovision => Self::Reprovision,
        }
    }
}

impl From<&Readying> for Readying2 {
    fn from(ready: &Readying) -> Self {
        match ready {
            Readying::Ready => Self::Ready,
            Readying::Before(Moment(moment)) => Self::Before(*moment),
            Readying::At(Moment(moment)) => Self::At(*moment),
            Readying::Unknown(Moment(moment)) => Self::Unknown(*moment),
        }
    }
}

impl From<&After> for After2 {
    fn from(after: &After) -> Self {
        match after {
            // See `ended`.
            After::Relaunch | After::Proceed => Self::Relaunch,
            After::Reprovision => Self::Reprovision,
            After::Judge(why) => Self::Judge(why.into()),
        }
    }
}

impl From<&Left> for Left2 {
    fn from(left: &Left) -> Self {
        match left {
            Left::Processes { launch, after } => Self::Processes {
                launch: ended(launch, after),
                after: after.into(),
            },
            Left::Network => Self::Network,
        }
    }
}

impl From<&Resources> for Resources2 {
    fn from(resources: &Resources) -> Self {
        match resources {
            Resources::None => Self::Nothing,
            Resources::Partial => Self::Remains,
            Resources::Full => Self::Whole,
        }
    }
}

impl From<&Failure> for Failure2 {
    fn from(failure: &Failure) -> Self {
        let Failure {
            stage,
            object,
            errno,
            detail,
        } = failure;
        let stage = stage::name(*stage);
        Self {
            stage: stage.in_version_2.to_owned(),
            object: object.clone(),
            errno: *errno,
            detail: detail.clone(),
            later_stage: stage.later.map(str::to_owned),
        }
    }
}
