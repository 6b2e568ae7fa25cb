//! The supervisor's own log: where tracing's events go.
//!
//! If standard error is the journal, they go to the journal, with the same fields (`TENANTD_TENANT`
//! and so on) as the tenants' lines. Otherwise they go to standard error and to a file of limited size
//! (see [`kept`]), each through a [`NonblockingWriter`], so that neither a reader which stops reading nor
//! a disk that hangs blocks the loop.

mod kept;

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

/// The environment variable with the log filter, in the syntax of tracing-subscriber's `EnvFilter`.
pub const FILTER: &str = "TENANTD_LOG";

/// How long writing the last lines may take.
const FLUSH_LIMIT: Duration = Duration::from_secs(1);

/// Why logging cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// [`FILTER`] has invalid syntax.
    #[error("{FILTER} is not a valid filter")]
    Filter(#[source] ParseError),
    /// The journal's socket cannot be used.
    #[error("cannot reach the journal")]
    Journal(#[source] io::Error),
    /// A thread that writes cannot be started.
    #[error("cannot start the threads that write the log")]
    Thread(#[source] io::Error),
    /// [`init`] was called before.
    #[error("logging is already set up")]
    Twice(#[source] TryInitError),
}

/// Writes the last log lines when it is dropped. Keep it until the process ends.
#[derive(Debug, Default)]
#[must_use = "the last log lines are lost without it"]
pub struct LogGuard(Vec<NonblockingWriter>);

impl LogGuard {
    /// Waits until all lines logged so far are written, at most [`FLUSH_LIMIT`].
    pub(super) fn flush(&self) {
        for out in &self.0 {
            out.flush(FLUSH_LIMIT);
        }
    }
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        self.flush();
    }
}

/// Sets up logging: events of level info and above, with `verbose` those of level debug too. The
/// variable [`FILTER`] overrides both.
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
            Ok(LogGuard(Vec::new()))
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
            let kept = kept::start(app).map_err(LogError::Thread)?;
            let plain = tracing_subscriber::fmt::layer()
                .compact()
                .with_target(false)
                .with_ansi(false)
                .with_writer(LogWriter(kept.clone()));
            let registry = registry.with(lines).with(plain);
            registry.try_init().map_err(LogError::Twice)?;
            Ok(LogGuard(vec![out, kept]))
        }
    }
}

pub use kept::ended;

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

/// A writer for events. Each event is one write.
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
    fn the_filter_variable_overrides_verbose() {
        assert_eq!(filter(None, false).unwrap().to_string(), "tenantd=info");
        assert_eq!(filter(None, true).unwrap().to_string(), "tenantd=debug");
        assert_eq!(filter(Some("warn"), true).unwrap().to_string(), "warn");
        let error = filter(Some("tenantd=loud"), false).unwrap_err();
        assert_eq!(error.to_string(), "TENANTD_LOG is not a valid filter");
    }
}
