//! Errors that pass: the host lacks processes, descriptors, memory or disk space for now. The same call
//! succeeds later, and nothing is wrong with what it was called for.

use rustix::io::Errno;

/// Whether an error says that the host lacks something for now.
#[must_use]
pub fn passes(errno: Errno) -> bool {
    [
        Errno::AGAIN,
        Errno::NOMEM,
        Errno::MFILE,
        Errno::NFILE,
        Errno::NOSPC,
        Errno::DQUOT,
        Errno::NOBUFS,
    ]
    .contains(&errno)
}

/// The same for an error of the standard library.
#[must_use]
pub fn error_passes(error: &std::io::Error) -> bool {
    Errno::from_io_error(error).is_some_and(passes)
}
