//! What the supervisor notes of what happens, for the meter, which keeps it: see [`tenantd_host::history`].
//!
//! A thread writes, so that no disk blocks the loop. Each line has a number among those of its tenant: the meter shows
//! a number that is missing as a gap. Without a meter on this host nothing is written. The same thread writes the last
//! failures of tenants, for the next supervisor.

mod ends;
mod last_failure;
mod steps;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use tenantd_api::history::{Entry, Kind, Mark, Noted};
use tenantd_api::wire::asked::{RequestEvent, RequestOutcome};
use tenantd_core::name::{AppName, TenantName};
use tenantd_core::plan::changes;
use tenantd_core::plan::diff::Changes;
use tenantd_host::failures::Failed;
use tenantd_host::history::{ROOT, append};
use tenantd_host::launch::memory::keep_stack_from_children;

use ends::Ends;
pub(crate) use last_failure::last_failure;
pub(crate) use steps::note_step;

/// How many lines may wait for the disk: some for each of a thousand tenants.
const WAITING_MAX: usize = 8 * 1024;

/// How long the end of a supervisor waits for its last lines.
const FLUSH_LIMIT: Duration = Duration::from_secs(1);

/// That of this process.
static HISTORY: OnceLock<History> = OnceLock::new();

struct History {
    app: AppName,
    run: String,
    queue: SyncSender<Work>,
    /// Whether there was a meter when the last line was written.
    is_read: AtomicBool,
    state: Mutex<State>,
}

/// What is known of each tenant.
#[derive(Default)]
struct State {
    /// The number of the last line.
    last: BTreeMap<Option<TenantName>, u64>,
    ends: Ends,
}

enum Work {
    Line(Option<TenantName>, Vec<u8>),
    /// The last failure of a tenant, for the next supervisor; none of one that was removed.
    Failure(TenantName, Option<Failed>),
    Flush(SyncSender<()>),
}

/// Begins to note what happens. Only the first call of a process has an effect.
///
/// # Errors
/// What pthread_create(3) reports.
pub(crate) fn start(app: &AppName) -> io::Result<()> {
    let (queue, work) = sync_channel(WAITING_MAX);
    let begun = Timestamp::now().as_microsecond();
    let history = History {
        app: app.clone(),
        run: format!("{}-{begun}", std::process::id()),
        queue,
        is_read: AtomicBool::new(is_read()),
        state: Mutex::default(),
    };
    if HISTORY.set(history).is_ok() {
        let builder = std::thread::Builder::new().name("history".to_owned());
        builder.spawn(move || {
            keep_stack_from_children();
            write_all(&work);
        })?;
    }
    Ok(())
}

fn is_read() -> bool {
    Path::new(ROOT).exists()
}

fn write_all(work: &Receiver<Work>) {
    let mut has_failed = false;
    for one in work {
        let Some(history) = HISTORY.get() else {
            return;
        };
        match one {
            // The end of the process does not wait any longer.
            Work::Flush(done) => drop(done.send(())),
            Work::Failure(tenant, failed) => last_failure::write(&history.app, &tenant, failed),
            Work::Line(tenant, line) => {
                let is_read = is_read();
                history.is_read.store(is_read, Ordering::Relaxed);
                if !is_read {
                    continue;
                }
                let written = append(&history.app, tenant.as_ref(), &line);
                if let (Err(error), false) = (&written, has_failed) {
                    tracing::error!(
                        "cannot write the history below {ROOT}; it is lost until writing succeeds: {error}"
                    );
                }
                has_failed = written.is_err();
            }
        }
    }
}

/// Whether a meter reads what is noted, as far as is known.
pub(crate) fn is_kept() -> bool {
    HISTORY
        .get()
        .is_some_and(|it| it.is_read.load(Ordering::Relaxed))
}

/// Waits until all lines are written, some time at most.
pub(crate) fn flush() {
    let Some(history) = HISTORY.get() else {
        return;
    };
    let (done, waited) = sync_channel(1);
    if history.queue.try_send(Work::Flush(done)).is_ok() {
        // What is missing then is shown as a gap.
        let _in_time = waited.recv_timeout(FLUSH_LIMIT);
    }
}

