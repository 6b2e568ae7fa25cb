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
    /// Registers the descriptor with the current tokio runtime.
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

    /// Calls `attempt` whenever the descriptor is readable, until it returns something other than
    /// `EWOULDBLOCK`. Cancel-safe if `attempt` is.
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
