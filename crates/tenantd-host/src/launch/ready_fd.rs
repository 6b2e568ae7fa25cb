//! A descriptor that a task can wait on until it becomes readable.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// An owned descriptor in tokio's epoll: a pidfd, an inotify instance, a non-blocking pipe.
#[derive(Debug)]
pub struct ReadyFd(AsyncFd<OwnedFd>);

impl ReadyFd {
    /// Hands the descriptor to the current tokio runtime.
    ///
    /// # Errors
    /// Those of epoll_ctl(2), such as `EPERM` for a regular file, which is always ready.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn new(fd: OwnedFd) -> io::Result<Self> {
        // SAFETY: register_with_interest asks that the descriptor stays open, and the same, until
        // the AsyncFd is dropped. The AsyncFd owns this OwnedFd, and nothing here gives out more
        // than a borrow of it.
        let fd = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }?;
        Ok(Self(fd))
    }

    /// Waits until `attempt` gives something other than `EWOULDBLOCK`, calling it whenever the
    /// descriptor has become readable. Cancelling loses nothing that `attempt` did not take.
    ///
    /// # Errors
    /// The error of `attempt`.
    pub async fn read_with<T>(
        &self,
        mut attempt: impl FnMut(BorrowedFd<'_>) -> Result<T, Errno>,
    ) -> io::Result<T> {
        self.0
            .async_io(Interest::READABLE, |fd| Ok(attempt(fd.as_fd())?))
            .await
    }
}

impl AsFd for ReadyFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.get_ref().as_fd()
    }
}
