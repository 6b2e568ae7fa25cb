//! The child's report to its parent: records of eight bytes on a close-on-exec pipe.
//!
//! | records before end of file | meaning |
//! |---|---|
//! | `(stage, errno)` | the stage failed |
//! | `(exec, 0)` | execve(2) succeeded and closed the pipe |
//! | `(exec, 0)`, `(exec, errno)` | execve(2) failed |
//! | `(exec, 0)`, `(user, errno)` | the last change of the user failed |
//! | none | the child was killed before execve(2) |

use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};

use super::child::attributes;
use super::ready_fd::ReadyFd;
use crate::lock::LOCK_FD;
use tenantd_core::stage::{Failure, Stage};

/// Bytes of a record: stage, one unused, object (2), errno (4), in the machine's byte order.
pub(super) const RECORD: usize = 8;

/// The most that a child writes: `(exec, 0)` and one failure.
const LONGEST: usize = 2 * RECORD;

/// One byte more than any child writes, to detect a report that is too long.
pub(super) const ROOM: usize = LONGEST + 1;

/// The bytes of one record. Allocates nothing: the child calls it.
pub(super) fn record(stage: Stage, object: u16, errno: i32) -> [u8; RECORD] {
    let [o0, o1] = object.to_ne_bytes();
    let [e0, e1, e2, e3] = errno.to_ne_bytes();
    [stage as u8, 0, o0, o1, e0, e1, e2, e3]
}

/// The meaning of a whole report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Running,
    Failed {
        stage: Stage,
        object: u16,
        errno: i32,
    },
    Vanished,
}

/// Decodes a whole report. The last record counts. Bytes that no child writes count as vanished.
pub(super) fn decode(bytes: &[u8]) -> Outcome {
    let (records, rest) = bytes.as_chunks::<RECORD>();
    if !rest.is_empty() || records.len() > LONGEST / RECORD {
        return Outcome::Vanished;
    }
    let Some(&[stage, _, o0, o1, e0, e1, e2, e3]) = records.last() else {
        return Outcome::Vanished;
    };
    let object = u16::from_ne_bytes([o0, o1]);
    let errno = i32::from_ne_bytes([e0, e1, e2, e3]);
    match Stage::from_code(stage) {
        Some(Stage::Exec) if errno == 0 => Outcome::Running,
        Some(stage) if errno > 0 => Outcome::Failed {
            stage,
            object,
            errno,
        },
        _ => Outcome::Vanished,
    }
}

/// Decodes bytes that a child may have written, for the fuzzer.
///
/// # Panics
/// If a report that is not one of those that [`record`] writes counts as a success or a failure.
#[cfg(any(test, fuzzing))]
pub fn fuzz(bytes: &[u8]) {
    let last = bytes.last_chunk::<RECORD>().map(|last| {
        let mut last = *last;
        // The child writes 0 there; the parent ignores it.
        last[1] = 0;
        last
    });
    match decode(bytes) {
        Outcome::Vanished => {}
        Outcome::Running => assert_eq!(last, Some(record(Stage::Exec, object(bytes), 0))),
        Outcome::Failed {
            stage,
            object,
            errno,
        } => {
            assert!(errno > 0);
            assert_eq!(last, Some(record(stage, object, errno)));
        }
    }
}

#[cfg(any(test, fuzzing))]
fn object(bytes: &[u8]) -> u16 {
    match bytes.last_chunk::<RECORD>() {
        Some(&[_, _, o0, o1, ..]) => u16::from_ne_bytes([o0, o1]),
        None => 0,
    }
}

/// The pipe of a report: the reading end, which does not block, and the writing end.
pub(super) fn pipe() -> Result<(OwnedFd, OwnedFd), Failure> {
    make_pipe()
        .map_err(|errno| Failure::errno(Stage::Clone, "its report pipe", errno.raw_os_error()))
}

