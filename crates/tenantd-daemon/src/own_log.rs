//! Our own words: where tracing's events go.
//!
//! To the journal where our standard error is the journal, with the fields `TENANTD_TENANT` and so
//! on that the tenants' lines have too; else to standard error, by way of an [`NonblockingWriter`], because
//! whoever reads it may stop reading.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

use crate::nonblocking_writer::NonblockingWriter;
use tenantd_api::wire::LogPlace;
use tenantd_core::name::AppName;

/// The variable that says what is told, in the words of tracing-subscriber's `EnvFilter`.
pub const FILTER: &str = "TENANTD_LOG";

/// How long the last words may take.
const FLUSH_LIMIT: Duration = Duration::from_secs(1);

/// Why nothing can be told.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// [`FILTER`] holds no filter.
    #[error("{FILTER} holds no filter")]
    Filter(#[source] ParseError),
    /// The journal's socket cannot be used.
    #[error("cannot reach the journal")]
    Journal(#[source] io::Error),
    /// The thread that writes cannot be started.
    #[error("cannot start the thread that writes to standard error")]
    Thread(#[source] io::Error),
    /// It has been called before.
    #[error("events are told already")]
    Twice(#[source] TryInitError),
}

/// Sees to it, when it is dropped, that the last words are written. Kept until the very end.
#[derive(Debug, Default)]
#[must_use = "the last words are lost without it"]
pub struct LogGuard(Option<NonblockingWriter>);

impl LogGuard {
    /// Waits a moment until all that was said so far is written.
    pub(super) fn flush(&self) {
        if let Some(out) = &self.0 {
            out.flush(FLUSH_LIMIT);
        }
    }
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        self.flush();
    }
}

/// Begins to tell events: those of level info and above, with `verbose` those of level debug too,
/// or what [`FILTER`] says.
///
/// # Errors
/// See [`LogError`].
pub fn init(app: &AppName, place: LogPlace, verbose: bool) -> Result<LogGuard, LogError> {
    let filter = filter(std::env::var(FILTER).ok().as_deref(), verbose)?;
    let registry = tracing_subscriber::registry().with(filter);
    match place {
        LogPlace::Journal => {
            let journal = tracing_journald::layer()
                .map_err(LogError::Journal)?
                .with_syslog_identifier("tenantd".to_owned())
                .with_field_prefix(Some("TENANTD".to_owned()))
                .with_custom_fields([("TENANTD_APP", app.as_str())]);
            registry.with(journal).try_init().map_err(LogError::Twice)?;
            Ok(LogGuard(None))
        }
        LogPlace::Files => {
            let out =
                NonblockingWriter::start("own-log", io::stderr()).map_err(LogError::Thread)?;
            let colours = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            let lines = tracing_subscriber::fmt::layer()
                .compact()
                .with_target(false)
                .with_ansi(colours)
                .with_writer(LogWriter(out.clone()));
            registry.with(lines).try_init().map_err(LogError::Twice)?;
            Ok(LogGuard(Some(out)))
        }
    }
}

fn filter(asked: Option<&str>, verbose: bool) -> Result<EnvFilter, LogError> {
    let usual = if verbose {
        "tenantd=debug"
    } else {
        "tenantd=info"
    };
    EnvFilter::builder()
        .parse(asked.unwrap_or(usual))
        .map_err(LogError::Filter)
}

/// A writer of events; each event is one write.
struct LogWriter(NonblockingWriter);

impl<'a> MakeWriter<'a> for LogWriter {
    type Writer = &'a LogWriter;

    fn make_writer(&'a self) -> &'a LogWriter {
        self
    }
}

impl Write for &LogWriter {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        self.0.push(event, 1, "tenantd", "");
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filter_asked_for_overrides_verbose() {
        assert_eq!(filter(None, false).unwrap().to_string(), "tenantd=info");
        assert_eq!(filter(None, true).unwrap().to_string(), "tenantd=debug");
        assert_eq!(filter(Some("warn"), true).unwrap().to_string(), "warn");
        let error = filter(Some("tenantd=loud"), false).unwrap_err();
        assert_eq!(error.to_string(), "TENANTD_LOG holds no filter");
    }
}
