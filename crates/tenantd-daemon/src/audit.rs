//! The audit log: every request that changes something, and every request that was refused, with who
//! asked. It is a file of JSON lines, bounded, with one older generation; under systemd it is
//! in the journal too, with fields.
//!
//! What changes something is always written; users that are not root wait for their turn before it is
//! carried out, see [`Audit::turn`]. Refusals are written at a limited rate for each user: a flood of them
//! neither fills the log nor costs the loop more than a comparison. The next line says how many are missing.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::mpsc::UnboundedSender;

use crate::history;
use crate::logs::files::Bounded;
use crate::nonblocking_writer::NonblockingWriter;
pub(crate) use tenantd_api::wire::asked::RequestOutcome as Outcome;

use tenantd_api::wire::asked::RequestEvent;
use tenantd_core::layout;
use tenantd_core::name::{AppName, TenantName};

/// The maximum size of one generation of the file in bytes: some ten thousand requests.
const GENERATION_MAX: u64 = 4 * 1024 * 1024;

/// How many lines of a flood are written at once, and the time in which one more may be. The same for
/// requests that are carried out.
const BURST: u32 = 32;
const PER_LINE: Duration = Duration::from_millis(500);

/// How many users have a bound of their own. The others share one.
const USERS: usize = 256;

/// How many tenants a line names.
const NAMED: usize = 8;

/// The audit log of an application. Clones write to the same.
#[derive(Debug, Clone, Default)]
pub struct Audit {
    log: Option<Arc<Log>>,
    /// Where each line is told to the loop, for its subscribers.
    notes: Option<UnboundedSender<Noted>>,
}

#[derive(Debug)]
struct Log {
    file: NonblockingWriter,
    journal: bool,
    bounds: Mutex<Bounds>,
    turns: Mutex<Bounds>,
}

/// Who asks.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Who {
    /// The process.
    pub pid: i32,
    /// Its user when it connected.
    pub uid: u32,
    /// Its group when it connected.
    pub gid: u32,
    /// The name of its program, which it chooses itself.
    pub comm: Option<String>,
    /// The file of its program.
    pub exe: Option<String>,
    /// The tenant that it is inside of.
    pub inside: Option<String>,
}

/// A request that was noted.
#[derive(Debug)]
pub(crate) struct Noted {
    /// What subscribers get.
    pub(crate) event: RequestEvent,
    /// All tenants that it names.
    pub(crate) tenants: Vec<TenantName>,
}

/// One line.
#[derive(Debug, Serialize)]
struct Line<'a> {
    time: Timestamp,
    outcome: Outcome,
    verb: &'a str,
    /// No tenant: all, or none in particular.
    tenants: &'a [TenantName],
    #[serde(skip_serializing_if = "Option::is_none")]
    more_tenants: Option<usize>,
    #[serde(flatten)]
    who: &'a Who,
    detail: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    missing_before: Option<u64>,
}

impl Audit {
    /// Starts the thread that writes the file. With `journal`, lines go to the journal too.
    ///
    /// # Errors
    /// What pthread_create(3) reports.
    pub fn start(app: &AppName, journal: bool) -> io::Result<Self> {
        let file = Bounded::new(layout::audit_log(app), GENERATION_MAX, lost);
        let file = NonblockingWriter::start("audit", file)?;
        let log = Log {
            file,
            journal,
            bounds: Mutex::default(),
            turns: Mutex::default(),
        };
        Ok(Self {
            log: Some(Arc::new(log)),
            notes: None,
        })
    }

    /// Sends what is noted from now on, by this and later clones.
    pub(crate) fn tell(&mut self, notes: UnboundedSender<Noted>) {
        self.notes = Some(notes);
    }

    /// Whether a line about this outcome may be written now. If not, it is counted.
    pub(crate) fn has_room(&self, outcome: Outcome, uid: u32) -> bool {
        let Some(log) = &self.log else {
            return false;
        };
        match outcome {
            Outcome::Done | Outcome::Failed | Outcome::Unanswered => true,
            Outcome::Refused => {
                let mut bounds = log.bounds.lock().unwrap_or_else(PoisonError::into_inner);
                let has_room = bounds.of(uid, Instant::now()).take(Instant::now());
                if !has_room {
                    bounds.missing += 1;
                }
                has_room
            }
        }
    }

    /// Waits until a request of this user may be carried out, so that a flood of them does not push the
    /// lines of others out of the log.
    pub(crate) async fn turn(&self, uid: u32) {
        while let Some(wait) = self.wait(uid) {
            tokio::time::sleep(wait).await;
        }
    }

    /// How long this user has to wait; `None` if it is its turn.
    fn wait(&self, uid: u32) -> Option<Duration> {
        let log = self.log.as_ref()?;
        let now = Instant::now();
        let mut turns = log.turns.lock().unwrap_or_else(PoisonError::into_inner);
        let bound = turns.of(uid, now);
        (!bound.take(now)).then(|| bound.wait(now))
    }

    /// Writes a line.
    pub(crate) fn write(
        &self,
        who: &Who,
        (verb, tenants): (&str, &[TenantName]),
        (outcome, detail): (Outcome, Option<&str>),
    ) {
        let Some(log) = &self.log else {
            return;
        };
        let missing = {
            let mut bounds = log.bounds.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut bounds.missing)
        };
        let more = tenants.len().saturating_sub(NAMED);
        let line = Line {
            time: Timestamp::now(),
            outcome,
            verb,
            tenants: &tenants[..tenants.len() - more],
            more_tenants: (more > 0).then_some(more),
            who,
            detail,
            missing_before: (missing > 0).then_some(missing),
        };
        match serde_json::to_string(&line) {
            Ok(text) => log
                .file
                .push(format!("{text}\n").as_bytes(), 1, "the audit log", ""),
            Err(error) => tracing::error!(%error, "cannot write a line of the audit log"),
        }
        if log.journal {
            journal(&line);
        }
        let event = event(&line);
        history::request(&event, tenants);
        if let Some(notes) = &self.notes {
            let tenants = tenants.to_vec();
            // The loop ends only with the supervisor.
            let _sent = notes.send(Noted { event, tenants });
        }
    }

    /// Waits until all lines are written, at most this long.
    pub(crate) fn flush(&self, limit: Duration) {
        if let Some(log) = &self.log {
            log.file.flush(limit);
        }
    }
}

