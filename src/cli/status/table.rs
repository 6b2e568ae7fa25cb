//! The table of `status`, and the lines below a tenant that is not as wanted.

use std::collections::BTreeMap;
use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use comfy_table::{CellAlignment, ContentArrangement, Row, Table};
use jiff::Timestamp;

use super::{failed, host, limits, program};
use crate::cli::typed;
use tenantd_api::wire::{AppStatus, LogPlace, Program, StateWord, TenantStatus, Tracking};
use tenantd_core::name::TenantName;
use tenantd_core::stage::{Failure, Retry, Stage};
use tenantd_host::cgroup::Bounds;

/// The columns, from left to right.
pub(in crate::cli) const COLUMNS: [&str; 9] = [
    "NAME", "WANT", "STATE", "PID", "ADDRESS", "RESTARTS", "SINCE", "READY", "PROGRAM",
];

/// Columns that are aligned to the right.
const NUMBERS: [&str; 2] = ["PID", "RESTARTS"];

/// The columns that a narrow terminal does not show, the least important first: what is older has a
/// line of its own, and what is not ready is not as wanted.
const DROPPED: [&str; 5] = ["PROGRAM", "PID", "WANT", "RESTARTS", "READY"];

/// Up to this many failed tenants have a line that says what to type.
const FEW: usize = 10;

/// Which lines a tenant has that is not as wanted.
pub(in crate::cli) enum Lines {
    /// All.
    All(Known),
    /// Only why.
    Why,
}

/// What is known of tenants besides their status.
#[derive(Debug, Default)]
pub(in crate::cli) struct Known {
    /// The last lines of standard error.
    pub(in crate::cli) last_lines: BTreeMap<TenantName, Vec<String>>,
    /// The folders that `learn` saw the program write to, and that the tenant does not have for itself.
    pub(in crate::cli) missing: BTreeMap<TenantName, Vec<String>>,
    /// For a tenant that is shown alone: the last lines of standard error of the program that failed before.
    pub(in crate::cli) alone: Option<Vec<String>>,
    /// What they use and are limited to, or why that cannot be read.
    pub(in crate::cli) bounds: BTreeMap<TenantName, Result<Bounds, String>>,
}

/// The application, the header, and a line per tenant; further lines say why it is not as wanted.
/// On a terminal of this width the least important columns are left out.
pub(in crate::cli) fn write(
    out: &mut (impl Write + ?Sized),
    status: &AppStatus,
    now: Timestamp,
    width: Option<usize>,
    below: &Lines,
) -> io::Result<()> {
    let bold = Style::new().bold();
    let wrong = Style::new().fg_color(Some(AnsiColor::Red.into()));
    let tracking = match status.tracking {
        Tracking::Cgroup => "tracked by cgroup",
        Tracking::Netns => "tracked by network namespace",
    };
    let logs = match status.logs {
        LogPlace::Journal => "logs in the journal",
        LogPlace::Files => "logs in files",
    };
    let (app, pid) = (&status.app, status.pid);
    writeln!(
        out,
        "{bold}{app}{bold:#}: supervisor pid {pid}, tenants {tracking}, {logs}"
    )?;
    if status.tenants.is_empty() {
        return Ok(());
    }
    let lines = fitting(status, now, width);
    let mut lines = lines.iter();
    if let Some(header) = lines.next() {
        writeln!(out, "{bold}{header}{bold:#}")?;
    }
    let failed = status.tenants.iter().filter(|t| is_given_up(t)).count();
    for (tenant, line) in status.tenants.iter().zip(lines) {
        if tenant.is_as_wanted() {
            writeln!(out, "{line}")?;
            if width.is_some() && status.tenants.len() == 1 && tenant.addresses.count() > 1 {
                writeln!(out, "  ADDRESSES {}", tenant.addresses)?;
            }
            if matches!(below, Lines::All(_)) {
                write_killed(out, status, tenant, now)?;
            }
            write_rest(out, status, tenant, (below, now))?;
            write_misfit(out, tenant)?;
            continue;
        }
        writeln!(out, "{wrong}{line}{wrong:#}")?;
        write_misfit(out, tenant)?;
        if let Some(failure) = &tenant.unapplied {
            writeln!(out, "  NOT APPLIED {failure}; `tenantd reload` tries again")?;
        }
        if !tenant.is_in_wanted_state() {
            writeln!(out, "  WHY {}", why(tenant, now))?;
        }
        let Lines::All(known) = below else {
            continue;
        };
        for line in known.last_lines.get(&tenant.name).into_iter().flatten() {
            writeln!(out, "  STDERR {line}")?;
        }
        write_killed(out, status, tenant, now)?;
        if failed <= FEW && (is_given_up(tenant) || tenant.state == StateWord::Exited) {
            write_next(out, status, tenant, known.missing.get(&tenant.name))?;
        }
        write_rest(out, status, tenant, (below, now))?;
    }
    Ok(())
}

