//! Log marks: the lines about launches and ends of a program that the supervisor writes between the
//! program's own lines, so that a reader sees which launch wrote what.
//!
//! A launch is marked before its first line: until its mark is written, the tenant's pipes are not
//! read. An end is marked after its last line: the pipes are read to their end before.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use crate::history;
use crate::logs::split::Extent;
use crate::logs::{Batch, Line, Stream};
use tenantd_core::name::TenantName;
use tenantd_core::plan::phase::Phase;
use tenantd_core::stage::Failure;
use tenantd_core::supervisor::event::Exit;
use tenantd_core::supervisor::forced::ForcedKill;

/// What a mark says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mark {
    /// The program was executed, in this process.
    Launched(Option<i32>),
    /// The program was not executed.
    NotLaunched(Failure),
    /// The first process of the program ended.
    Ended {
        /// How it ended.
        exit: Exit,
        /// Whether other processes of the tenant still run.
        others: bool,
    },
    /// Those others are stopped, since the manifest does not say that the program puts itself into the
    /// background.
    LeftOthers,
    /// What was left of the program after its grace was killed.
    Killed(ForcedKill),
    /// The program was told to read its configuration again, or that has ended.
    Reload(String),
    /// The program ended while no supervisor ran.
    EndedUnwatched(Exit),
    /// The command of a phase before the program was executed, in this process.
    PhaseLaunched(Phase, Option<i32>),
    /// The command of a phase was not executed.
    PhaseNotLaunched(Phase, Failure),
    /// The first process of the command of a phase ended.
    PhaseEnded {
        /// The phase.
        phase: Phase,
        /// How it ended.
        exit: Exit,
        /// How long it ran, if that is known.
        time: Option<Duration>,
    },
}

impl Mark {
    /// Whether the program's lines come before the mark, and how much of them: an incomplete line
    /// too, unless another process may still complete it.
    pub(super) fn lines_before(&self) -> Option<Rest> {
        match self {
            Mark::Launched(_)
            | Mark::NotLaunched(_)
            | Mark::PhaseLaunched(..)
            | Mark::PhaseNotLaunched(..) => None,
            Mark::Ended { others: true, .. }
            | Mark::LeftOthers
            | Mark::Killed(_)
            | Mark::Reload(_) => Some(Rest::WholeLines),
            Mark::Ended { others: false, .. }
            | Mark::EndedUnwatched(_)
            | Mark::PhaseEnded { .. } => Some(Rest::All),
        }
    }

    /// Whether a program or a command has ended.
    pub(super) fn is_end(&self) -> bool {
        match self {
            Mark::Ended { .. } | Mark::EndedUnwatched(_) | Mark::PhaseEnded { .. } => true,
            Mark::Launched(_)
            | Mark::NotLaunched(_)
            | Mark::LeftOthers
            | Mark::Killed(_)
            | Mark::Reload(_)
            | Mark::PhaseLaunched(..)
            | Mark::PhaseNotLaunched(..) => false,
        }
    }

    /// The mark as a line of its tenant.
    pub(super) fn batch(&self, tenant: TenantName) -> Batch {
        let line = Line {
            text: self.to_string(),
            extent: Extent::Whole,
            origin: None,
        };
        Batch {
            tenant,
            stream: Stream::Mark,
            lines: vec![line],
        }
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Mark::Launched(Some(pid)) => write!(f, "program started, pid {pid}"),
            Mark::Launched(None) => f.write_str("program started"),
            Mark::NotLaunched(failure) => write!(f, "program not started: {failure}"),
            Mark::Ended {
                exit,
                others: false,
            } => write!(f, "program {exit}"),
            Mark::Ended { exit, others: true } => {
                write!(f, "first process {exit}, others still run")
            }
            Mark::LeftOthers => f.write_str(
                "others are stopped: if the program puts itself into the background, set \
                 daemonizes = true",
            ),
            Mark::PhaseLaunched(phase, Some(pid)) => {
                write!(f, "{phase} command started, pid {pid}")
            }
            Mark::PhaseLaunched(phase, None) => write!(f, "{phase} command started"),
            Mark::PhaseNotLaunched(phase, failure) => {
                write!(f, "{phase} command not started: {failure}")
            }
            Mark::PhaseEnded { phase, exit, time } => {
                let time = time.map(|time| format!("{:.1} s", time.as_secs_f64()));
                match (exit.is_success(), time) {
                    (true, Some(time)) => write!(f, "{phase} command finished in {time}"),
                    (true, None) => write!(f, "{phase} command finished"),
                    (false, Some(time)) => write!(f, "{phase} command {exit} after {time}"),
                    (false, None) => write!(f, "{phase} command {exit}"),
                }
            }
            Mark::Killed(forced) => forced.fmt(f),
            Mark::Reload(what) => write!(f, "reload: {what}"),
            Mark::EndedUnwatched(exit) => {
                write!(f, "program {exit} while no supervisor was running")
            }
        }
    }
}

/// How much of a pipe to read before a mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rest {
    WholeLines,
    All,
}

/// The marks that are not written yet.
#[derive(Debug, Default)]
pub(super) struct Marks {
    /// Those of ends with their numbers.
    waiting: VecDeque<(TenantName, Mark, u64)>,
}

impl Marks {
    pub(super) fn push(&mut self, tenant: TenantName, mark: Mark) {
        let end = match mark.is_end() {
            true => history::begin_end(&tenant),
            false => 0,
        };
        self.waiting.push_back((tenant, mark, end));
    }

    pub(super) fn pop(&mut self) -> Option<(TenantName, Mark, u64)> {
        self.waiting.pop_front()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}
