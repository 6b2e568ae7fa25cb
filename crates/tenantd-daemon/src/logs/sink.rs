//! Where lines end up, and what is said when they cannot.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::path::Path;
use std::time::Duration;

use crate::logs::Batch;
use crate::logs::files::Files;
use crate::logs::journal::{self, Journal};
use crate::nonblocking_writer::NonblockingWriter;
use tenantd_core::name::TenantName;

/// How long the last lines may take to reach our own output.
const FLUSH_LIMIT: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Sink {
    way: Way,
    /// How many lines of whom are lost so far, for those that cannot be written at the moment.
    lost: BTreeMap<TenantName, u64>,
}

#[derive(Debug)]
enum Way {
    Journal(Journal),
    Files {
        files: Files,
        shown: NonblockingWriter,
    },
}

impl Sink {
    pub(super) fn journal(journal: Journal) -> Self {
        Self::new(Way::Journal(journal))
    }

    pub(super) fn files(files: Files, own: impl io::Write + Send + 'static) -> io::Result<Self> {
        let shown = NonblockingWriter::start("own-output", own)?;
        Ok(Self::new(Way::Files { files, shown }))
    }

    fn new(way: Way) -> Self {
        let lost = BTreeMap::new();
        Self { way, lost }
    }

    /// Puts a batch where it belongs. What cannot be put is counted and said once.
    pub(super) async fn put(&mut self, batch: Batch) {
        match &mut self.way {
            Way::Journal(journal) => {
                let (sent, result) = journal.send(&batch).await;
                let missed = batch.lines.len() - sent;
                let place = Path::new(journal::SOCKET);
                log_lost(&mut self.lost, &batch.tenant, missed, place, result);
            }
            Way::Files { files, shown } => {
                show(&batch, shown, files);
                let (own, tenant, count) = (files.clone(), batch.tenant.clone(), batch.lines.len());
                let place = files.path(&tenant);
                // A disk may take its time, so that the loop must not write.
                let write = move || own.append(&batch, jiff::Timestamp::now());
                // It cannot panic, and is cancelled only together with the runtime.
                let result = tokio::task::spawn_blocking(write).await.unwrap_or(Ok(()));
                log_lost(&mut self.lost, &tenant, count, &place, result);
            }
        }
    }

    /// How many lines of a tenant have been lost since one was last written.
    #[cfg(test)]
    pub(super) fn lost(&self, tenant: &TenantName) -> u64 {
        self.lost.get(tenant).copied().unwrap_or(0)
    }

    /// Waits a moment for our own output to take what is still on its way.
    pub(super) async fn flush(&mut self) {
        if let Way::Files { shown, .. } = &self.way {
            let shown = shown.clone();
            let flush = move || shown.flush(FLUSH_LIMIT);
            // If the runtime is ending, so are we.
            let _ = tokio::task::spawn_blocking(flush).await;
        }
    }
}

/// Says when a tenant's lines begin to be lost, and how many were when they no longer are.
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
                tracing::warn!(%tenant, "output is logged again; {count} lines were lost");
            }
        }
        Err(error) => {
            if !lost.contains_key(tenant) {
                let place = place.display();
                tracing::warn!(
                    %tenant, %error,
                    "cannot log output to {place}; lines are lost there until it can be"
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
