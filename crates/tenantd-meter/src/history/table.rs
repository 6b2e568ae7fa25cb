//! The tables of the history.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::Of;
use tenantd_api::history::{Entry, Kind};

/// Makes them.
pub(crate) const TABLES: &str = "
    CREATE TABLE history (id INTEGER PRIMARY KEY, app TEXT NOT NULL, tenant TEXT NOT NULL,
        kind TEXT NOT NULL, time_ms INTEGER NOT NULL, until_ms INTEGER NOT NULL,
        times INTEGER NOT NULL, bytes INTEGER NOT NULL, entry TEXT NOT NULL);
    CREATE INDEX history_time ON history (time_ms, id);
    CREATE INDEX history_of ON history (app, tenant, id);
    CREATE TABLE taken (app TEXT NOT NULL, tenant TEXT NOT NULL, run TEXT NOT NULL,
        n INTEGER NOT NULL, PRIMARY KEY (app, tenant, run));
    CREATE TABLE words (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;";

/// What an entry takes beside its text, about.
const OVERHEAD: u64 = 100;

/// How many entries are removed at once.
const REMOVED: i64 = 16;

/// How many runs of supervisors are known of each tenant.
const RUNS: i64 = 8;

/// Among how many of the last entries of a tenant the same is looked for.
const LAST: i64 = 8;

/// How many that say the same stay apart: so the order of a few starts and ends is seen.
const APART: usize = 3;

/// The tables in a transaction.
pub(crate) struct Table<'a> {
    round: &'a Transaction<'a>,
}

/// How large the entries are, of each tenant.
pub(super) fn sizes(connection: &Connection) -> rusqlite::Result<BTreeMap<Of, u64>> {
    let sums = "SELECT app, tenant, SUM(bytes) FROM history GROUP BY app, tenant";
    let mut sums = connection.prepare(sums)?;
    let sizes = sums.query_map([], |row| {
        let bytes: i64 = row.get(2)?;
        Ok(((row.get(0)?, row.get(1)?), bytes.unsigned_abs()))
    })?;
    sizes.collect()
}

/// Removes what happened last before this time.
pub(super) fn remove_old(round: &Transaction<'_>, before_ms: i64) -> rusqlite::Result<()> {
    round.execute("DELETE FROM history WHERE until_ms < ?1", [before_ms])?;
    Ok(())
}

fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

impl<'a> Table<'a> {
    pub(crate) fn new(round: &'a Transaction<'a>) -> Self {
        Self { round }
    }

    pub(super) fn word(&self, name: &str) -> rusqlite::Result<Option<String>> {
        let mut word = self
            .round
            .prepare("SELECT value FROM words WHERE name = ?1")?;
        word.query_row([name], |row| row.get(0)).optional()
    }

    pub(super) fn set_word(&mut self, name: &str, value: &str) -> rusqlite::Result<()> {
        let mut set = self
            .round
            .prepare("INSERT OR REPLACE INTO words VALUES (?1, ?2)")?;
        set.execute([name, value]).map(drop)
    }

    /// The number of the last line of each run that was taken.
    pub(super) fn taken(&self, (app, tenant): &Of) -> rusqlite::Result<BTreeMap<String, u64>> {
        let all = "SELECT run, n FROM taken WHERE app = ?1 AND tenant = ?2";
        let mut all = self.round.prepare(all)?;
        let rows = all.query_map([app, tenant], |row| {
            let n: i64 = row.get(1)?;
            Ok((row.get(0)?, n.unsigned_abs()))
        })?;
        rows.collect()
    }

    pub(super) fn set_taken(
        &mut self,
        (app, tenant): &Of,
        run: &str,
        n: u64,
    ) -> rusqlite::Result<()> {
        let set = "INSERT OR REPLACE INTO taken VALUES (?1, ?2, ?3, ?4)";
        let mut set = self.round.prepare(set)?;
        set.execute(params![app, tenant, run, number(n)])?;
        let forget = "DELETE FROM taken WHERE app = ?1 AND tenant = ?2 AND rowid NOT IN
             (SELECT rowid FROM taken WHERE app = ?1 AND tenant = ?2 ORDER BY rowid DESC LIMIT ?3)";
        let mut forget = self.round.prepare(forget)?;
        forget.execute(params![app, tenant, RUNS]).map(drop)
    }

