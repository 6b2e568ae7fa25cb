//! Notices of programs about themselves: the text of a message to a tenant's `NOTIFY_SOCKET`, see
//! sd_notify(3).

use std::str::FromStr;
use std::time::Duration;

use crate::logs::split::shown;

/// The longest message in bytes, that of systemd's own socket (`NOTIFY_BUFFER_MAX`).
pub const MESSAGE_MAX: usize = 4096;

/// The longest status kept, in characters: a line of a table.
const STATUS_MAX: usize = 200;

/// A notice of a program.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Notice {
    /// Whether it contains `READY=1`.
    pub ready: bool,
    /// The status text, with unsafe characters escaped.
    pub status: Option<String>,
    /// The number of the main process. Any number: the sender is not trusted.
    pub main_pid: Option<i32>,
    /// How much more time it asks for, to become ready or to stop.
    pub extend: Option<Duration>,
    /// Whether it contains `STOPPING=1`.
    pub stopping: bool,
    /// Whether it contains `RELOADING=1`.
    pub reloading: bool,
    /// What it says to its watchdog.
    pub watchdog: Option<Watchdog>,
    /// The period of its watchdog that it asks for; zero for none.
    pub period: Option<Duration>,
}

/// What a program has said of itself, as far as it is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Statement {
    /// Its status text.
    pub status: Option<String>,
    /// Whether it is reloading its configuration: `RELOADING=1` until `READY=1`.
    pub reloading: bool,
    /// The period of its watchdog, if it asked for another one.
    pub period: Option<Duration>,
}

impl Statement {
    /// Adds a notice. Returns whether anything is different now.
    pub fn add(&mut self, notice: &Notice) -> bool {
        let before = self.clone();
        if let Some(status) = &notice.status {
            self.status = Some(status.clone()).filter(|text| !text.is_empty());
        }
        // As with systemd, a message that says both ends the reload.
        self.reloading = (self.reloading || notice.reloading) && !notice.ready && !notice.stopping;
        self.period = notice.period.or(self.period);
        *self != before
    }

    /// Shortens the status text to this many characters.
    pub fn shorten(&mut self, characters: usize) {
        if let Some(text) = &mut self.status
            && let Some((end, _)) = text.char_indices().nth(characters)
        {
            text.truncate(end);
        }
    }
}

/// What a program says to its watchdog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watchdog {
    /// It works.
    Works,
    /// It has failed.
    Failed,
}

impl Notice {
    /// Reads a message; None if it says nothing that matters here. Other assignments of sd_notify(3)
    /// are ignored. As systemd does, it permits one NUL byte at the end and no other. A status that is
    /// not UTF-8 does not spoil the rest: its invalid bytes are replaced.
    #[must_use]
    pub fn parse(message: &[u8]) -> Option<Self> {
        let text = message.strip_suffix(b"\0").unwrap_or(message);
        if text.contains(&0) {
            return None;
        }
        let mut notice = Self::default();
        for line in text.split(|byte| *byte == b'\n') {
            if line == b"READY=1" {
                notice.ready = true;
            } else if let Some(pid) = line.strip_prefix(b"MAINPID=") {
                notice.main_pid = number(pid);
            } else if let Some(time) = line.strip_prefix(b"EXTEND_TIMEOUT_USEC=") {
                notice.extend = number(time).map(Duration::from_micros);
            } else if line == b"STOPPING=1" {
                notice.stopping = true;
            } else if line == b"RELOADING=1" {
                notice.reloading = true;
            } else if line == b"WATCHDOG=1" {
                notice.watchdog = Some(Watchdog::Works);
            } else if line == b"WATCHDOG=trigger" {
                notice.watchdog = Some(Watchdog::Failed);
            } else if let Some(time) = line.strip_prefix(b"WATCHDOG_USEC=") {
                notice.period = number(time).map(period);
            } else if let Some(said) = line.strip_prefix(b"STATUS=") {
                let said = String::from_utf8_lossy(said);
                // A tab is safe in a log, but would move the columns of a table.
                let said = said.chars().map(|c| if c == '\t' { ' ' } else { c });
                let said: String = said.take(STATUS_MAX).collect();
                notice.status = Some(shown(&said).into_owned());
            }
        }
        (notice != Self::default()).then_some(notice)
    }
}