/// Notes something of a tenant, or of several.
fn note(tenant: Option<&TenantName>, mark: Option<Mark>, entry: Entry) {
    if let Some(history) = HISTORY.get() {
        let mut state = history.lock();
        history.write(&mut state, tenant, (mark, entry));
    }
}

impl History {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(
        &self,
        state: &mut State,
        tenant: Option<&TenantName>,
        (mark, mut entry): (Option<Mark>, Entry),
    ) {
        entry.app = Some(self.app.clone());
        entry.tenant = tenant.cloned();
        let n = state.last.entry(tenant.cloned()).or_default();
        *n += 1;
        let noted = Noted {
            run: self.run.clone(),
            n: *n,
            mark,
            entry,
        };
        match serde_json::to_vec(&noted) {
            // A queue that is full loses the line, and the meter notices.
            Ok(line) => drop(self.queue.try_send(Work::Line(tenant.cloned(), line))),
            Err(error) => tracing::error!(%error, "cannot write a line of the history"),
        }
    }
}

fn now(kind: Kind, text: &str) -> Entry {
    Entry::new(kind, Timestamp::now(), text)
}

/// Notes that a supervisor began.
pub(crate) fn began(text: &str) {
    note(None, Some(Mark::Began), now(Kind::Supervisor, text));
}

/// Notes that this supervisor ends or hands over, and waits until all is written.
pub(crate) fn ended(text: &str) {
    note(None, Some(Mark::Ended), now(Kind::Supervisor, text));
    flush();
}

/// Notes a request with all tenants that it names, unless it was done and changed nothing.
pub(crate) fn request(event: &RequestEvent, tenants: &[TenantName]) {
    let is_reading = matches!(event.verb.as_str(), "logs" | "history");
    if is_reading && event.outcome == RequestOutcome::Done {
        return;
    }
    let kind = match event.verb.as_str() {
        "pause" | "resume" | "hibernate" => Kind::Pause,
        _ => Kind::Request,
    };
    let mut entry = Entry::new(kind, event.time, &event.verb);
    entry.request = Some(event.clone());
    match tenants {
        [tenant] => note(Some(tenant), None, entry),
        several => {
            entry.tenants = several.to_vec();
            note(None, None, entry);
        }
    }
}

/// Notes the changes of a reload. Returns them.
pub(crate) fn reloaded(changes: Changes) -> Changes {
    let mut entry = now(Kind::Reload, &changes::summary(&changes));
    if changes.is_empty() {
        return changes;
    }
    if changes.shared.is_empty() {
        let changed = changes.tenants.iter().map(|change| &change.tenant);
        entry.tenants = changed.chain(&changes.retried).cloned().collect();
    }
    let text = changes::text(&changes);
    // The summary, and how to apply them, which is done.
    let text = text
        .split("\n\n")
        .filter(|part| !part.contains(&entry.text));
    let text: Vec<&str> = text.flat_map(str::lines).collect();
    note(None, None, entry.with_details(text.into_iter()));
    changes
}

/// Notes what another program of the host changed of the network of a tenant, or of all.
pub(crate) fn drift(tenant: Option<&TenantName>, text: &str) {
    note(tenant, None, now(Kind::Drift, text));
}

/// Notes that a tenant has reached a limit.
pub(crate) fn limit(tenant: &TenantName, text: &str) {
    note(Some(tenant), None, now(Kind::Limit, text));
}

/// A program of this tenant has ended: gives the end a number, before the loop or the log hears of it.
pub(crate) fn begin_end(tenant: &TenantName) -> u64 {
    HISTORY
        .get()
        .map_or(0, |history| history.lock().ends.begin(tenant))
}

/// Notes what a program wrote last before this end, which may be noted already.
pub(crate) fn output(tenant: &TenantName, end: u64, lines: Vec<String>) {
    let Some(history) = HISTORY.get() else {
        return;
    };
    let mut state = history.lock();
    let lines = state.ends.output((tenant, end), lines);
    if let Some(lines) = lines.filter(|lines| !lines.is_empty()) {
        let mut entry = now(Kind::End, "");
        entry.output = lines;
        history.write(&mut state, Some(tenant), (Some(Mark::Output), entry));
    }
}
