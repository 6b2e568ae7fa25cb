//! Whether a failed stage is worth a retry.
//!
//! What passes by itself (memory, descriptors, space, a lock, a network, a disk that is not mounted yet)
//! is retried by the restart policy. What does not is not retried: only a changed manifest or host
//! helps. In doubt, an errno counts as one that passes: a retry too many costs less than a tenant that
//! stays down.

use super::{Failure, Stage};

/// Whether a failed stage is worth a retry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// As the restart policy says: the cause may pass by itself.
    Policy,
    /// A few times: a file of the host is missing. It may be about to be there again, because a
    /// package is being replaced.
    Briefly,
    /// Not at all: the manifest or the host has to change.
    Never,
}

impl Failure {
    /// Whether a retry may succeed although nothing is changed.
    #[must_use]
    pub fn retry(&self) -> Retry {
        match self.stage {
            Stage::Program | Stage::Exec => of_program(self.errno),
            Stage::Attach
            | Stage::Files
            | Stage::Private
            | Stage::Missing
            | Stage::Hide
            | Stage::WorkingDirectory => match self.errno {
                libc::ENOENT => Retry::Briefly,
                libc::EACCES => Retry::Never,
                errno => of_file(errno),
            },
            // What is missing there may be mounted, or made by a service, after the host's start. And
            // a server of a network filesystem may permit later what it denies now.
            Stage::Datastore | Stage::Tree | Stage::Shared | Stage::Visible => of_file(self.errno),
            Stage::Landlock
            | Stage::Capabilities
            | Stage::Limits
            | Stage::Attributes
            | Stage::Groups
            | Stage::Group
            | Stage::User
            | Stage::NoNewPrivs
            | Stage::SystemCalls => match self.errno {
                libc::EINVAL => Retry::Never,
                errno => of_host(errno),
            },
            Stage::Netns
            | Stage::Link
            | Stage::Address
            | Stage::Route
            | Stage::Firewall
            | Stage::Cgroup
            | Stage::Log
            | Stage::Lock
            | Stage::Clone
            | Stage::Signals
            | Stage::Session
            | Stage::EnterNetns
            | Stage::Propagation
            | Stage::Own
            | Stage::Stdio
            | Stage::Descriptors => of_host(self.errno),
            // Another host has the datastore, or the record is damaged: an operator must act.
            Stage::Owner => match self.errno {
                0 | libc::EBUSY => Retry::Never,
                errno => of_host(errno),
            },
            // Not stages of a start, or not errors of one.
            Stage::Vanished
            | Stage::Init
            | Stage::Before
            | Stage::Ready
            | Stage::Alive
            | Stage::Mounted
            | Stage::Linked
            | Stage::Background
            | Stage::End
            | Stage::Release => Retry::Policy,
        }
    }
}

/// The file of the program, or the interpreter that it names.
fn of_program(errno: i32) -> Retry {
    use libc::{E2BIG, EACCES, EINVAL, ELIBBAD, ENOENT, ENOEXEC};
    match errno {
        // A package manager may be about to put the next one there.
        ENOENT => Retry::Briefly,
        // Not a regular file, or an argument with a NUL byte.
        0 | ENOEXEC | EACCES | ELIBBAD | EINVAL | E2BIG => Retry::Never,
        errno => of_file(errno),
    }
}

/// Another path of the host.
fn of_file(errno: i32) -> Retry {
    use libc::{EINVAL, EISDIR, ELOOP, ENAMETOOLONG, ENOTDIR, EXDEV};
    match errno {
        ENOTDIR | EISDIR | ELOOP | ENAMETOOLONG | EXDEV | EINVAL => Retry::Never,
        errno => of_host(errno),
    }
}

/// Everything else.
fn of_host(errno: i32) -> Retry {
    match errno {
        libc::EPERM | libc::ENOSYS | libc::EOPNOTSUPP => Retry::Never,
        _ => Retry::Policy,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn retry(stage: Stage, errno: i32) -> Retry {
        Failure::errno(stage, "/x", errno).retry()
    }

    #[test]
    fn what_passes_by_itself_is_retried_by_the_policy_in_every_stage() {
        use libc::{
            EAGAIN, EBUSY, EIO, EMFILE, ENFILE, ENOMEM, ENOSPC, ESTALE, ETIMEDOUT, ETXTBSY,
        };
        for &stage in Stage::ALL {
            for errno in [
                EAGAIN, EBUSY, EIO, EMFILE, ENFILE, ENOMEM, ENOSPC, ESTALE, ETIMEDOUT, ETXTBSY,
            ] {
                let retries = match (stage, errno) {
                    // Another host has the datastore.
                    (Stage::Owner, EBUSY) => Retry::Never,
                    _ => Retry::Policy,
                };
                assert_eq!(retry(stage, errno), retries, "{stage} {errno}");
            }
        }
    }

    #[test]
    fn each_cause_has_its_retries() {
        use Retry::{Briefly, Never, Policy};
        use Stage::{Address, Hide, Netns, Ready, Shared, Tree, User, Visible, WorkingDirectory};
        use Stage::{Attach, Clone, Datastore, Exec, Limits, Link, Lock, Private, Program};
        let table = [
            // The program is missing, or is being replaced.
            (Program, libc::ENOENT, Briefly),
            (Exec, libc::ENOENT, Briefly),
            // It cannot be executed.
            (Program, libc::EACCES, Never),
            (Program, 0, Never),
            (Exec, libc::EACCES, Never),
            (Exec, libc::ENOEXEC, Never),
            (Exec, libc::ELIBBAD, Never),
            (Exec, libc::E2BIG, Never),
            (Exec, libc::ELOOP, Never),
            (Exec, libc::EPERM, Never),
            // The filesystem of the file is not available.
            (Exec, libc::ENODEV, Policy),
            // A mount target or the working directory.
            (Attach, libc::ENOENT, Briefly),
            (Attach, libc::ENOTDIR, Never),
            (Attach, libc::ELOOP, Never),
            (Private, libc::ENOENT, Briefly),
            (Private, libc::ENOTDIR, Never),
            (Hide, libc::ENOTDIR, Never),
            (WorkingDirectory, libc::ENOENT, Briefly),
            (WorkingDirectory, libc::EACCES, Never),
            // A disk that is not mounted yet, or a service that is not up yet.
            (Datastore, 0, Policy),
            (Datastore, libc::ENOENT, Policy),
            (Datastore, libc::EACCES, Policy),
            (Datastore, libc::EROFS, Policy),
            (Shared, libc::ENOENT, Policy),
            (Visible, libc::ENOENT, Policy),
            // A path that can never be right.
            (Datastore, libc::ENOTDIR, Never),
            (Datastore, libc::ELOOP, Never),
            (Tree, libc::EINVAL, Never),
            (Shared, libc::ELOOP, Never),
            // The supervisor itself may not, or the kernel cannot.
            (Clone, libc::EPERM, Never),
            (Clone, libc::ENOSYS, Never),
            (Netns, libc::EPERM, Never),
            (Link, libc::EOPNOTSUPP, Never),
            (User, libc::EINVAL, Never),
            (Limits, libc::EPERM, Never),
            // Others may release what they hold.
            (Lock, libc::EWOULDBLOCK, Policy),
            (Link, libc::EEXIST, Policy),
            (Address, libc::EADDRINUSE, Policy),
            (Netns, 0, Policy),
            // The program ran.
            (Ready, 0, Policy),
        ];
        for (stage, errno, expected) in table {
            assert_eq!(retry(stage, errno), expected, "{stage} {errno}");
        }
    }
}