/// The shortest period that a program can ask for, as in the manifest: each end of one costs work.
const PERIOD_MIN: Duration = Duration::from_millis(100);

/// The period of this many microseconds. The largest number means none, as 0 does.
fn period(micros: u64) -> Duration {
    match micros {
        0 | u64::MAX => Duration::ZERO,
        some => Duration::from_micros(some).max(PERIOD_MIN),
    }
}

/// A number in decimal.
fn number<T: FromStr>(text: &[u8]) -> Option<T> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ready_and_status_are_read() {
        let parse = |text: &[u8]| Notice::parse(text).map(|it| (it.ready, it.status));
        assert_eq!(parse(b"READY=1\n"), Some((true, None)));
        assert_eq!(
            parse(b"MAINPID=4\nSTATUS=up \x1b[1m\nREADY=1"),
            Some((true, Some("up \\x1b[1m".to_owned())))
        );
        assert_eq!(parse(b"STATUS=a\tb"), Some((false, Some("a b".to_owned()))));
        assert_eq!(parse(b"READY=1\0"), Some((true, None)));
        assert_eq!(
            parse(b"STATUS=pr\xeat\nREADY=1"),
            Some((true, Some("pr\u{fffd}t".to_owned())))
        );
        for nothing in [
            b"STOPPING=0".as_slice(),
            b"MONOTONIC_USEC=1",
            b"READY=0",
            b"",
            b"READY=1\0\nSTATUS=up",
            b"READY=10",
            b"READY",
        ] {
            assert_eq!(parse(nothing), None);
        }
        let long = format!("STATUS={}", "x".repeat(1_000));
        let (_, status) = parse(long.as_bytes()).unwrap();
        assert_eq!(status.unwrap().len(), STATUS_MAX);
    }
    #[test]
    fn a_program_names_its_main_process_and_asks_for_time() {
        let main = |text: &[u8]| Notice::parse(text).and_then(|it| it.main_pid);
        assert_eq!(main(b"MAINPID=4\nREADY=1"), Some(4));
        assert_eq!(main(b"READY=1\nMAINPID=99999999999\n"), None);
        let extend = |text: &[u8]| Notice::parse(text).and_then(|it| it.extend);
        let time = Some(Duration::from_millis(2_500));
        assert_eq!(extend(b"STATUS=x\nEXTEND_TIMEOUT_USEC=2500000"), time);
        assert!(extend(b"EXTEND_TIMEOUT_USEC=18446744073709551615").is_some());
        for wrong in [
            b"EXTEND_TIMEOUT_USEC=-1".as_slice(),
            b"EXTEND_TIMEOUT_USEC=18446744073709551616",
        ] {
            assert_eq!(extend(wrong), None);
        }
    }

    #[test]
    fn the_watchdog_and_the_words_of_a_change_are_read() {
        let is = |text: &[u8]| Notice::parse(text).map(|it| (it.stopping, it.reloading));
        assert_eq!(is(b"STOPPING=1\nSTATUS=bye"), Some((true, false)));
        assert_eq!(is(b"RELOADING=1\nMONOTONIC_USEC=7"), Some((false, true)));
        let watchdog = |text: &[u8]| Notice::parse(text).map(|it| (it.watchdog, it.period));
        assert_eq!(watchdog(b"WATCHDOG=1"), Some((Some(Watchdog::Works), None)));
        let failed = Some(Watchdog::Failed);
        assert_eq!(watchdog(b"WATCHDOG=trigger\n"), Some((failed, None)));
        let second = Some(Duration::from_secs(1));
        assert_eq!(watchdog(b"WATCHDOG_USEC=1000000"), Some((None, second)));
        assert_eq!(watchdog(b"WATCHDOG_USEC=2"), Some((None, Some(PERIOD_MIN))));
        let none = Some((None, Some(Duration::ZERO)));
        assert_eq!(watchdog(b"WATCHDOG_USEC=18446744073709551615"), none);
        assert_eq!(watchdog(b"WATCHDOG=2"), None);
    }
}
