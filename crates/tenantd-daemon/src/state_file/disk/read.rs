//! Converts the types of the file to a record.

use std::path::PathBuf;

use crate::state_file::disk::Unreadable;
use crate::state_file::disk::form::{
    After2, Ended2, Failure2, Fingerprints2, Holding2, Holding3, Left2, Made2, Made3, Making2,
    Memory2, Process2, Readying2, Record2, Record3, Resources2, RestartScope2, State2, Strikes2,
    Want2,
};
use crate::state_file::disk::live::Live2;
use crate::state_file::disk::{last, main_process, says, stage, view};
use crate::state_file::record::{Made, ProcessKey, Record};
use tenantd_core::name::TenantName;
use tenantd_core::plan::address::Addresses;
use tenantd_core::plan::effect::Fingerprints;
use tenantd_core::plan::holders::Holding;
use tenantd_core::stage::Failure;
use tenantd_core::supervisor::checkpoint::{
    After, Checkpoint, FailureCount, Left, Making, Readying, Resources, RestartScope, State,
};
use tenantd_core::supervisor::event::Exit;
use tenantd_core::supervisor::forced::ForcedKill;
use tenantd_core::supervisor::offline::Repair;
use tenantd_core::supervisor::time::Moment;
use tenantd_core::supervisor::view::Want;
use tenantd_host::program::ProgramFile;

impl TryFrom<Record2> for Record {
    type Error = Unreadable;
    fn try_from(record: Record2) -> Result<Self, Unreadable> {
        let Record2 {
            tenant,
            checkpoint,
            process,
            netns,
            plan: _,
            made: Made2 { by, holds },
            program,
            view,
            main,
            says,
        } = record;
        let holds = holds.map(|Holding2 { address, source }| Holding3 {
            addresses: vec![address.into()],
            source,
        });
        Record3 {
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
        }
        .try_into()
    }
}

impl TryFrom<Record3> for Record {
    type Error = Unreadable;
    fn try_from(record: Record3) -> Result<Self, Unreadable> {
        let Record3 {
            version: _,
            tenant,
            checkpoint,
            process,
            netns,
            made,
            program,
            view,
            main,
            says,
        } = record;
        Ok(Record {
            tenant: named(tenant)?,
            checkpoint: checkpoint.try_into()?,
            process: process.map(ProcessKey::try_from).transpose()?,
            main: main.map(main_process::read).transpose()?.flatten(),
            statement: says::read(says),
            netns,
            made: made.try_into()?,
            program: program.map(ProgramFile::from_number),
            view: view.map(view::read),
        })
    }
}

fn named(name: String) -> Result<TenantName, Unreadable> {
    name.parse()
        .map_err(|source| Unreadable::Name { name, source })
}

impl TryFrom<Process2> for ProcessKey {
    type Error = Unreadable;
    fn try_from(Process2 { pid, start_ticks }: Process2) -> Result<Self, Unreadable> {
        if pid < 1 {
            return Err(Unreadable::Process(pid));
        }
        Ok(Self { pid, start_ticks })
    }
}

impl TryFrom<Made3> for Made {
    type Error = Unreadable;
    fn try_from(Made3 { by, holds }: Made3) -> Result<Self, Unreadable> {
        let Fingerprints2 {
            reprovision,
            relaunch,
        } = by;
        Ok(Self {
            by: Fingerprints {
                reprovision,
                relaunch,
            },
            holds: holds.map(Holding::try_from).transpose()?,
        })
    }
}

impl TryFrom<Holding3> for Holding {
    type Error = Unreadable;
    fn try_from(Holding3 { addresses, source }: Holding3) -> Result<Self, Unreadable> {
        Ok(Self {
            addresses: Addresses::of(addresses).ok_or(Unreadable::Addresses)?,
            source: source.map(PathBuf::from),
        })
    }
}

impl TryFrom<Memory2> for Checkpoint {
    type Error = Unreadable;
    fn try_from(checkpoint: Memory2) -> Result<Self, Unreadable> {
        let Memory2 {
            want,
            asked,
            state,
            since,
            restarts,
            strikes: Strikes2 { count, times },
            budget,
            exited,
            left_others,
            forced,
            last,
            repair,
        } = checkpoint;
        let (unready, last_failure) = last::read(last)?;
        Ok(Self {
            want: match want {
                Want2::Up => Want::Up,
                Want2::Down => Want::Down,
            },
            requested: asked,
            state: state.try_into()?,
            since: Moment(since),
            restarts,
            strikes: FailureCount {
                count,
                times: times.into_iter().map(Moment).collect(),
            },
            budget: Moment(budget),
            exited: exited.map(Exit::from),
            left_others,
            forced: forced.map(ForcedKill::from),
            unready,
            last_failure,
            repair: repair.map(Repair::try_from).transpose()?,
        })
    }
}

