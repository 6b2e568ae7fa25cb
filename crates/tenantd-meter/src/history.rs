//! The history: what happened, from the files in which supervisors note it, bounded by age and by size.
//!
//! What is the same more than three times within an hour is one entry, with a count. If all entries together are too large, the tenant with
//! the most loses its oldest, so that no tenant pushes out those of another. What is missing is an entry too.

mod query;
mod table;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use anyhow::Context;
use jiff::Timestamp;
use rusqlite::{Connection, Transaction};

use tenantd_api::history::{Entry, Kind, Mark, Noted};
use tenantd_core::name::{AppName, TenantName};
use tenantd_host::history::{Held, Waiting, waiting};

pub(crate) use query::find;
pub(crate) use table::{TABLES, Table};

/// How many files one transaction takes: each is locked until its end.
const FILES_MAX: usize = 256;

/// How long what is the same is one entry, in milliseconds.
const SAME_MS: i64 = 60 * 60 * 1000;

/// How often old entries are removed, in milliseconds.
const REMOVE_MS: i64 = 60 * 60 * 1000;

/// What is kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// How long, in milliseconds.
    pub(crate) age_ms: i64,
    /// How many bytes, as they are counted for each entry.
    pub(crate) bytes: u64,
}

/// 90 days, and 64 MiB.
pub(crate) const BOUNDS: Bounds = Bounds {
    age_ms: 90 * 24 * 60 * 60 * 1000,
    bytes: 64 << 20,
};

/// Whose entries: the texts of an application and a tenant. Both are empty for the host, and the tenant is for what
/// concerns several.
pub(crate) type Of = (String, String);

/// The history, open for writing.
pub(crate) struct History {
    bounds: Bounds,
    /// How large the entries are.
    sizes: BTreeMap<Of, u64>,
    removed_ms: i64,
}