/// Says what else is known of a tenant.
fn write_rest(
    out: &mut (impl Write + ?Sized),
    status: &AppStatus,
    tenant: &TenantStatus,
    (below, now): (&Lines, Timestamp),
) -> io::Result<()> {
    let Lines::All(known) = below else {
        return Ok(());
    };
    program::below(out, tenant)?;
    host::below(out, status, tenant)?;
    if let Some(said) = known.alone.as_ref() {
        failed::below(out, (status, tenant), now, said)?;
    }
    program::probed(out, tenant)?;
    limits::starved(out, tenant, now)?;
    limits::by_hand(out, tenant)?;
    limits::reached(out, tenant)?;
    match known.bounds.get(&tenant.name) {
        Some(bounds) => limits::below(out, bounds),
        None => Ok(()),
    }
}

/// Says what was killed at the end of the last launch: of a tenant that does not run, or that is the only
/// one shown.
fn write_killed(
    out: &mut (impl Write + ?Sized),
    status: &AppStatus,
    tenant: &TenantStatus,
    now: Timestamp,
) -> io::Result<()> {
    let is_shown = tenant.state != StateWord::Up || status.tenants.len() == 1;
    match tenant.killed.as_ref().filter(|_| is_shown) {
        Some(killed) => {
            let ago = length(killed.time, now);
            writeln!(out, "  KILLED its last launch was {killed}, {ago} ago")
        }
        None => Ok(()),
    }
}

/// Says that the program cannot write to its data: it may be up and ready all the same.
fn write_misfit(out: &mut (impl Write + ?Sized), tenant: &TenantStatus) -> io::Result<()> {
    match &tenant.misfit {
        Some(why) => writeln!(out, "  DATA {why}"),
        None => Ok(()),
    }
}

/// Whether an operator must act.
pub(super) fn is_given_up(tenant: &TenantStatus) -> bool {
    matches!(tenant.state, StateWord::Failed | StateWord::Stuck)
}

/// Says what to do for a tenant that was given up. Programs whose writes fail often do not say so: then a
/// run of `learn` tells.
fn write_next(
    out: &mut (impl Write + ?Sized),
    status: &AppStatus,
    tenant: &TenantStatus,
    missing: Option<&Vec<String>>,
) -> io::Result<()> {
    if let Some(missing) = missing {
        let missing = missing.join(", ");
        writeln!(
            out,
            "  LEARNED its program writes to {missing}, which it does not have for itself"
        )?;
        let reload = typed(&status.app, "reload");
        return writeln!(
            out,
            "  NEXT add {missing} to `folders` in [app.datastore], then `{reload}`"
        );
    }
    writeln!(out, "  NEXT {}", next(status, tenant))?;
    let is_of_policy =
        |why: &Failure| why.retry() == Retry::Policy && why.stage != Stage::Background;
    let is_unexplained = tenant.refused.is_empty()
        && tenant.lid.as_deref() != Some("host writable")
        && tenant.failure.as_ref().is_none_or(is_of_policy);
    match &status.manifest {
        Some(manifest) if tenant.state == StateWord::Failed && is_unexplained => writeln!(
            out,
            "  NEXT to see writes that are refused:\n       \
             `tenantd learn --manifest {manifest} --for 10s {}`",
            tenant.name
        ),
        Some(_) | None => Ok(()),
    }
}

/// What to type for a tenant that was given up.
fn next(status: &AppStatus, tenant: &TenantStatus) -> String {
    let command = |verb: &str| typed(&status.app, &format!("{verb} {}", tenant.name));
    if tenant.state == StateWord::Stuck {
        return format!("`{}`", command("stop"));
    }
    let failure = tenant.failure.as_ref();
    if failure.is_some_and(|why| why.stage == Stage::Background) {
        let reload = typed(&status.app, "reload");
        let start = match tenant.state {
            StateWord::Exited => format!(" and `{}`", command("start")),
            _ => String::new(),
        };
        return format!("set `daemonizes = true` in [app], then `{reload}`{start}");
    }
    if tenant.state == StateWord::Exited {
        return format!("`{}` runs its program again", command("start"));
    }
    let (logs, start) = (command("logs"), command("start"));
    if failure.is_some_and(|why| why.retry() != Retry::Policy) {
        let reload = typed(&status.app, "reload");
        return format!("correct that, then `{start}`, or `{reload}` for a changed manifest");
    }
    format!("`{logs}`, then `{start}`")
}

/// The lines of the table. The width counts only for a terminal, so that programs find all columns.
fn fitting(status: &AppStatus, now: Timestamp, width: Option<usize>) -> Vec<String> {
    let rows: Vec<_> = status
        .tenants
        .iter()
        .map(|tenant| row(tenant, now, width.is_some()))
        .collect();
    let mut dropped = 0;
    loop {
        let is_shown = |column: &usize| !DROPPED[..dropped].contains(&COLUMNS[*column]);
        let shown: Vec<usize> = (0..COLUMNS.len()).filter(is_shown).collect();
        let header = shown.iter().map(|column| COLUMNS[*column]);
        let numbers = (0..).zip(header.clone());
        let numbers = numbers.filter(|(_, name)| NUMBERS.contains(name));
        let numbers: Vec<usize> = numbers.map(|(column, _)| column).collect();
        let cells = rows
            .iter()
            .map(|row| shown.iter().map(|column| row[*column].clone()));
        let table = table(header, cells, &numbers);
        let lines = table.lines().map(|line| line.trim_end().to_owned());
        let lines: Vec<String> = lines.collect();
        let longest = lines.iter().map(|line| line.chars().count()).max();
        let fits = width.is_none_or(|width| longest.is_none_or(|longest| longest <= width));
        if fits || dropped == DROPPED.len() {
            return lines;
        }
        dropped += 1;
    }
}

