//! What happens to children: they stop, and they end.

use std::time::Instant;

use rustix::io::Errno;

use super::looks::Look;
use super::shared;
use crate::launch::raw::{self, Change, Stop};
use crate::timeline;

/// Takes care of one child that may have changed.
pub(super) fn attend_to(pid: i32) -> Result<(), Errno> {
    // The sender of a signal may be in no namespace of ours.
    if pid > 0
        && let Some(change) = raw::change(Some(pid))?
    {
        act(change)?;
    }
    Ok(())
}

/// Takes care of all children that have changed, for a limited time: a tenant whose processes lose their parents and
/// end without pause would keep this thread from everything else.
pub(super) fn attend_to_all(limit: Instant) -> Result<Look, Errno> {
    let mut changes: u32 = 0;
    while let Some(change) = raw::change(None)? {
        if !act(change)? {
            return Ok(Look::Left);
        }
        changes += 1;
        if Instant::now() >= limit {
            return Ok(Look::More);
        }
    }
    Ok(Look::Complete { changes })
}

/// Returns whether the change is dealt with.
fn act(change: Change) -> Result<bool, Errno> {
    match change {
        Change::Stopped(pid) => {
            if let Some(stop) = raw::note_stop(pid)? {
                release(stop)?;
            }
            Ok(true)
        }
        Change::Ended(pid) => reap(pid),
    }
}

/// Releases a process that has stopped, if this one traces it: nobody here ever asked for that. It gets the signal
/// that it stopped at.
fn release(stop: Stop) -> Result<(), Errno> {
    let Stop {
        pid,
        is_traced,
        signal,
    } = stop;
    if !is_traced {
        return Ok(());
    }
    tracing::debug!(
        pid,
        signal,
        "released a process that had asked to be traced"
    );
    match raw::release_traced(pid, signal) {
        // It was killed meanwhile, or another thread of ours traces it.
        Ok(()) | Err(Errno::SRCH) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// Reaps a child that has ended. Returns false if it may be about to be registered: then it is left.
fn reap(pid: i32) -> Result<bool, Errno> {
    let mut shared = shared();
    let is_known = shared
        .known
        .as_ref()
        .is_some_and(|it| it.contains_key(&pid));
    if !is_known && shared.being_made > 0 {
        return Ok(false);
    }
    timeline::mark("children: reap", "");
    let Some(ended) = raw::reap(pid)? else {
        // Its owner was faster.
        return Ok(true);
    };
    match shared.known.as_mut().and_then(|known| known.remove(&pid)) {
        Some(status) => {
            let _first = status.set(ended);
        }
        None => tracing::debug!(pid, ?ended, "reaped a process that lost its parent"),
    }
    Ok(true)
}
