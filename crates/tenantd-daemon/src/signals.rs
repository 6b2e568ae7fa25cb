//! The signals that the supervisor handles.
//!
//! They are blocked in all threads and read from a descriptor, see signalfd(2). A signal that is
//! pending during an upgrade stays pending for the next program.
//!
//! Rust's runtime ignores SIGPIPE from the start. The launch resets SIGPIPE and unblocks all
//! signals for the tenants' programs.

use std::io;

use nix::sys::signal::{SigSet, Signal as Number};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The meaning of a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Stop all tenants and end: SIGTERM, or the first SIGINT.
    Stop,
    /// Kill all remaining processes and end: a further SIGINT.
    Hurry,
    /// Read the manifest again: SIGHUP.
    Reload,
    /// Execute the program on disk: SIGUSR2.
    Upgrade,
}

const OURS: [Number; 4] = [
    Number::SIGTERM,
    Number::SIGINT,
    Number::SIGHUP,
    Number::SIGUSR2,
];

/// The source of signals.
pub struct Signals {
    coming: AsyncFd<SignalFd>,
    interrupted: bool,
}

/// Blocks the signals in this thread and in all threads that it creates from now on. Call it before
/// the first thread is created: a thread in which a signal is not blocked would receive it, and the
/// signal would kill the process.
///
/// # Errors
/// What pthread_sigmask(3) reports.
pub fn block() -> io::Result<()> {
    let mut blocked = ours();
    // For the thread of the children: another thread would discard it.
    blocked.add(Number::SIGCHLD);
    Ok(blocked.thread_block()?)
}

impl Signals {
    /// Begins to read signals. Pending signals come first.
    ///
    /// # Errors
    /// What pthread_sigmask(3), signalfd(2) or epoll_ctl(2) reports.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn new() -> io::Result<Self> {
        block()?;
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        let coming = SignalFd::with_flags(&ours(), flags)?;
        #[expect(
            deprecated,
            reason = "its successor is unsafe for the sake of types that may change their \
                      descriptor; a SignalFd keeps its own open until it is dropped"
        )]
        let coming = AsyncFd::with_interest(coming, Interest::READABLE)?;
        Ok(Self {
            coming,
            interrupted: false,
        })
    }

    /// The next signal. Cancelling this loses no signal. Several signals of one kind may be
    /// reported as one (signal(7)).
    ///
    /// # Errors
    /// What read(2) reports.
    pub async fn next(&mut self) -> io::Result<Signal> {
        let read = |coming: &SignalFd| match coming.read_signal()? {
            Some(signal) => Ok(signal.ssi_signo),
            None => Err(io::ErrorKind::WouldBlock.into()),
        };
        let number = self.coming.async_io(Interest::READABLE, read).await?;
        Ok(self.meaning(number))
    }

    fn meaning(&mut self, number: u32) -> Signal {
        let number = i32::try_from(number).map(Number::try_from);
        match number {
            Ok(Ok(Number::SIGHUP)) => Signal::Reload,
            Ok(Ok(Number::SIGUSR2)) => Signal::Upgrade,
            Ok(Ok(Number::SIGINT)) if self.interrupted => Signal::Hurry,
            Ok(Ok(Number::SIGINT)) => {
                self.interrupted = true;
                Signal::Stop
            }
            _ => Signal::Stop,
        }
    }
}

fn ours() -> SigSet {
    OURS.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use nix::sys::signal::{Signal as Number, raise};

    use super::*;

    #[test]
    fn each_signal_has_its_meaning() {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_io().build().unwrap().block_on(async {
            let mut signals = Signals::new().unwrap();
            for (number, meaning) in [
                (Number::SIGHUP, Signal::Reload),
                (Number::SIGUSR2, Signal::Upgrade),
                (Number::SIGTERM, Signal::Stop),
                (Number::SIGINT, Signal::Stop),
                (Number::SIGTERM, Signal::Stop),
                (Number::SIGINT, Signal::Hurry),
                (Number::SIGHUP, Signal::Reload),
            ] {
                raise(number).unwrap();
                assert_eq!(signals.next().await.unwrap(), meaning, "{number}");
            }
        });
    }

    #[test]
    fn a_signal_that_was_not_read_stays_pending() {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_io().build().unwrap().block_on(async {
            block().unwrap();
            raise(Number::SIGHUP).unwrap();
            let before = Signals::new().unwrap();
            raise(Number::SIGUSR2).unwrap();
            drop(before);
            let mut signals = Signals::new().unwrap();
            let come = [signals.next().await.unwrap(), signals.next().await.unwrap()];
            assert_eq!(come, [Signal::Reload, Signal::Upgrade]);
        });
    }

    #[test]
    fn sigpipe_is_ignored() {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        let mask = u64::from_str_radix(ignored.unwrap().trim(), 16).unwrap();
        assert_ne!(mask & (1 << (Number::SIGPIPE as i32 - 1)), 0);
    }
}
