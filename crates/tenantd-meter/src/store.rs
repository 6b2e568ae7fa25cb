//! The store: an SQLite database, `/var/lib/tenantd/.meter/usage.db`, with what each tenant used on each day, and
//! what was read last.
//!
//! A round is one transaction: what was used and what it was computed from are on disk together, or neither is. The
//! database has a write-ahead log, so that readers never wait for the meter, and a version (`user_version`).

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, bail};
use rusqlite::{Connection, OpenFlags, Transaction};

use tenantd_api::usage::{Amounts, Usage};
use tenantd_core::name::{AppName, TenantName};

use crate::history;
use crate::seen::{Seen, Used};
use crate::sums::{self, Sums};

/// The database.
pub(crate) const PATH: &str = "/var/lib/tenantd/.meter/usage.db";

/// The version of its tables.
const VERSION: i64 = 2;

/// A tenant of an application.
pub(crate) type Who = (AppName, TenantName);

/// The store, open for writing. Only one process has it, see [`crate::collect()`].
pub(crate) struct Store {
    connection: Connection,
    sums: Sums,
    /// When it was made, in milliseconds since 1970.
    pub(crate) began_ms: i64,
}

/// What a round writes of one tenant.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Line<'a> {
    pub(crate) who: &'a Who,
    /// What it used since the last round.
    pub(crate) used: &'a [Used],
    /// What was read of it.
    pub(crate) seen: &'a Seen,
}

pub(crate) fn columns() -> String {
    Amounts::NAMES.join(", ")
}

impl Store {
    /// Opens the store, and makes it if it is missing.
    pub(crate) fn open(path: &Path, now_ms: i64) -> anyhow::Result<Self> {
        let opened = Self::opened(path, now_ms);
        opened.with_context(|| format!("cannot open {}", path.display()))
    }

    fn opened(path: &Path, now_ms: i64) -> anyhow::Result<Self> {
        let mut connection = Connection::open(path)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        // What is removed after a round must not come back after a power failure.
        connection.pragma_update(None, "synchronous", "FULL")?;
        let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        match version {
            0 => make(&mut connection, now_ms)?,
            1 => upgrade(&mut connection)?,
            VERSION => {}
            newer => bail!(
                "it has version {newer}, and this program knows {VERSION}: install the newer one again"
            ),
        }
        let began = "SELECT value FROM facts WHERE name = 'began_ms'";
        let began_ms = connection.query_row(began, [], |row| row.get(0))?;
        Ok(Self {
            connection,
            sums: Sums::default(),
            began_ms,
        })
    }

    /// The database, for the history.
    pub(crate) fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// What was read last of each tenant.
    pub(crate) fn seen(&self) -> anyhow::Result<BTreeMap<Who, Seen>> {
        let mut all = self
            .connection
            .prepare("SELECT app, tenant, state FROM seen")?;
        let mut rows = all.query([])?;
        let mut seen = BTreeMap::new();
        while let Some(row) = rows.next()? {
            let (app, tenant, state): (String, String, String) =
                (row.get(0)?, row.get(1)?, row.get(2)?);
            let state = serde_json::from_str(&state).context("cannot understand a state")?;
            seen.insert((app.parse()?, tenant.parse()?), state);
        }
        Ok(seen)
    }

