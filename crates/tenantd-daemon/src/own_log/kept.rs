//! The supervisor's own log in a file, where there is no journal: bounded, with one older generation, like
//! the files of the tenants' output.

use std::io::{self, Write};
use std::path::Path;
use std::sync::OnceLock;

use crate::logs::files::{Bounded, GENERATION_MAX};
use crate::nonblocking_writer::NonblockingWriter;
use tenantd_core::layout;
use tenantd_core::name::AppName;

/// The writer of this process.
static KEPT: OnceLock<NonblockingWriter> = OnceLock::new();

/// Starts the thread that writes the file.
///
/// # Errors
/// What pthread_create(3) reports.
pub(super) fn start(app: &AppName) -> io::Result<NonblockingWriter> {
    let kept = Bounded::new(layout::own_log(app), GENERATION_MAX, lost);
    let writer = NonblockingWriter::start("own-log-file", kept)?;
    Ok(KEPT.get_or_init(|| writer).clone())
}

/// Writes to the file alone why the supervisor ends. The caller writes it to standard error.
pub fn ended(why: &str) {
    if let Some(kept) = KEPT.get() {
        let line = format!("{:.6} ERROR {why}\n", jiff::Timestamp::now());
        kept.push(line.as_bytes(), 1, "tenantd", "");
        kept.flush(super::FLUSH_LIMIT);
    }
}

fn lost(path: &Path, error: &io::Error) {
    let place = path.display();
    // Not through the log, which ends here. If standard error is closed, no place is left.
    let _said = writeln!(
        io::stderr(),
        "tenantd: cannot write its log to {place}; it is lost there until writing succeeds: {error}"
    );
}
