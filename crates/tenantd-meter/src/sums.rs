//! What each tenant used on its last day, as the database has it: so that a round need not read what it adds to.
//!
//! Only one process writes these tables. If another one does nevertheless, an operator with sqlite3 say, `data_version`
//! of the database tells, and the sums are read again.

use std::collections::BTreeMap;

use anyhow::Context;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Statement, Transaction, params};

use tenantd_api::usage::Amounts;

use crate::seen::Used;
use crate::store::{Line, Who, amounts_of, columns};

/// How many more tenants than those of a round may have sums in memory.
const MORE_MAX: usize = 1000;

/// The last day of each tenant, and its sum.
#[derive(Debug, Default)]
pub(crate) struct Sums {
    last: BTreeMap<Who, (i64, Amounts)>,
    /// `data_version` of the database.
    version: Option<i64>,
}

/// The sums of a transaction that is not committed yet.
pub(crate) type New = Vec<(Who, (i64, Amounts))>;

impl Sums {
    /// Forgets what another process may have changed.
    pub(crate) fn check(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let version: i64 = connection.pragma_query_value(None, "data_version", |row| row.get(0))?;
        if self.version.replace(version) != Some(version) {
            self.last.clear();
        }
        Ok(())
    }

    /// Takes in the sums that were committed, in a round with so many tenants.
    pub(crate) fn committed(&mut self, new: New, tenants: usize) {
        if self.last.len() > tenants + MORE_MAX {
            self.last.clear();
        }
        self.last.extend(new);
    }
}

/// Writes what tenants used, each part to its day, and what was read last of each. Returns the new sums.
pub(crate) fn write(
    round: &Transaction<'_>,
    sums: &Sums,
    lines: &[Line<'_>],
) -> anyhow::Result<New> {
    let mut seen = Seen::prepare(round)?;
    let mut days = Days::prepare(round, sums)?;
    let mut new = Vec::with_capacity(lines.len());
    let mut state = Vec::new();
    for line in lines {
        if let Some(sum) = days.add(line.who, line.used)? {
            new.push((line.who.clone(), sum));
        }
        state.clear();
        serde_json::to_writer(&mut state, line.seen)?;
        seen.put(line.who, std::str::from_utf8(&state)?)?;
    }
    Ok(new)
}

/// The statements that keep what was read last. Most tenants have a row already.
struct Seen<'a> {
    update: Statement<'a>,
    insert: Statement<'a>,
}

impl<'a> Seen<'a> {
    fn prepare(round: &'a Transaction<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            update: round.prepare("UPDATE seen SET state = ?3 WHERE app = ?1 AND tenant = ?2")?,
            insert: round.prepare("INSERT INTO seen VALUES (?1, ?2, ?3)")?,
        })
    }

    fn put(&mut self, (app, tenant): &Who, state: &str) -> rusqlite::Result<()> {
        let row = params![app.as_str(), tenant.as_str(), state];
        if self.update.execute(row)? == 0 {
            self.insert.execute(row)?;
        }
        Ok(())
    }
}

/// The statements that add to a day.
struct Days<'a> {
    sums: &'a Sums,
    get: Statement<'a>,
    update: Statement<'a>,
    insert: Statement<'a>,
    /// The last day that was written as text.
    text: (i64, String),
}

impl<'a> Days<'a> {
    fn prepare(round: &'a Transaction<'_>, sums: &'a Sums) -> rusqlite::Result<Self> {
        let columns = columns();
        let of_day = "WHERE app = ?1 AND tenant = ?2 AND day = ?3";
        let places = |each: &dyn Fn(&str, usize) -> String| {
            let names = Amounts::NAMES.iter().zip(4..);
            let places = names.map(|(name, at)| each(name, at));
            places.collect::<Vec<_>>().join(", ")
        };
        let set = places(&|name, at| format!("{name} = ?{at}"));
        let values = places(&|_, at| format!("?{at}"));
        Ok(Self {
            sums,
            get: round.prepare(&format!("SELECT {columns} FROM day {of_day}"))?,
            update: round.prepare(&format!("UPDATE day SET {set} {of_day}"))?,
            insert: round.prepare(&format!(
                "INSERT INTO day (app, tenant, day, {columns}) VALUES (?1, ?2, ?3, {values})"
            ))?,
            text: (i64::MIN, String::new()),
        })
    }

    /// Adds what a tenant used. Returns its last day and the sum of that.
    fn add(&mut self, who: &Who, used: &[Used]) -> anyhow::Result<Option<(i64, Amounts)>> {
        // Almost always there is one.
        let mut days: Vec<(i64, Amounts)> = Vec::with_capacity(1);
        let mut add =
            |day: i64, amounts: &Amounts| match days.iter_mut().find(|(known, _)| *known == day) {
                Some((_, sum)) => sum.add(amounts),
                None => days.push((day, *amounts)),
            };
        for used in used {
            match used.day() {
                Some(day) => add(day, &used.amounts),
                None => used.days().iter().for_each(|(day, part)| add(*day, part)),
            }
        }
        let mut last = None;
        for (day, amounts) in days {
            let sum = self.add_to(who, day, &amounts)?;
            if last.is_none_or(|(known, _)| known < day) {
                last = Some((day, sum));
            }
        }
        Ok(last)
    }

    fn add_to(&mut self, who: &Who, day: i64, amounts: &Amounts) -> anyhow::Result<Amounts> {
        if self.text.0 != day {
            self.text = (day, date(day)?);
        }
        let (app, tenant, text) = (who.0.as_str(), who.1.as_str(), self.text.1.as_str());
        let known = match self.sums.last.get(who) {
            Some((known, sum)) if *known == day => Some(*sum),
            Some(_) | None => {
                let key = params![app, tenant, text];
                let found = self.get.query_row(key, |row| amounts_of(row, 0));
                found.optional()?
            }
        };
        let mut sum = known.unwrap_or_default();
        sum.add(amounts);
        for statement in [&mut self.update, &mut self.insert] {
            for (at, key) in (1..).zip([app, tenant, text]) {
                statement.raw_bind_parameter(at, key)?;
            }
            for (at, value) in (4..).zip(sum.values()) {
                let value = value.map(|it| i64::try_from(it).unwrap_or(i64::MAX));
                statement.raw_bind_parameter(at, value.map_or(Value::Null, Value::Integer))?;
            }
            if statement.raw_execute()? > 0 {
                break;
            }
        }
        Ok(sum)
    }
}

/// The date of a day since 1970, in UTC.
fn date(day: i64) -> anyhow::Result<String> {
    let second = day.checked_mul(24 * 60 * 60).context("no such day")?;
    let time = Timestamp::from_second(second)?;
    Ok(time.to_zoned(TimeZone::UTC).date().to_string())
}