    /// The last entry of this tenant that says the same and is not older than this, if there are several.
    pub(super) fn same(
        &self,
        (app, tenant): &Of,
        entry: &Entry,
        within_ms: i64,
    ) -> anyhow::Result<Option<i64>> {
        let last = "SELECT id, entry FROM history WHERE app = ?1 AND tenant = ?2
             ORDER BY id DESC LIMIT ?3";
        let mut last = self.round.prepare(last)?;
        let mut rows = last.query(params![app, tenant, LAST])?;
        let mut same = Vec::new();
        while let Some(row) = rows.next()? {
            let (id, text): (i64, String) = (row.get(0)?, row.get(1)?);
            let known: Entry = serde_json::from_str(&text)?;
            let passed = entry.time.as_millisecond() - known.time.as_millisecond();
            if is_same(&known, entry) && (0..=within_ms).contains(&passed) {
                same.push(id);
            }
        }
        Ok(same.first().copied().filter(|_| same.len() >= APART))
    }

    /// Notes that the same has happened again.
    pub(super) fn count(&mut self, id: i64, time: Timestamp) -> anyhow::Result<()> {
        let again = "UPDATE history SET times = times + 1, until_ms = ?2 WHERE id = ?1";
        let mut again = self.round.prepare(again)?;
        again.execute(params![id, time.as_millisecond()])?;
        Ok(())
    }

    /// Adds an entry. Returns how large it is.
    pub(super) fn insert(&mut self, (app, tenant): &Of, entry: &Entry) -> anyhow::Result<u64> {
        let text = serde_json::to_string(entry)?;
        let bytes = text.len() as u64 + OVERHEAD;
        let insert =
            "INSERT INTO history (app, tenant, kind, time_ms, until_ms, times, bytes, entry)
             VALUES (?1, ?2, ?3, ?4, ?5, 1, ?6, ?7)";
        let mut insert = self.round.prepare(insert)?;
        let (kind, time_ms) = (entry.kind.word(), entry.time.as_millisecond());
        let until_ms = entry.until.as_millisecond();
        insert.execute(params![
            app,
            tenant,
            kind,
            time_ms,
            until_ms,
            number(bytes),
            text
        ])?;
        Ok(bytes)
    }

    /// The last end of a tenant.
    pub(super) fn last_end(&self, (app, tenant): &Of) -> anyhow::Result<Option<(i64, Entry)>> {
        let last = "SELECT id, entry FROM history WHERE app = ?1 AND tenant = ?2 AND kind = ?3
             ORDER BY id DESC LIMIT 1";
        let mut last = self.round.prepare(last)?;
        let found = last.query_row([app, tenant, Kind::End.word()], |row| {
            Ok((row.get(0)?, row.get::<_, String>(1)?))
        });
        let Some((id, text)) = found.optional()? else {
            return Ok(None);
        };
        Ok(Some((id, serde_json::from_str(&text)?)))
    }

    /// Replaces an entry by a longer one. Returns by how much it is longer.
    pub(super) fn replace(&mut self, id: i64, entry: &Entry) -> anyhow::Result<u64> {
        let text = serde_json::to_string(entry)?;
        let before = "SELECT bytes FROM history WHERE id = ?1";
        let before: i64 = self.round.query_row(before, [id], |row| row.get(0))?;
        let bytes = text.len() as u64 + OVERHEAD;
        let replace = "UPDATE history SET entry = ?2, bytes = ?3 WHERE id = ?1";
        let mut replace = self.round.prepare(replace)?;
        replace.execute(params![id, text, number(bytes)])?;
        Ok(bytes.saturating_sub(before.unsigned_abs()))
    }

    /// Removes some of the oldest entries of a tenant, and remembers until when. Returns how large they were.
    pub(super) fn remove_oldest(&mut self, (app, tenant): &Of) -> anyhow::Result<u64> {
        let oldest = "SELECT id, bytes, until_ms FROM history WHERE app = ?1 AND tenant = ?2
             ORDER BY id LIMIT ?3";
        let mut oldest = self.round.prepare(oldest)?;
        let rows = oldest.query_map(params![app, tenant, REMOVED], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })?;
        let rows: Vec<(i64, i64, i64)> = rows.collect::<Result<_, _>>()?;
        let mut remove = self.round.prepare("DELETE FROM history WHERE id = ?1")?;
        let mut bytes = 0;
        for (id, size, _) in &rows {
            remove.execute([id])?;
            bytes += size.unsigned_abs();
        }
        if let Some(until_ms) = rows.iter().map(|(_, _, until_ms)| *until_ms).max() {
            self.set_word(&format!("full {app} {tenant}"), &until_ms.to_string())?;
        }
        Ok(bytes)
    }
}

/// Whether both say the same, but for the time.
fn is_same(one: &Entry, other: &Entry) -> bool {
    let said = |entry: &Entry| {
        let request = entry.request.clone()?;
        Some((request.uid, request.outcome, request.detail))
    };
    one.kind == other.kind
        && one.text == other.text
        && one.tenants == other.tenants
        && one.details == other.details
        && said(one) == said(other)
}
