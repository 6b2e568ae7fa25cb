//! Finds entries, for a reader.

use std::path::Path;

use anyhow::bail;
use jiff::Timestamp;
use rusqlite::{Connection, OpenFlags, params};

use super::Of;
use tenantd_api::client::pattern::Pattern;
use tenantd_api::history::{Asked, Entry, Kind};

/// The first version of the store that has a history.
const SINCE_VERSION: i64 = 2;

/// The entries that are asked for, the oldest first.
///
/// # Errors
/// Those of the store.
pub(crate) fn find(path: &Path, asked: &Asked) -> anyhow::Result<Vec<Entry>> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version < SINCE_VERSION {
        bail!(
            "the meter that wrote it is older and kept no history: restart it with `systemctl restart tenantd-meter`"
        );
    }
    let names = asked.names.iter().map(|name| name.parse());
    let names: Vec<Pattern> = names.collect::<Result<_, _>>()?;
    let mut found = entries(&connection, asked, &names)?;
    found.extend(removed(&connection, asked, &names)?);
    // Those of one moment stay in their order.
    found.reverse();
    found.sort_by_key(|entry| entry.time);
    Ok(found)
}

/// The entries of the store, the newest first.
fn entries(
    connection: &Connection,
    asked: &Asked,
    names: &[Pattern],
) -> anyhow::Result<Vec<Entry>> {
    let mut all = connection.prepare(
        "SELECT entry, times, until_ms FROM history
         WHERE until_ms >= ?1 AND time_ms <= ?2 AND (?3 = '' OR app = ?3)
         ORDER BY time_ms DESC, id DESC",
    )?;
    let app = asked
        .app
        .as_ref()
        .map_or_else(String::new, ToString::to_string);
    let since_ms = asked.since_ms.unwrap_or(i64::MIN);
    let until_ms = asked.until_ms.unwrap_or(i64::MAX);
    let mut rows = all.query(params![since_ms, until_ms, app])?;
    let most = asked.lines.map_or(usize::MAX, |lines| {
        usize::try_from(lines).unwrap_or(usize::MAX)
    });
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        if found.len() >= most {
            break;
        }
        let (text, times, until_ms): (String, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let mut entry: Entry = serde_json::from_str(&text)?;
        entry.times = times.unsigned_abs();
        entry.until = Timestamp::from_millisecond(until_ms)?;
        if is_meant(&entry, asked, names) {
            if asked.is_restricted {
                // They may be about other tenants, or contain secrets.
                entry.details.clear();
                entry.tenants.clear();
                entry.request = None;
            }
            found.push(entry);
        }
    }
    Ok(found)
}

fn is_meant(entry: &Entry, asked: &Asked, names: &[Pattern]) -> bool {
    if !asked.kinds.is_empty() && !asked.kinds.contains(&entry.kind) {
        return false;
    }
    if asked.is_restricted {
        let is_of_tenant = entry.tenant.is_some();
        match entry.kind {
            Kind::Request => return false,
            Kind::Start | Kind::End | Kind::Limit | Kind::Pause | Kind::Drift if is_of_tenant => {}
            Kind::Gap if is_of_tenant => {}
            // It is about all of them.
            Kind::Supervisor | Kind::Host => return true,
            Kind::Reload if !entry.tenants.is_empty() => {}
            Kind::Start | Kind::End | Kind::Limit | Kind::Pause | Kind::Drift | Kind::Gap => {
                return false;
            }
            Kind::Reload => return true,
        }
    }
    let is_named = |name| names.iter().any(|pattern| pattern.matches(name));
    match &entry.tenant {
        _ if names.is_empty() => true,
        Some(tenant) => is_named(tenant),
        None => entry.tenants.is_empty() || entry.tenants.iter().any(is_named),
    }
}

/// A gap for each tenant whose oldest entries were removed.
fn removed(
    connection: &Connection,
    asked: &Asked,
    names: &[Pattern],
) -> anyhow::Result<Vec<Entry>> {
    let mut all = connection.prepare("SELECT name, value FROM words WHERE name LIKE 'full %'")?;
    let mut rows = all.query([])?;
    let mut gaps = Vec::new();
    while let Some(row) = rows.next()? {
        let (name, until_ms): (String, String) = (row.get(0)?, row.get(1)?);
        let words: Vec<&str> = name.split(' ').collect();
        let [_, app, tenant] = words[..] else {
            continue;
        };
        let of: Of = (app.to_owned(), tenant.to_owned());
        let until_ms: i64 = until_ms.parse()?;
        let time = Timestamp::from_millisecond(until_ms)?;
        let text = "entries until this time were removed: the history is full";
        let mut gap = Entry::new(Kind::Gap, time, text);
        gap.app = of.0.parse().ok();
        gap.tenant = of.1.parse().ok();
        let is_of_app = asked.app.is_none() || asked.app == gap.app;
        let is_in_time = asked.since_ms.is_none_or(|since_ms| until_ms >= since_ms);
        if is_of_app && is_in_time && is_meant(&gap, asked, names) {
            gaps.push(gap);
        }
    }
    Ok(gaps)
}
