//! What systemd is told about the supervisor, see sd_notify(3).
//!
//! Nothing happens where systemd did not ask (`NOTIFY_SOCKET`). The variables stay in our own
//! environment, which no tenant inherits: a tenant's environment is whole in its plan.

use std::io;
use std::time::Duration;

use sd_notify::NotifyState;

/// Says that the supervisor answers.
///
/// # Errors
/// What sendmsg(2) on systemd's socket reports; the supervisor goes on all the same.
pub fn ready() -> io::Result<()> {
    sd_notify::notify(&[NotifyState::Ready])
}

/// Says in one line how the supervisor is, as `systemctl status` shows it.
///
/// # Errors
/// See [`ready`].
pub fn status(text: &str) -> io::Result<()> {
    sd_notify::notify(&[NotifyState::Status(text)])
}

/// Says that the supervisor is about to end.
///
/// # Errors
/// See [`ready`].
pub fn stopping() -> io::Result<()> {
    sd_notify::notify(&[NotifyState::Stopping])
}

/// Says that the supervisor is alive.
///
/// # Errors
/// See [`ready`].
pub fn watchdog() -> io::Result<()> {
    sd_notify::notify(&[NotifyState::Watchdog])
}

/// How often to say so: at half the time that systemd waits (sd_watchdog_enabled(3)). None where
/// it does not ask, and then no timer is needed.
#[must_use]
pub fn watchdog_interval() -> Option<Duration> {
    sd_notify::watchdog_enabled()
        .map(|limit| limit / 2)
        .filter(|half| !half.is_zero())
}
