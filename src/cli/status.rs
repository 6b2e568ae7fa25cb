//! `status`: a table for people, JSON for programs, and an exit code for both.

mod failed;
mod host;
mod json;
mod limits;
mod program;
pub(super) mod table;
pub(super) mod view;

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::path::Path;

use jiff::Timestamp;
use rustix::termios::tcgetwinsize;

use self::table::{Known, Lines, is_given_up};
use self::view::View;
use super::last_line::{last_lines, last_lines_before};
use super::{End, learned, outcome, select};
use tenantd_api::client::pattern::Pattern;
use tenantd_api::client::survey::{PATIENCE, ask};
use tenantd_api::wire::{AppStatus, Program, StateWord, TenantStatus};
use tenantd_core::name::{AppName, TenantName};

pub(super) use self::table::{or_dash, table, want};

/// For how many tenants the last line of standard error is looked up.
const LAST_LINES_MAX: usize = 20;

/// How many last lines of standard error are shown of a tenant that is shown alone.
const LAST_LINES_OF_ONE: usize = 5;

/// How many tenants a table has that is not worth a hint how to shorten it.
const SHORT: usize = 20;

pub(super) fn status(
    app: &AppName,
    names: &[Pattern],
    view: &View,
    json: bool,
) -> anyhow::Result<End> {
    let status = super::converse(async {
        Ok(select::status(names, async |names| ask(app, names, PATIENCE).await).await?)
    })?;
    let status = select::chosen(status, names)?;
    let good = status.tenants.iter().all(TenantStatus::is_as_wanted);
    let good = good && status.network.drift.is_none();
    if json {
        let shown = json::Whole::new(view.apply(status), !names.is_empty());
        // It has no colours, and a line of it is short: of all tenants it is written at once.
        let mut text = serde_json::to_vec_pretty(&shown).map_err(io::Error::from)?;
        text.push(b'\n');
        io::stdout().write_all(&text)?;
    } else {
        let mut out = anstream::stdout().lock();
        show(&mut out, &status, view, Timestamp::now())?;
    }
    Ok(if good { End::Done } else { End::NotAsWanted })
}

/// The table, the summary, and the commands to type next.
pub(super) fn show(
    out: &mut impl Write,
    status: &AppStatus,
    view: &View,
    now: Timestamp,
) -> io::Result<()> {
    let shown = view.of(status);
    let is_failed = |t: &&TenantStatus| {
        let is_ended = matches!(t.state, StateWord::Failed | StateWord::Waiting);
        is_ended || table::has_failed_before(t)
    };
    let failed = shown.tenants.iter().filter(is_failed).take(LAST_LINES_MAX);
    let most = match shown.tenants.len() {
        1 => LAST_LINES_OF_ONE,
        _ => 1,
    };
    let last_lines: BTreeMap<TenantName, Vec<String>> = failed
        .filter(|tenant| outcome::has_run(tenant))
        .map(|t| {
            let lines = last_lines(&status.app, &t.name, status.logs, most);
            (t.name.clone(), lines)
        })
        .collect();
    let known = Known {
        last_lines,
        missing: missing(&shown),
        alone: match shown.tenants.as_slice() {
            [one] if !view.leaves_out() => Some(said_before(status, one)),
            _ => None,
        },
        bounds: match shown.tenants.as_slice() {
            [one] if !view.leaves_out() => {
                limits::of(&status.app, one).map(|it| (one.name.clone(), it))
            }
            _ => None,
        }
        .into_iter()
        .collect(),
    };
    write(out, status, view, now, width(), known)
}

/// What the program of a tenant wrote last to its standard error before it failed, if it runs again.
fn said_before(status: &AppStatus, tenant: &TenantStatus) -> Vec<String> {
    let time = tenant.last_failure.as_ref().and_then(|it| it.time);
    match time.filter(|_| failed::is_over(tenant)) {
        Some(time) => last_lines_before(
            &status.app,
            &tenant.name,
            status.logs,
            (LAST_LINES_OF_ONE, time),
        ),
        None => Vec::new(),
    }
}

/// What `learn` saw the programs of tenants write to that were given up for another reason than one that
/// is known already.
fn missing(status: &AppStatus) -> BTreeMap<TenantName, Vec<String>> {
    let tenants = status.tenants.iter();
    let unexplained = tenants.filter(|tenant| is_given_up(tenant) && tenant.refused.is_empty());
    let names: Vec<&TenantName> = unexplained.map(|tenant| &tenant.name).collect();
    match &status.manifest {
        Some(manifest) if !names.is_empty() => learned::missing_of(Path::new(manifest), &names),
        Some(_) | None => BTreeMap::new(),
    }
}

fn write(
    out: &mut impl Write,
    status: &AppStatus,
    view: &View,
    now: Timestamp,
    width: Option<usize>,
    known: Known,
) -> io::Result<()> {
    let shown = view.of(status);
    table::write(out, &shown, now, width, &Lines::All(known))?;
    for line in end(status, shown.tenants.len(), view) {
        writeln!(out, "{line}")?;
    }
    Ok(())
}

/// The lines below the table: the summary, and the commands to type next.
fn end(status: &AppStatus, shown: usize, view: &View) -> Vec<String> {
    let mut lines: Vec<String> = summary(status).into_iter().collect();
    let is_bad = |tenant: &&TenantStatus| !tenant.is_as_wanted();
    let bad = status.tenants.iter().filter(is_bad).count();
    if bad > 0 && shown > SHORT && !view.failed {
        let only = super::typed(&status.app, "status --failed");
        lines.push(format!("`{only}` shows only those that are not as wanted."));
    }
    lines.extend(older(status));
    lines.extend(host::end(status));
    lines
}

/// `200 tenants: 195 up, 3 failed, 2 waiting`. One tenant has none.
pub(super) fn summary(status: &AppStatus) -> Option<String> {
    if status.tenants.len() < 2 {
        return None;
    }
    let mut counts: BTreeMap<(u8, &str), usize> = BTreeMap::new();
    for tenant in &status.tenants {
        let kind = match (tenant.state, tenant.ready) {
            (StateWord::Up, Some(true)) => (0, "up"),
            (StateWord::Up, Some(false) | None) => (1, "not ready"),
            (state, _) => (2 + view::urgency(state), state.word()),
        };
        *counts.entry(kind).or_default() += 1;
    }
    let counts = counts
        .iter()
        .map(|((_, word), count)| format!("{count} {word}"));
    let counts: Vec<String> = counts.collect();
    let tenants = outcome::tenants(status.tenants.len());
    Some(format!("{tenants}: {}", counts.join(", ")))
}

/// How many tenants run an older program than the one on disk, and the command that restarts them.
pub(super) fn older(status: &AppStatus) -> Option<String> {
    let is_older = |tenant: &&TenantStatus| tenant.program == Some(Program::Older);
    let run = match status.tenants.iter().filter(is_older).count() {
        0 => return None,
        1 => "1 tenant runs".to_owned(),
        several => format!("{several} tenants run"),
    };
    let restart = super::typed(&status.app, "restart --all --rolling");
    Some(format!(
        "{run} an older program than the one on disk: type `{restart}`"
    ))
}

/// The width of the terminal on standard output; a pipe has none.
fn width() -> Option<usize> {
    let stdout = io::stdout();
    match stdout.is_terminal().then(|| tcgetwinsize(&stdout)) {
        Some(Ok(size)) if size.ws_col > 0 => Some(size.ws_col.into()),
        Some(Ok(_) | Err(_)) | None => None,
    }
}

#[cfg(test)]
mod tests;
