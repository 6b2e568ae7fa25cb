//! Notifications to systemd about the supervisor, see sd_notify(3).
//!
//! Without `NOTIFY_SOCKET` in the environment these functions do nothing. The variables stay in the
//! supervisor's own environment. No tenant inherits it: a tenant's plan has its whole environment.

use std::io;
use std::time::Duration;

use sd_notify::NotifyState;

/// Sends `READY=1`: the supervisor answers requests.
///
/// # Errors
/// What sendmsg(2) on systemd's socket reports. The supervisor can ignore it.
pub fn ready() -> io::Result<()> {
    sd_notify::notify(&[NotifyState::Ready])
}

/// Sends `STATUS=`: one line that `systemctl status` shows.
///
/// # Errors
/// See [`ready`].
pub fn status(text: &str) -> io::Result<()> {
    sd_notify::notify(&[NotifyState::Status(text)])
}

/// Sends `RELOADING=1`: the supervisor reads its manifest again. [`ready`] ends the reload.
///
/// # Errors
/// See [`ready`].
pub fn reloading() -> io::Result<()> {
    let now = NotifyState::monotonic_usec_now()?;
    sd_notify::notify(&[NotifyState::Reloading, now])
}

/// Sends `STOPPING=1`: the supervisor is about to end.
///
/// # Errors
/// See [`ready`].
pub fn stopping() -> io::Result<()> {
    sd_notify::notify(&[NotifyState::Stopping])
}

/// Sends `WATCHDOG=1`: the supervisor is alive.
///
/// # Errors
/// See [`ready`].
pub fn watchdog() -> io::Result<()> {
    sd_notify::notify(&[NotifyState::Watchdog])
}

/// How often to send [`watchdog`]: at half of systemd's limit (sd_watchdog_enabled(3)). None if
/// the unit has no watchdog.
#[must_use]
pub fn watchdog_interval() -> Option<Duration> {
    sd_notify::watchdog_enabled()
        .map(|limit| limit / 2)
        .filter(|half| !half.is_zero())
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;
    use std::process::Command;

    use super::*;

    /// The variables must be set before any thread exists, so the test runs itself in a child.
    #[test]
    fn systemd_gets_each_notification() {
        if std::env::var_os("NOTIFY_SOCKET").is_some() {
            assert_eq!(watchdog_interval(), Some(Duration::from_secs(2)));
            for said in [ready(), status("3 of 4 up"), watchdog(), stopping()] {
                said.unwrap();
            }
            return;
        }
        assert_eq!(watchdog_interval(), None);
        ready().unwrap();
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let again = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "notify::tests::systemd_gets_each_notification"])
            .env("NOTIFY_SOCKET", &path)
            .env("WATCHDOG_USEC", "4000000")
            .output()
            .unwrap();
        assert!(
            again.status.success(),
            "{}",
            String::from_utf8_lossy(&again.stdout)
        );
        socket.set_nonblocking(true).unwrap();
        for wanted in [
            "READY=1\n",
            "STATUS=3 of 4 up\n",
            "WATCHDOG=1\n",
            "STOPPING=1\n",
        ] {
            let mut said = [0; 64];
            let len = socket.recv(&mut said).unwrap();
            assert_eq!(std::str::from_utf8(&said[..len]).unwrap(), wanted);
        }
    }
}
