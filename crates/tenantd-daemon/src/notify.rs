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

/// Says that the supervisor reads its manifest again; [`ready`] says that it has.
///
/// # Errors
/// See [`ready`].
pub fn reloading() -> io::Result<()> {
    let now = NotifyState::monotonic_usec_now()?;
    sd_notify::notify(&[NotifyState::Reloading, now])
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

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;
    use std::process::Command;

    use super::*;

    /// The variables must be there before any thread is, so that the test starts itself again.
    #[test]
    fn systemd_hears_all_of_it_where_it_asks() {
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
            .args([
                "--exact",
                "notify::tests::systemd_hears_all_of_it_where_it_asks",
            ])
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