impl History {
    /// Reads how large it is, and notes that the host was booted if that is new.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) fn open(
        connection: &mut Connection,
        bounds: Bounds,
        (boot, booted): (&str, Timestamp),
    ) -> anyhow::Result<Self> {
        let mut history = Self {
            bounds,
            sizes: table::sizes(connection)?,
            removed_ms: i64::MIN,
        };
        let round = connection.transaction()?;
        let mut table = Table::new(&round);
        let before = table.word("boot")?;
        if before.as_deref() != Some(boot) {
            table.set_word("boot", boot)?;
            if before.is_some() {
                let entry = Entry::new(Kind::Host, booted, "the host was booted");
                history.insert(&mut table, &entry)?;
            }
        }
        round.commit()?;
        Ok(history)
    }

    /// Takes what supervisors have noted since the last time.
    ///
    /// # Errors
    /// Those of the store and of the files.
    pub(crate) fn round(&mut self, connection: &mut Connection) -> anyhow::Result<()> {
        let waiting = waiting().context("cannot list what supervisors have noted")?;
        let now_ms = Timestamp::now().as_millisecond();
        let is_due = now_ms.saturating_sub(self.removed_ms) >= REMOVE_MS;
        if waiting.is_empty() && !is_due {
            return Ok(());
        }
        for files in waiting.chunks(FILES_MAX) {
            if let Err(error) = self.take(connection, files) {
                // Nothing of these files is in the store.
                self.sizes = table::sizes(connection)?;
                return Err(error);
            }
        }
        if is_due {
            self.removed_ms = now_ms;
            let round = connection.transaction()?;
            table::remove_old(&round, now_ms.saturating_sub(self.bounds.age_ms))?;
            self.sizes = table::sizes(&round)?;
            round.commit()?;
        }
        Ok(())
    }

    /// Takes these files, all or none.
    fn take(&mut self, connection: &mut Connection, files: &[Waiting]) -> anyhow::Result<()> {
        let round = connection.transaction()?;
        let mut held = Vec::new();
        for file in files {
            let taken = file.take();
            let taken = taken.with_context(|| format!("cannot read {}", name(file)))?;
            if let Some(taken) = taken {
                self.file(&round, (&file.app, file.tenant.as_ref()), &taken.text)?;
                held.push(taken);
            }
        }
        round.commit()?;
        for one in held {
            Held::forget(one).context("cannot remove what was read of the history")?;
        }
        Ok(())
    }

    /// Takes the lines of one file.
    fn file(
        &mut self,
        round: &Transaction<'_>,
        (app, tenant): (&AppName, Option<&TenantName>),
        text: &str,
    ) -> anyhow::Result<()> {
        let of = (
            app.to_string(),
            tenant.map_or_else(String::new, ToString::to_string),
        );
        let mut table = Table::new(round);
        let mut taken = table.taken(&of)?;
        let is_known = !taken.is_empty();
        let mut new = BTreeMap::new();
        for line in text.lines().filter(|line| !line.is_empty()) {
            // Half a line is what a host leaves that lost power. Its number is missing then.
            let Ok(Noted {
                run,
                n,
                mark,
                mut entry,
            }) = serde_json::from_str(line)
            else {
                continue;
            };
            (entry.app, entry.tenant) = (Some(app.clone()), tenant.cloned());
            let last = taken.get(&run).copied();
            // Read again, after a meter that was killed before it removed the file.
            if last.is_some_and(|last| n <= last) {
                continue;
            }
            let missing = match last {
                Some(last) => n - last - 1,
                None if is_known || !taken.is_empty() => n - 1,
                // The supervisor counted before the first meter ran.
                None => 0,
            };
            if missing > 0 {
                self.insert(&mut table, &gap(&entry, missing))?;
            }
            taken.insert(run.clone(), n);
            new.insert(run, n);
            self.line(&mut table, &of, mark, &entry)?;
        }
        for (run, n) in new {
            table.set_taken(&of, &run, n)?;
        }
        Ok(())
    }

    fn line(
        &mut self,
        table: &mut Table<'_>,
        of: &Of,
        mark: Option<Mark>,
        entry: &Entry,
    ) -> anyhow::Result<()> {
        let word = format!("supervisor {}", of.0);
        match mark {
            Some(Mark::Output) => return self.output(table, of, entry),
            Some(Mark::Began) => {
                if table.word(&word)?.as_deref() == Some("runs") {
                    let text = "the supervisor before this one was killed, or the host with it";
                    let mut died = Entry::new(Kind::Supervisor, entry.time, text);
                    died.app.clone_from(&entry.app);
                    self.insert(table, &died)?;
                }
                table.set_word(&word, "runs")?;
            }
            Some(Mark::Ended) => table.set_word(&word, "ended")?,
            None => {}
        }
        match table.same(of, entry, SAME_MS)? {
            Some(id) => table.count(id, entry.time),
            None => self.insert(table, entry),
        }
    }

    /// Adds the output to the end that it belongs to.
    fn output(&mut self, table: &mut Table<'_>, of: &Of, entry: &Entry) -> anyhow::Result<()> {
        let Some((id, mut end)) = table.last_end(of)? else {
            return Ok(());
        };
        if end.output.is_empty() {
            end.output.clone_from(&entry.output);
            let more = table.replace(id, &end)?;
            *self.sizes.entry(of.clone()).or_default() += more;
        }
        Ok(())
    }

    /// Adds an entry, and removes others until all are within the bounds.
    fn insert(&mut self, table: &mut Table<'_>, entry: &Entry) -> anyhow::Result<()> {
        let of = of(entry);
        *self.sizes.entry(of.clone()).or_default() += table.insert(&of, entry)?;
        while self.sizes.values().sum::<u64>() > self.bounds.bytes {
            let largest = self.sizes.iter().max_by_key(|(_, bytes)| **bytes);
            let Some(largest) = largest.map(|(of, _)| of.clone()) else {
                break;
            };
            let removed = table.remove_oldest(&largest)?;
            let left = self.sizes.entry(largest).or_default();
            *left = left.saturating_sub(removed);
            if removed == 0 {
                break;
            }
        }
        Ok(())
    }
}

fn name(file: &Waiting) -> String {
    match &file.tenant {
        Some(tenant) => format!("what is noted of {tenant} in {}", file.app),
        None => format!("what is noted of {}", file.app),
    }
}

fn of(entry: &Entry) -> Of {
    let app = entry
        .app
        .as_ref()
        .map_or_else(String::new, ToString::to_string);
    let tenant = entry
        .tenant
        .as_ref()
        .map_or_else(String::new, ToString::to_string);
    (app, tenant)
}

fn gap(before: &Entry, missing: u64) -> Entry {
    let text = format!(
        "{missing} entries are missing before this time: more was noted than is kept until the meter reads it, or it could not be written"
    );
    let mut gap = Entry::new(Kind::Gap, before.time, &text);
    gap.app.clone_from(&before.app);
    gap.tenant.clone_from(&before.tenant);
    gap
}
