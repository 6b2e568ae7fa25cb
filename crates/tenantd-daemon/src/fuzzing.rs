//! What the fuzzer calls (`fuzz/`): each function reads bytes as they come from a tenant, a client or a
//! damaged file, and panics if what it says of them cannot be so.

use crate::collect::frame;
use crate::logs::syslog;
use crate::ready::notice::{Notice, Statement};

pub use crate::requests::control::fuzzing::requests;
pub use crate::state_file::fuzzing::state_record;

/// A message to a notify socket, see sd_notify(3).
///
/// # Panics
/// If its status could change the screen that shows it.
pub fn notice(bytes: &[u8]) {
    let Some(notice) = Notice::parse(bytes) else {
        return;
    };
    let mut statement = Statement::default();
    statement.add(&notice);
    assert!(!statement.add(&notice) || notice.ready || notice.stopping);
    let shown = statement.status.unwrap_or_default();
    assert!(!shown.contains(char::is_control), "{shown:?}");
}

/// A message to `/dev/log`.
///
/// # Panics
/// If its text is not a part of it.
pub fn syslog(bytes: &[u8]) {
    let message = syslog::parse(bytes);
    assert!(message.text.len() <= bytes.len());
}

/// What the log collector wrote.
///
/// # Panics
/// If more is consumed than there is.
pub fn frames(bytes: &[u8]) {
    let mut entries = Vec::new();
    assert!(frame::decode(bytes, &mut entries) <= bytes.len());
}

#[cfg(test)]
#[path = "../../../tests/support/replay.rs"]
mod replay;

#[cfg(test)]
mod tests {
    use super::replay::replay;
    use super::*;

    #[test]
    fn kept_and_changed_notices_are_read() {
        replay("notice", 20_000, notice);
    }

    #[test]
    fn kept_and_changed_messages_of_syslog_are_read() {
        replay("syslog", 20_000, syslog);
    }

    #[test]
    fn kept_and_changed_frames_are_read() {
        replay("frames", 20_000, frames);
    }

    #[test]
    fn kept_and_changed_records_are_read() {
        replay("state_record", 5000, |bytes| {
            state_record(&String::from_utf8_lossy(bytes));
        });
    }

    #[test]
    fn kept_and_changed_requests_are_answered() {
        replay("requests", 500, requests);
    }
}