fn make_pipe() -> Result<(OwnedFd, OwnedFd), Errno> {
    use std::os::fd::AsRawFd;
    let (read, mut write) = pipe_with(PipeFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(&read, true)?;
    if write.as_raw_fd() == LOCK_FD {
        // The child puts the lock at this number while the pipe is still in use.
        write = rustix::io::fcntl_dupfd_cloexec(&write, LOCK_FD + 1)?;
    }
    Ok((read, write))
}

/// The pipe by which the parent tells the child to continue: the reading end and the writing end.
pub(super) fn go_pipe() -> Result<(OwnedFd, OwnedFd), Failure> {
    pipe_with(PipeFlags::CLOEXEC)
        .map_err(|errno| Failure::errno(Stage::Clone, "its pipe", errno.raw_os_error()))
}

/// The names of the objects, which a record only numbers.
#[derive(Debug, Default)]
pub(super) struct Names {
    pub(super) program: String,
    pub(super) targets: Vec<String>,
    pub(super) capabilities: Vec<String>,
    pub(super) limits: Vec<&'static str>,
    pub(super) user: String,
    pub(super) group: String,
    pub(super) groups: String,
    pub(super) working_directory: String,
}

impl Names {
    /// The name of the stage's object; empty if the stage has none.
    pub(super) fn of(self, stage: Stage, object: u16) -> String {
        let nth = |names: Vec<String>| names.into_iter().nth(object.into()).unwrap_or_default();
        match stage {
            Stage::Exec => self.program,
            Stage::Own
            | Stage::Missing
            | Stage::Files
            | Stage::Attach
            | Stage::Private
            | Stage::Shared
            | Stage::Visible
            | Stage::Hide => nth(self.targets),
            Stage::Capabilities => nth(self.capabilities),
            Stage::User => self.user,
            Stage::Group => self.group,
            Stage::Groups => self.groups,
            Stage::WorkingDirectory => self.working_directory,
            Stage::Attributes => attributes::NAMES
                .get(usize::from(object))
                .copied()
                .unwrap_or_default()
                .to_owned(),
            Stage::Limits => nth(self.limits.iter().map(ToString::to_string).collect()),
            Stage::Stdio => format!("at {object}"),
            _ => String::new(),
        }
    }
}

/// The reading end of a child's report.
#[derive(Debug)]
pub struct Report {
    fd: End,
    names: Names,
}

#[derive(Debug)]
enum End {
    Plain(OwnedFd),
    Watched(ReadyFd),
}

impl Report {
    pub(super) fn new(fd: OwnedFd, names: Names) -> Self {
        let fd = End::Plain(fd);
        Self { fd, names }
    }

    /// Registers the report with the current tokio runtime, which may fail. Otherwise
    /// [`Report::outcome`] does so.
    ///
    /// # Errors
    /// A [`Failure`] of stage vanished.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn watched(self) -> Result<Self, Failure> {
        let Self { fd, names } = self;
        let fd = match fd {
            End::Plain(fd) => ReadyFd::new(fd).map_err(unread(&names.program))?,
            End::Watched(fd) => fd,
        };
        let fd = End::Watched(fd);
        Ok(Self { fd, names })
    }

    /// Waits until the program was executed or the launch has failed. After a failure the caller
    /// must still reap the child.
    ///
    /// # Errors
    /// The [`Failure`] of the child's stage, or of stage vanished if the child was killed.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn outcome(self) -> Result<(), Failure> {
        let program = self.names.program.clone();
        let unread = unread(&program);
        let fd = match self.fd {
            End::Plain(fd) => ReadyFd::new(fd).map_err(&unread)?,
            End::Watched(fd) => fd,
        };
        let mut bytes = [0_u8; ROOM];
        let mut len = 0;
        while let Some(room) = bytes.get_mut(len..).filter(|room| !room.is_empty()) {
            let read = fd
                .read_with(|fd| rustix::io::read(fd, &mut *room))
                .await
                .map_err(&unread)?;
            if read == 0 {
                break;
            }
            len += read;
        }
        match decode(bytes.get(..len).unwrap_or_default()) {
            Outcome::Running => Ok(()),
            Outcome::Failed {
                stage,
                object,
                errno,
            } => Err(Failure::errno(stage, self.names.of(stage, object), errno)),
            Outcome::Vanished => Err(Failure::detail(
                Stage::Vanished,
                self.names.program,
                "the child was killed before it executed the program",
            )),
        }
    }
}

fn unread(program: &str) -> impl Fn(std::io::Error) -> Failure {
    move |error| {
        let errno = error.raw_os_error().unwrap_or(libc::EIO);
        Failure::errno(Stage::Vanished, program, errno)
    }
}

#[cfg(test)]
#[path = "../../../../tests/support/replay.rs"]
mod replay;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn kept_and_changed_reports_are_read() {
        super::replay::replay("report", 50_000, fuzz);
    }

    fn joined(records: &[[u8; RECORD]]) -> Vec<u8> {
        records.concat()
    }

    #[test]
    fn decodes_every_form_of_a_report() {
        let exec = record(Stage::Exec, 0, 0);
        assert_eq!(decode(&[]), Outcome::Vanished);
        assert_eq!(decode(&exec), Outcome::Running);
        let failed = |stage, object, errno| Outcome::Failed {
            stage,
            object,
            errno,
        };
        assert_eq!(
            decode(&record(Stage::Hide, 3, libc::ENOENT)),
            failed(Stage::Hide, 3, libc::ENOENT)
        );
        let not_executed = joined(&[exec, record(Stage::Exec, 0, libc::ENOEXEC)]);
        assert_eq!(decode(&not_executed), failed(Stage::Exec, 0, libc::ENOEXEC));
    }

    #[test]
    fn other_bytes_count_as_vanished() {
        let exec = record(Stage::Exec, 0, 0);
        assert_eq!(decode(&exec[..7]), Outcome::Vanished);
        assert_eq!(decode(&joined(&[exec, exec, exec])), Outcome::Vanished);
        assert_eq!(decode(&[0xff; RECORD]), Outcome::Vanished);
        assert_eq!(decode(&record(Stage::User, 0, 0)), Outcome::Vanished);
        assert_eq!(decode(&record(Stage::User, 0, -1)), Outcome::Vanished);
    }

    proptest! {
        #[test]
        fn any_bytes_decode(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Outcome::Failed { errno, .. } = decode(&bytes) {
                prop_assert!(errno > 0);
            }
        }

        #[test]
        fn failures_round_trip(
            stage in proptest::sample::select(Stage::ALL),
            object in any::<u16>(),
            errno in 1..4096_i32,
        ) {
            let outcome = decode(&record(stage, object, errno));
            prop_assert_eq!(outcome, Outcome::Failed { stage, object, errno });
        }
    }
}
