//! Shows on a terminal how far a bundle is.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use tenantd_host::bundle::Counts;

/// How often it is drawn.
const EACH: Duration = Duration::from_millis(200);

/// A line on standard error that is drawn again and again, if that is a terminal.
pub(super) struct Shown {
    what: String,
    last: Option<Instant>,
    is_drawn: bool,
}

impl Shown {
    pub(super) fn new(what: &str) -> Self {
        Self {
            what: what.to_owned(),
            last: std::io::stderr().is_terminal().then(Instant::now),
            is_drawn: false,
        }
    }

    pub(super) fn show(&mut self, counts: Counts) {
        let Some(last) = self.last.filter(|last| last.elapsed() >= EACH) else {
            return;
        };
        self.last = Some(last + last.elapsed());
        self.is_drawn = true;
        // A terminal that is gone is no reason to end.
        drop(write!(
            std::io::stderr(),
            "\r\x1b[K{} {}",
            self.what,
            text(counts)
        ));
    }

    /// Removes the line.
    pub(super) fn end(&mut self) {
        if std::mem::take(&mut self.is_drawn) {
            drop(write!(std::io::stderr(), "\r\x1b[K"));
        }
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        self.end();
    }
}

/// The numbers for a person.
pub(super) fn text(counts: Counts) -> String {
    let Counts { entries, bytes } = counts;
    let (value, unit) = match bytes {
        0..1024 => (bytes, "B"),
        1024..1_048_576 => (bytes >> 10, "KiB"),
        1_048_576..10_737_418_240 => (bytes >> 20, "MiB"),
        _ => (bytes >> 30, "GiB"),
    };
    let noun = if entries == 1 { "entry" } else { "entries" };
    format!("{entries} {noun}, {value} {unit}")
}
