//! The signals that the supervisor listens to, turned into words for the loop.
//!
//! SIGPIPE is ignored by Rust's runtime from the start; the launch gives it back to the programs.

use std::io;

use futures_util::StreamExt;
use nix::sys::signal::{SigSet, Signal as Number};
use signal_hook::consts::signal::{SIGHUP, SIGINT, SIGTERM, SIGUSR2};

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// End: SIGTERM, or the first SIGINT.
    Stop,
    /// End without waiting for anybody: SIGINT once more.
    Hurry,
    /// Read the manifest again: SIGHUP.
    Reload,
    /// Execute the program on disk: SIGUSR2.
    Upgrade,
}

/// The signals as they come.
pub struct Signals {
    coming: signal_hook_tokio::Signals,
    interrupted: bool,
}

impl Signals {
    /// Begins to listen; from now on none of the signals kills.
    ///
    /// # Errors
    /// What sigaction(2) or socketpair(2) reports.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn new() -> io::Result<Self> {
        let coming = signal_hook_tokio::Signals::new([SIGTERM, SIGINT, SIGHUP, SIGUSR2])?;
        // Those that came while this program was put in place of another come now.
        let_go()?;
        Ok(Self {
            coming,
            interrupted: false,
        })
    }

    /// The next signal. Nothing is lost when it is cancelled; several of a kind may come as one
    /// (signal(7)).
    pub async fn next(&mut self) -> Signal {
        match self.coming.next().await {
            Some(number) => self.meaning(number),
            // The stream ends only when its handle is closed, and nobody has one.
            None => std::future::pending().await,
        }
    }

    fn meaning(&mut self, number: i32) -> Signal {
        match number {
            SIGHUP => Signal::Reload,
            SIGUSR2 => Signal::Upgrade,
            SIGINT if self.interrupted => Signal::Hurry,
            SIGINT => {
                self.interrupted = true;
                Signal::Stop
            }
            _ => Signal::Stop,
        }
    }
}

/// Holds the signals back until another program, executed in place of this one, listens to them.
///
/// # Errors
/// Those of pthread_sigmask(3).
pub(super) fn hold() -> io::Result<()> {
    Ok(ours().thread_block()?)
}

/// Lets them come again.
///
/// # Errors
/// Those of pthread_sigmask(3).
pub(super) fn let_go() -> io::Result<()> {
    Ok(ours().thread_unblock()?)
}

fn ours() -> SigSet {
    let all = [
        Number::SIGTERM,
        Number::SIGINT,
        Number::SIGHUP,
        Number::SIGUSR2,
    ];
    all.into_iter().collect()
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
                assert_eq!(signals.next().await, meaning, "{number}");
            }
        });
    }

    #[test]
    fn a_broken_pipe_does_not_kill() {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        let mask = u64::from_str_radix(ignored.unwrap().trim(), 16).unwrap();
        assert_ne!(mask & (1 << (Number::SIGPIPE as i32 - 1)), 0);
    }
}