/// The cells of a tenant. Of several addresses, a terminal shows the first and their number: the others are below a
/// tenant that is shown alone.
fn row(tenant: &TenantStatus, now: Timestamp, is_terminal: bool) -> [String; 9] {
    let addresses = match tenant.addresses.others() {
        others if is_terminal && !others.is_empty() => {
            format!("{} +{}", tenant.addresses.first(), others.len())
        }
        _ => tenant.addresses.to_string(),
    };
    [
        tenant.name.to_string(),
        want(tenant),
        tenant.state_word().to_owned(),
        or_dash(tenant.pid),
        addresses,
        tenant.restarts.to_string(),
        length(tenant.since, now),
        or_dash(tenant.ready.map(|ready| if ready { "yes" } else { "no" })),
        or_dash(tenant.program.map(Program::word)),
    ]
}

/// A header and one line per row, never wrapped. `numbers` are the columns that are aligned to the
/// right.
pub(in crate::cli) fn table(
    header: impl Into<Row>,
    rows: impl Iterator<Item = impl Into<Row>>,
    numbers: &[usize],
) -> Table {
    let mut table = Table::new();
    table
        .load_style(comfy_table::presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(header);
    for row in rows {
        table.add_row(row);
    }
    for &number in numbers {
        if let Some(column) = table.column_mut(number) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table
}

/// The text of the column WANT.
pub(in crate::cli) fn want(tenant: &TenantStatus) -> String {
    let word = tenant.want.word();
    match tenant.permanent {
        None => match &tenant.engine {
            Some(engine) => format!("{word} ({engine})"),
            None => word.to_owned(),
        },
        Some(permanent) if permanent == tenant.want => format!("{word} (permanent)"),
        Some(permanent) => format!("{word} (permanent: {})", permanent.word()),
    }
}

pub(in crate::cli) fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// Whether the tenant is being started again, so that its reason is that of an earlier start.
pub(in crate::cli) fn has_failed_before(tenant: &TenantStatus) -> bool {
    let states = [StateWord::Provisioning, StateWord::Launching, StateWord::Up];
    // With `exec --offline` the reason is that command.
    states.contains(&tenant.state) && tenant.why.is_some() && tenant.offline.is_none()
}

/// Why a tenant is not as wanted, and when that changes by itself.
pub(in crate::cli) fn why(tenant: &TenantStatus, now: Timestamp) -> String {
    let mut text = match (&tenant.why, &tenant.failure) {
        (Some(why), _) if has_failed_before(tenant) => format!("last failure: {why}"),
        (Some(why), _) => why.clone(),
        (None, Some(failure)) => failure.to_string(),
        (None, None) => match tenant.state {
            StateWord::Up => "not ready yet".to_owned(),
            StateWord::Stopping => "its program is being ended".to_owned(),
            _ => format!("not {} yet: {}", tenant.want.word(), tenant.state_word()),
        },
    };
    if tenant.state == StateWord::Exited {
        text += "; not restarted";
    }
    let is_counted = matches!(tenant.state, StateWord::Failed | StateWord::Waiting);
    if is_counted || has_failed_before(tenant) {
        text += &match tenant.restarts {
            0 => String::new(),
            1 => "; restarted once".to_owned(),
            several => format!("; restarted {several} times"),
        };
    }
    if !tenant.awaits.is_empty() {
        let names: Vec<&str> = tenant.awaits.iter().map(TenantName::as_str).collect();
        let names = names.join(", ");
        text += &format!("; waits for {names} to release an address or a datastore");
    }
    if let Some(until) = tenant.until {
        let what = match tenant.state {
            StateWord::Stuck => "next attempt",
            _ => "next start",
        };
        text += &format!("; {what} in {}", length(now, until));
    }
    text
}

/// The time between two moments in its two largest units: `3m 12s`. If the clock was set back, `0s`.
pub(in crate::cli) fn length(from: Timestamp, to: Timestamp) -> String {
    let seconds = from.duration_until(to).as_secs().max(0);
    let parts = [
        (seconds / 86_400, "d"),
        (seconds / 3600 % 24, "h"),
        (seconds / 60 % 60, "m"),
        (seconds % 60, "s"),
    ];
    let first = parts.iter().position(|(count, _)| *count > 0).unwrap_or(3);
    let shown: Vec<String> = parts[first..]
        .iter()
        .take(2)
        .map(|(count, unit)| format!("{count}{unit}"))
        .collect();
    shown.join(" ")
}
