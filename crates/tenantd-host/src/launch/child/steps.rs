//! The times at which the steps of a child end, for the [`timeline`]. The child writes them
//! to a pipe, as records of 16 bytes; a thread of the parent, which exists only with a timeline, reads them.

use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::{Errno, fcntl_dupfd_cloexec};
use rustix::pipe::{PipeFlags, pipe_with};

use crate::launch::report::{RECORD, record};
use crate::lock::LOCK_FD;
use crate::timeline;
use tenantd_core::stage::{Failure, Stage};

/// Bytes of a record: eight as in a report, and the time.
const TIMED: usize = RECORD + size_of::<u64>();

/// Where the child writes, if there is a timeline.
#[derive(Debug, Clone, Copy)]
pub(in crate::launch) struct Steps<'a>(Option<BorrowedFd<'a>>);

impl Steps<'_> {
    /// Writes nothing.
    pub(in crate::launch) const NONE: Self = Self(None);

    /// A step has ended. Allocates nothing: the child calls it.
    pub(super) fn end(self, stage: Stage) {
        let Some(pipe) = self.0 else {
            return;
        };
        let mut bytes = [0; TIMED];
        let (what, when) = bytes.split_at_mut(RECORD);
        what.copy_from_slice(&record(stage, 0, 0));
        when.copy_from_slice(&timeline::now().to_ne_bytes());
        // An error means that nobody reads.
        while rustix::io::write(pipe, &bytes) == Err(Errno::INTR) {}
    }
}

/// The pipe for the steps of one child.
#[derive(Debug)]
pub(in crate::launch) struct StepsPipe {
    read: OwnedFd,
    write: OwnedFd,
}

impl StepsPipe {
    /// `None` without a timeline.
    ///
    /// # Errors
    /// A [`Failure`] of stage clone.
    pub(in crate::launch) fn new() -> Result<Option<Self>, Failure> {
        if !timeline::is_on() {
            return Ok(None);
        }
        let made = pipe_with(PipeFlags::CLOEXEC).and_then(|(read, write)| {
            // The child puts the lock at its number while it still writes here.
            let write = fcntl_dupfd_cloexec(&write, LOCK_FD + 1)?;
            Ok(Self { read, write })
        });
        let made =
            made.map_err(|errno| Failure::errno(Stage::Clone, "its pipe", errno.raw_os_error()));
        made.map(Some)
    }

    /// Where the child writes.
    pub(in crate::launch) fn steps(&self) -> Steps<'_> {
        Steps(Some(self.write.as_fd()))
    }

    /// The end for writing.
    pub(in crate::launch) fn fd(&self) -> BorrowedFd<'_> {
        self.write.as_fd()
    }

    /// Adds the steps of a child to the timeline, once it has executed its program or ended. `begun` is the time
    /// before it was made.
    pub(in crate::launch) fn follow(self, pid: i32, of: &str, begun: u64) {
        let (Self { read, write }, of) = (self, of.to_owned());
        drop(write);
        let thread = std::thread::Builder::new().name("steps".to_owned());
        let followed = thread.spawn(move || {
            let mut bytes = Vec::new();
            // What was read before an error is shown.
            let _read = std::fs::File::from(read).read_to_end(&mut bytes);
            let executed = timeline::now();
            let last = show(pid, &of, (begun, &bytes));
            timeline::step_of(pid, "child: execve", &of, [last, executed]);
        });
        if let Err(error) = followed {
            tracing::warn!("the steps of process {pid} are not in the timeline: {error}");
        }
    }
}

/// Adds each step to the timeline; returns when the last one ended.
fn show(pid: i32, of: &str, (begun, bytes): (u64, &[u8])) -> u64 {
    let (records, _) = bytes.as_chunks::<TIMED>();
    records.iter().fold(begun, |begin, record| {
        let (what, when) = record.split_at(RECORD);
        let end = when.try_into().map_or(begin, u64::from_ne_bytes);
        let stage = what.first().copied().and_then(Stage::from_code);
        let name = stage.map_or("", |stage| match stage {
            Stage::Lock => "wait for the record",
            stage => stage.word(),
        });
        timeline::step_of(pid, &format!("child: {name}"), of, [begin, end]);
        end
    })
}
