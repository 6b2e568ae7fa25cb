//! Signals that interrupt a move. A move that they killed would leave the tenant stopped, for example if the connection
//! of the operator's terminal breaks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::{fs, io};

use anyhow::bail;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

/// Whether a signal has come. Copies are of the same.
#[derive(Clone)]
pub(super) struct Signals(Arc<AtomicBool>);

impl Signals {
    /// From now on the first signal interrupts the move, and the next one ends the command at once. What nohup(1) ignores
    /// stays ignored.
    pub(super) fn catch() -> io::Result<Self> {
        let ignored = ignored(&fs::read_to_string("/proc/self/status")?);
        let seen = Arc::new(AtomicBool::new(false));
        for signal in [SIGHUP, SIGINT, SIGTERM] {
            if ignored & 1 << (signal - 1) == 0 {
                flag::register_conditional_default(signal, Arc::clone(&seen))?;
                flag::register(signal, Arc::clone(&seen))?;
            }
        }
        Ok(Self(seen))
    }

    /// Fails if a signal has come.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        match self.0.load(Ordering::Relaxed) {
            true => bail!("interrupted by a signal"),
            false => Ok(()),
        }
    }
}

/// The signals that a process ignores, see proc_pid_status(5).
fn ignored(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    line.and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nohup_ignores_is_read() {
        let text = "Name:\ttenantd\nSigIgn:\t0000000000001001\nSigCgt:\t0000000000000002\n";
        assert_eq!(ignored(text), 0x1001);
        assert_eq!(ignored("Name:\ttenantd\n"), 0);
    }
}