    /// Writes what tenants used, each part to its day, and what was read last of each: all of it or nothing.
    pub(crate) fn write(&mut self, lines: &[Line<'_>]) -> anyhow::Result<()> {
        self.sums.check(&self.connection)?;
        let (round, new) = written(&mut self.connection, &self.sums, lines)?;
        round.commit()?;
        self.sums.committed(new, lines.len());
        Ok(())
    }
}

fn written<'a>(
    connection: &'a mut Connection,
    sums: &Sums,
    lines: &[Line<'_>],
) -> anyhow::Result<(Transaction<'a>, sums::New)> {
    let round = connection.transaction()?;
    let new = sums::write(&round, sums, lines)?;
    Ok((round, new))
}

fn make(connection: &mut Connection, now_ms: i64) -> anyhow::Result<()> {
    let amounts: Vec<_> = Amounts::NAMES
        .iter()
        .map(|it| format!("{it} INTEGER"))
        .collect();
    let amounts = amounts.join(", ");
    let made = connection.transaction()?;
    made.execute_batch(&format!(
        "CREATE TABLE day (app TEXT NOT NULL, tenant TEXT NOT NULL, day TEXT NOT NULL, {amounts},
             PRIMARY KEY (app, tenant, day)) WITHOUT ROWID;
         CREATE TABLE seen (app TEXT NOT NULL, tenant TEXT NOT NULL, state TEXT NOT NULL,
             PRIMARY KEY (app, tenant)) WITHOUT ROWID;
         CREATE TABLE facts (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
         {}
         PRAGMA user_version = {VERSION};",
        history::TABLES
    ))?;
    made.execute("INSERT INTO facts VALUES ('began_ms', ?1)", [now_ms])?;
    Ok(made.commit()?)
}

/// Adds the tables that version 1 has not.
fn upgrade(connection: &mut Connection) -> anyhow::Result<()> {
    let made = connection.transaction()?;
    let tables = history::TABLES;
    made.execute_batch(&format!("{tables} PRAGMA user_version = {VERSION};"))?;
    Ok(made.commit()?)
}

pub(crate) fn amounts_of(row: &rusqlite::Row<'_>, first: usize) -> rusqlite::Result<Amounts> {
    let value = |at| {
        row.get::<_, Option<i64>>(at)
            .map(|it| it.and_then(|it| u64::try_from(it).ok()))
    };
    let values = (first..first + Amounts::NAMES.len()).map(value);
    Ok(Amounts::of_values(values.collect::<Result<Vec<_>, _>>()?))
}

/// What all tenants used on each of these days, both included, by application, tenant and day.
pub(crate) fn between(path: &Path, from: &str, to: &str) -> anyhow::Result<Vec<Usage>> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    // The usage is the same in version 1.
    if !(1..=VERSION).contains(&version) {
        bail!("it has version {version}, and this program knows {VERSION}");
    }
    let columns = columns();
    let mut all = connection.prepare(&format!(
        "SELECT app, tenant, day, {columns} FROM day WHERE day BETWEEN ?1 AND ?2 ORDER BY app, tenant, day"
    ))?;
    let mut rows = all.query([from, to])?;
    let mut usage = Vec::new();
    while let Some(row) = rows.next()? {
        let (app, tenant): (String, String) = (row.get(0)?, row.get(1)?);
        usage.push(Usage {
            app: app.parse()?,
            tenant: tenant.parse()?,
            period: row.get(2)?,
            amounts: amounts_of(row, 3)?,
        });
    }
    Ok(usage)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(day: i64, cpu: u64) -> Used {
        let ms = day * 24 * 60 * 60 * 1000;
        Used {
            from_ms: ms,
            to_ms: ms,
            amounts: Amounts {
                cpu_usec: Some(cpu),
                ..Amounts::default()
            },
        }
    }

    #[test]
    fn a_round_is_kept_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("usage.db");
        let who = ("wiki".parse().unwrap(), "acme".parse().unwrap());
        let mut store = Store::open(&path, 42).unwrap();
        let used = [used(0, 5), used(1, 7), used(1, 1)];
        let line = Line {
            who: &who,
            used: &used,
            seen: &Seen::default(),
        };
        store.write(&[line]).unwrap();
        let (uncommitted, _) = written(&mut store.connection, &store.sums, &[line]).unwrap();
        drop(uncommitted);
        store.write(&[line]).unwrap();
        // What another program changes is added to.
        let other = Connection::open(&path).unwrap();
        let changed = other.execute(
            "UPDATE day SET cpu_usec = 1000 WHERE day = '1970-01-02'",
            [],
        );
        assert_eq!(changed.unwrap(), 1);
        store.write(&[line]).unwrap();
        drop(store);
        let store = Store::open(&path, 43).unwrap();
        assert_eq!(store.began_ms, 42);
        assert_eq!(store.seen().unwrap().len(), 1);
        let found = between(&path, "1970-01-01", "1970-01-02").unwrap();
        let found: Vec<_> = found
            .iter()
            .map(|it| (it.period.as_str(), it.amounts.cpu_usec))
            .collect();
        assert_eq!(
            found,
            [("1970-01-01", Some(15)), ("1970-01-02", Some(1008))]
        );
        assert_eq!(between(&path, "1970-01-03", "1971-01-01").unwrap(), []);
    }

    #[test]
    fn a_store_of_a_later_version_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("usage.db");
        drop(Store::open(&path, 0).unwrap());
        let connection = Connection::open(&path).unwrap();
        connection.pragma_update(None, "user_version", 3).unwrap();
        let error = Store::open(&path, 0).err().unwrap();
        assert!(format!("{error:#}").contains("version 3"), "{error:#}");
        assert!(between(&path, "0", "9").is_err());
    }
}