impl TryFrom<State2> for State {
    type Error = Unreadable;
    fn try_from(state: State2) -> Result<Self, Unreadable> {
        Ok(match state {
            State2::Down => Self::Down,
            State2::Provisioning { started_at, making } => Self::Provisioning {
                started_at: Moment(started_at),
                making: making.into(),
            },
            State2::Launching {
                launch,
                again,
                until,
                ended,
            } => return launching(launch, again, until, ended),
            State2::Up { launch, ready } => Self::Up {
                launch: launch.into(),
                ready: ready.into(),
            },
            State2::Stopping {
                launch,
                ending,
                after,
            } => Self::Stopping {
                after: follows(&launch, after)?,
                launch: launch.into(),
                ending: ending.into(),
            },
            State2::Waiting {
                until,
                resources,
                again,
                why,
            } => Self::Waiting {
                until: Moment(until),
                resources: resources.into(),
                again,
                why: why.try_into()?,
            },
            State2::Failed { resources, why } => Self::Failed {
                resources: resources.into(),
                why: why.try_into()?,
            },
            State2::Releasing { tries } => Self::Releasing { tries },
            State2::Stuck {
                left,
                why,
                tries,
                retry_at,
            } => Self::Stuck {
                left: left.try_into()?,
                why: why.try_into()?,
                tries,
                retry_at: retry_at.map(Moment),
            },
        })
    }
}

/// A launch that has not executed the program.
fn launching(
    launch: Live2,
    again: Option<RestartScope2>,
    until: Option<u64>,
    ended: Option<Ended2>,
) -> Result<State, Unreadable> {
    Ok(match (ended, until) {
        (Some(Ended2 { after, resources }), _) => State::Concluding {
            after: follows(&launch, after)?,
            launch: launch.into(),
            resources: resources.into(),
        },
        (None, Some(until)) if launch.is_command() => State::Preparing {
            launch: launch.into(),
            until: Moment(until),
        },
        (None, _) => State::Launching {
            launch: launch.into(),
            again: again.map(RestartScope::from),
        },
    })
}

/// What follows on a launch.
fn follows(launch: &Live2, after: After2) -> Result<After, Unreadable> {
    match (launch.success, after) {
        (Some(true), After2::Relaunch) => Ok(After::Proceed),
        (_, after) => after.try_into(),
    }
}

impl From<Making2> for Making {
    fn from(making: Making2) -> Self {
        match making {
            Making2::Awaiting => Self::Awaiting,
            Making2::Begun => Self::Begun,
            Making2::Outdated => Self::Outdated,
        }
    }
}

impl From<RestartScope2> for RestartScope {
    fn from(scope: RestartScope2) -> Self {
        match scope {
            RestartScope2::Relaunch => Self::Relaunch,
            RestartScope2::Reprovision => Self::Reprovision,
        }
    }
}

impl From<Readying2> for Readying {
    fn from(ready: Readying2) -> Self {
        match ready {
            Readying2::Ready => Self::Ready,
            Readying2::Before(moment) => Self::Before(Moment(moment)),
            Readying2::At(moment) => Self::At(Moment(moment)),
            Readying2::Unknown(moment) => Self::Unknown(Moment(moment)),
        }
    }
}

impl TryFrom<After2> for After {
    type Error = Unreadable;
    fn try_from(after: After2) -> Result<Self, Unreadable> {
        Ok(match after {
            After2::Relaunch => Self::Relaunch,
            After2::Reprovision => Self::Reprovision,
            After2::Judge(why) => Self::Judge(why.try_into()?),
        })
    }
}

impl TryFrom<Left2> for Left {
    type Error = Unreadable;
    fn try_from(left: Left2) -> Result<Self, Unreadable> {
        Ok(match left {
            Left2::Processes { launch, after } => Self::Processes {
                after: follows(&launch, after)?,
                launch: launch.into(),
            },
            Left2::Network => Self::Network,
        })
    }
}

impl From<Resources2> for Resources {
    fn from(resources: Resources2) -> Self {
        match resources {
            Resources2::Nothing => Self::None,
            Resources2::Remains => Self::Partial,
            Resources2::Whole => Self::Full,
        }
    }
}

impl TryFrom<Failure2> for Failure {
    type Error = Unreadable;
    fn try_from(failure: Failure2) -> Result<Self, Unreadable> {
        let Failure2 {
            stage,
            object,
            errno,
            detail,
            later_stage,
        } = failure;
        // If this program does not know the stage, it uses the nearest one of version 2.
        let later = later_stage.as_deref().and_then(stage::named);
        let Some(stage) = later.or_else(|| stage::named(&stage)) else {
            return Err(Unreadable::Stage(stage));
        };
        Ok(Self {
            stage,
            object,
            errno,
            detail,
        })
    }
}