/// A line as subscribers get it.
fn event(line: &Line<'_>) -> RequestEvent {
    let who = line.who.clone();
    RequestEvent {
        verb: line.verb.to_owned(),
        tenants: line.tenants.to_vec(),
        more_tenants: line.more_tenants.unwrap_or(0) as u64,
        outcome: line.outcome,
        detail: line.detail.map(str::to_owned),
        pid: who.pid,
        uid: who.uid,
        gid: who.gid,
        comm: who.comm,
        exe: who.exe,
        inside: who.inside,
        missing_before: line.missing_before.unwrap_or(0),
        time: line
            .time
            .round(jiff::Unit::Millisecond)
            .unwrap_or(line.time),
    }
}

/// Writes a line to the journal.
fn journal(line: &Line<'_>) {
    let Line { verb, who, .. } = line;
    let tenants: Vec<&str> = line.tenants.iter().map(TenantName::as_str).collect();
    let (pid, uid, gid) = (who.pid, who.uid, who.gid);
    let outcome = format!("{:?}", line.outcome).to_lowercase();
    tracing::info!(
        audit = *verb,
        outcome = %outcome,
        targets = %tenants.join(" "),
        peer_pid = pid,
        peer_uid = uid,
        peer_gid = gid,
        peer_comm = who.comm.as_deref().unwrap_or_default(),
        peer_exe = who.exe.as_deref().unwrap_or_default(),
        peer_tenant = who.inside.as_deref().unwrap_or_default(),
        detail = line.detail.unwrap_or_default(),
        missing_before = line.missing_before.unwrap_or(0),
        "{verb} of process {pid}, user {uid}: {outcome}"
    );
}

/// How many lines may be written: some at once, and then one after the other.
#[derive(Debug, Default)]
struct Bound {
    used: u32,
    since: Option<Instant>,
}

/// A bound for each user, so that no user uses up what another has.
#[derive(Debug, Default)]
struct Bounds {
    of: BTreeMap<u32, Bound>,
    /// For those that have none of their own.
    others: Bound,
    /// How many lines were not written since the last one.
    missing: u64,
}

impl Bounds {
    fn of(&mut self, uid: u32, now: Instant) -> &mut Bound {
        if !self.of.contains_key(&uid) && self.of.len() >= USERS {
            self.of.retain(|_, bound| !bound.is_idle(now));
        }
        match self.of.contains_key(&uid) || self.of.len() < USERS {
            true => self.of.entry(uid).or_default(),
            false => &mut self.others,
        }
    }
}

impl Bound {
    fn take(&mut self, now: Instant) -> bool {
        self.refill(now);
        let has_room = self.used < BURST;
        if has_room {
            self.used += 1;
        }
        has_room
    }

    /// Whether it is as one that was never used.
    fn is_idle(&mut self, now: Instant) -> bool {
        self.refill(now);
        self.used == 0
    }

    /// How long it takes until there is room.
    fn wait(&self, now: Instant) -> Duration {
        let since = self.since.unwrap_or(now);
        let left = PER_LINE.saturating_sub(now.saturating_duration_since(since));
        left.max(Duration::from_millis(1))
    }

    fn refill(&mut self, now: Instant) {
        let since = *self.since.get_or_insert(now);
        let passed = now.saturating_duration_since(since).as_millis() / PER_LINE.as_millis();
        if passed > 0 {
            self.used = self
                .used
                .saturating_sub(u32::try_from(passed).unwrap_or(u32::MAX));
            self.since = Some(now);
        }
    }
}

fn lost(path: &Path, error: &io::Error) {
    let path = path.display();
    tracing::error!(
        "cannot write the audit log {path}; lines are lost until writing succeeds: {error}"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_bounded() {
        let (mut bound, begun) = (Bound::default(), Instant::now());
        let taken = (0..1000).filter(|_| bound.take(begun)).count();
        assert_eq!(taken, BURST as usize);
        assert!(bound.wait(begun) <= PER_LINE);
        let later = begun + PER_LINE * 3;
        assert_eq!((0..1000).filter(|_| bound.take(later)).count(), 3);
        let much_later = later + PER_LINE * 1000;
        let taken = (0..1000).filter(|_| bound.take(much_later)).count();
        assert_eq!(taken, BURST as usize);
    }

    #[test]
    fn a_flood_of_one_user_costs_another_nothing() {
        let (mut bounds, begun) = (Bounds::default(), Instant::now());
        while bounds.of(1000, begun).take(begun) {}
        assert!(bounds.of(1001, begun).take(begun));
        assert!(!bounds.of(1000, begun).take(begun));
        // Users without a flood are forgotten once there are too many.
        let users = u32::try_from(USERS).unwrap();
        for uid in 2000..2000 + users * 2 {
            bounds.of(uid, begun).take(begun);
        }
        assert_eq!(bounds.of.len(), USERS);
        let later = begun + PER_LINE * 2;
        bounds.of(1, later);
        assert_eq!(bounds.of.keys().copied().collect::<Vec<u32>>(), [1, 1000]);
        assert!(
            (0..10)
                .filter(|_| bounds.of(1000, later).take(later))
                .count()
                <= 2
        );
    }
}
