//! Writes lines to the journal or to files, and logs when they cannot be written.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use crate::logs::files::Files;
use crate::logs::journal::{self, Journal};
use crate::logs::refused::Search;
use crate::logs::{Batch, Stream};
use crate::nonblocking_writer::NonblockingWriter;
use tenantd_api::wire::LogPlace;
use tenantd_core::name::TenantName;

/// How long writing the last lines to standard error may take.
const FLUSH_LIMIT: Duration = Duration::from_secs(1);

/// Where the tenants' output goes: to the journal if standard error is the journal, otherwise to
/// files.
#[must_use]
pub fn place() -> LogPlace {
    if journal::is_ours() {
        LogPlace::Journal
    } else {
        LogPlace::Files
    }
}

#[derive(Debug)]
pub(super) struct Sink {
    destination: Destination,
    /// The number of lost lines of each tenant whose lines cannot be written at the moment.
    lost: BTreeMap<TenantName, u64>,
    search: Rc<Search>,
}

#[derive(Debug)]
enum Destination {
    Journal(Journal),
    Files {
        files: Files,
        shown: NonblockingWriter,
    },
}

impl Sink {
    pub(super) fn journal(journal: Journal) -> Self {
        Self::new(Destination::Journal(journal))
    }

    pub(super) fn files(files: Files, own: impl io::Write + Send + 'static) -> io::Result<Self> {
        let shown = NonblockingWriter::start("own-output", own)?;
        Ok(Self::new(Destination::Files { files, shown }))
    }

    fn new(destination: Destination) -> Self {
        Self {
            destination,
            lost: BTreeMap::new(),
            search: Rc::default(),
        }
    }

    /// The search in all lines that are written.
    pub(super) fn search(&self) -> Rc<Search> {
        Rc::clone(&self.search)
    }

    /// Writes a batch. Lines that cannot be written are counted, and that is logged once.
    pub(super) async fn put(&mut self, batch: Batch) {
        self.put_all(vec![batch]).await;
    }

    /// Writes batches, as [`Sink::put`] each, in their order.
    pub(super) async fn put_all(&mut self, batches: Vec<Batch>) {
        if batches.is_empty() {
            return;
        }
        self.search.search(&batches);
        match &mut self.destination {
            Destination::Journal(journal) => {
                for batch in batches {
                    let (sent, result) = journal.send(&batch).await;
                    let missed = batch.lines.len() - sent;
                    let place = Path::new(journal::SOCKET);
                    log_lost(&mut self.lost, &batch.tenant, missed, place, result);
                }
            }
            Destination::Files { files, shown } => {
                // What a mark says is in the supervisor's own log already.
                for batch in batches.iter().filter(|batch| batch.stream != Stream::Mark) {
                    show(batch, shown, files);
                }
                let own = files.clone();
                // Writing to a disk may block, so another thread does it.
                let write = move || {
                    let append = |batch: Batch| {
                        let result = own.append(&batch, jiff::Timestamp::now());
                        (batch.tenant, batch.lines.len(), result)
                    };
                    batches.into_iter().map(append).collect::<Vec<_>>()
                };
                // It cannot panic, and is cancelled only together with the runtime.
                let results = tokio::task::spawn_blocking(write).await.unwrap_or_default();
                for (tenant, count, result) in results {
                    log_lost(&mut self.lost, &tenant, count, &files.path(&tenant), result);
                }
            }
        }
    }

    /// The number of lines of a tenant that were lost since one was last written.
    #[cfg(test)]
    pub(super) fn lost(&self, tenant: &TenantName) -> u64 {
        self.lost.get(tenant).copied().unwrap_or(0)
    }

    /// Waits until the lines for standard error are written, at most [`FLUSH_LIMIT`].
    pub(super) async fn flush(&mut self) {
        if let Destination::Files { shown, .. } = &self.destination {
            let shown = shown.clone();
            let flush = move || shown.flush(FLUSH_LIMIT);
            // An error means that the runtime is ending.
            let _ = tokio::task::spawn_blocking(flush).await;
        }
    }
}

/// Logs when lines of a tenant begin to be lost, and how many were lost when writing succeeds
/// again.
fn log_lost(
    lost: &mut BTreeMap<TenantName, u64>,
    tenant: &TenantName,
    count: usize,
    place: &Path,
    result: io::Result<()>,
) {
    match result {
        Ok(()) => {
            if let Some(count) = lost.remove(tenant) {
                tracing::warn!(%tenant, "writing output again; {count} lines were lost");
            }
        }
        Err(error) => {
            if !lost.contains_key(tenant) {
                let place = place.display();
                tracing::warn!(
                    %tenant, %error,
                    "cannot write output to {place}; lines are lost until writing succeeds"
                );
            }
            *lost.entry(tenant.clone()).or_default() += count as u64;
        }
    }
}

fn show(batch: &Batch, shown: &NonblockingWriter, files: &Files) {
    let Batch {
        tenant,
        stream,
        lines,
    } = batch;
    let mut text = String::new();
    for line in lines {
        // Writing into a String cannot fail.
        let _ = writeln!(text, "{tenant} {stream} | {}", line.shown());
    }
    let elsewhere = format!("; they are in {}", files.path(tenant).display());
    shown.push(
        text.as_bytes(),
        lines.len() as u64,
        tenant.as_str(),
        &elsewhere,
    );
}
