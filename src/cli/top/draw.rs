//! The lines of the screen, and the cells of the table. Pure.

use jiff::Timestamp;

use super::board::{Board, Mode, state};
use super::units::{bytes, chart, percent};
use super::usage::Usage;
use crate::cli::outcome;
use crate::cli::status::table::length;
use crate::cli::status::{or_dash, summary};
use tenantd_api::wire::{StateWord, TenantStatus};

/// The columns but the last, from left to right.
const COLUMNS: [&str; 9] = [
    "NAME", "STATE", "READY", "CPU%", "MEM", "IN/s", "OUT/s", "RESTARTS", "UPTIME",
];

/// The last column, a small chart. It takes the width that is left.
const TREND: &str = "TREND";

/// The least and the largest width of the chart.
const TREND_LEAST: usize = 8;
const TREND_MOST: usize = super::usage::PAST;

/// Columns that a narrow terminal does not show, the least important first.
const DROPPED: [&str; 8] = [
    "UPTIME", "RESTARTS", "READY", TREND, "OUT/s", "IN/s", "MEM", "CPU%",
];

/// The least width of each column: that of the usual numbers, so that they do not move.
const LEAST: [usize; 9] = [4, 5, 5, 5, 4, 4, 5, 8, 6];

/// Columns that are aligned to the left. The others are numbers.
const LEFT: usize = 3;

/// What is between two columns.
const GAP: &str = "  ";

/// The most lines of a message, on screens of at least this height.
const MESSAGE_LINES: usize = 3;
const ROOMY: usize = 12;

/// The keys, in the last line.
const HINTS: &str = "s start  x stop  r restart  p pause  l log  w why  / filter  ? keys  q quit";

/// How a terminal shows a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    Plain,
    /// A header.
    Head,
    /// That of the chosen tenant.
    Chosen,
    /// That of a tenant that was given up, or of a failure.
    Bad,
    /// That of a tenant that is not as wanted.
    Warned,
    /// What is not current, and the keys.
    Faint,
}

/// A line of the screen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) text: String,
    pub(super) style: Style,
}

/// What the terminal can show.
#[derive(Debug, Clone, Copy)]
pub(super) struct Screen {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) is_unicode: bool,
}

/// The header for the cells, as text and numbers.
pub(super) fn header(shown: &[(&TenantStatus, &Usage)]) -> [&'static str; 9] {
    let mut header = COLUMNS;
    let is_resident = shown.iter().any(|(_, usage)| usage.is_resident);
    if is_resident
        && shown
            .iter()
            .all(|(_, it)| it.is_resident || it.memory.is_none())
    {
        header[4] = "RSS";
    }
    header
}

/// The cells of a tenant.
pub(super) fn cells(tenant: &TenantStatus, usage: &Usage, now: Timestamp) -> [String; 9] {
    let is_up = tenant.state == StateWord::Up;
    [
        tenant.name.to_string(),
        state(tenant).to_owned(),
        or_dash(tenant.ready.map(|ready| if ready { "yes" } else { "no" })),
        or_dash(usage.cpu.map(percent)),
        or_dash(usage.memory.map(bytes)),
        or_dash(usage.received.map(bytes)),
        or_dash(usage.sent.map(bytes)),
        tenant.restarts.to_string(),
        or_dash(is_up.then(|| length(tenant.since, now))),
    ]
}

/// The columns of cells that are numbers.
pub(super) fn numbers() -> Vec<usize> {
    (LEFT..COLUMNS.len()).collect()
}

/// The whole screen: as many lines as it has.
pub(super) fn draw(board: &Board, now: Timestamp, screen: Screen) -> Vec<Line> {
    let mut lines = vec![line(title(board), Style::Head)];
    let room = screen.height.saturating_sub(3);
    let body = match &board.mode {
        Mode::Text(text, first) => {
            let text = text.iter().skip(*first).take(room);
            text.map(|text| line(text.clone(), Style::Plain)).collect()
        }
        Mode::Table | Mode::Filter(_) | Mode::Confirm(..) => table(board, now, screen),
    };
    lines.extend(body.into_iter().take(room));
    lines.resize(room + 1, line(String::new(), Style::Plain));
    let message = wrapped(message(board), screen);
    lines.truncate((room + 2).saturating_sub(message.len()));
    lines.extend(message);
    lines.push(line(hints(board), Style::Faint));
    lines.truncate(screen.height);
    for line in &mut lines {
        line.text = clip(&line.text, screen.width, screen.is_unicode);
    }
    lines
}

/// A message in as many lines as it needs, if the screen is not a small one. They cover the table.
fn wrapped(message: Line, screen: Screen) -> Vec<Line> {
    if message.text.is_empty() || screen.height < ROOMY {
        return vec![message];
    }
    let parts = textwrap::wrap(&message.text, screen.width.max(1));
    let parts = parts.into_iter().take(MESSAGE_LINES);
    parts
        .map(|part| line(part.into_owned(), message.style))
        .collect()
}

fn line(text: String, style: Style) -> Line {
    Line { text, style }
}

/// The first line: how all tenants are, and which are shown.
fn title(board: &Board) -> String {
    let count = board.status.tenants.len();
    let all = summary(&board.status).unwrap_or_else(|| outcome::tenants(count));
    let mut parts = vec![format!("{}: {all}", board.status.app)];
    if board.lost.is_some() {
        parts.insert(0, "NOT CURRENT".to_owned());
    }
    let shown = board.shown().len();
    if shown > board.page {
        let last = (board.first + board.page).min(shown);
        parts.push(format!("{}-{last} of {shown}", board.first + 1));
    }
    if !board.filter.is_empty() {
        parts.push(format!("filter {}", board.filter));
    }
    if board.only_bad {
        parts.push("only not as wanted".to_owned());
    }
    let inverted = if board.is_inverted { ", inverted" } else { "" };
    parts.push(format!("by {}{inverted}", board.sort.word()));
    parts.push(format!("every {} s", board.interval.as_secs_f64()));
    parts.join(GAP)
}

/// The line above the last one: what is asked, what was done, or what is wrong.
fn message(board: &Board) -> Line {
    match (&board.mode, &board.said, &board.lost) {
        (Mode::Confirm(request, tenant), _, _) => {
            let what = request.word();
            line(
                format!("{what} {tenant}? y: yes, other keys: no"),
                Style::Head,
            )
        }
        (Mode::Filter(_), _, _) => line(format!("filter: {}_", board.filter), Style::Head),
        (Mode::Table | Mode::Text(..), Some(said), _) => match said.is_bad {
            true => line(said.text.clone(), Style::Bad),
            false => line(said.text.clone(), Style::Plain),
        },
        (Mode::Table | Mode::Text(..), None, Some(lost)) => line(lost.clone(), Style::Bad),
        (Mode::Table | Mode::Text(..), None, None) => line(String::new(), Style::Plain),
    }
}

fn hints(board: &Board) -> String {
    match board.mode {
        Mode::Table => HINTS.to_owned(),
        Mode::Filter(_) => "Enter keeps the filter, Escape restores the previous one".to_owned(),
        Mode::Confirm(..) => String::new(),
        Mode::Text(..) => "up, down scroll  Escape shows the table".to_owned(),
    }
}

/// The header, and the tenants that fit.
fn table(board: &Board, now: Timestamp, screen: Screen) -> Vec<Line> {
    let all = board.shown();
    let shown: Vec<_> = all.iter().skip(board.first).take(board.page).collect();
    let header = header(&all).map(str::to_owned);
    let rows: Vec<[String; 9]> = shown
        .iter()
        .map(|(tenant, usage)| cells(tenant, usage, now))
        .collect();
    let widths = widths(&header, &rows, screen.width);
    let (columns, trend) = fitting(&widths, screen.width);
    let joined = |cells: &[String; 9], chart: &str| {
        let padded = columns.iter().map(|&column| {
            let width = widths[column];
            let cell = clip(&cells[column], width, screen.is_unicode);
            match column < LEFT {
                true => format!("{cell:<width$}"),
                false => format!("{cell:>width$}"),
            }
        });
        let mut padded: Vec<String> = padded.collect();
        if trend > 0 {
            padded.push(chart.to_owned());
        }
        padded.join(GAP)
    };
    let head = format!("  {}", joined(&header, &format!("{TREND:>trend$}")));
    let mut lines = vec![line(head, Style::Head)];
    for ((tenant, usage), cells) in shown.iter().zip(&rows) {
        let is_chosen = board.chosen.as_ref() == Some(&tenant.name);
        let mark = if is_chosen { "> " } else { GAP };
        let chart = chart(usage.past.iter(), trend, screen.is_unicode);
        let text = format!("{mark}{}", joined(cells, &chart));
        lines.push(line(text, style(tenant, is_chosen, board.lost.is_some())));
    }
    if rows.is_empty() && !board.status.tenants.is_empty() {
        let nothing = "  no tenant is shown: / changes the filter, f shows all".to_owned();
        lines.push(line(nothing, Style::Plain));
    }
    lines
}

fn style(tenant: &TenantStatus, is_chosen: bool, is_lost: bool) -> Style {
    match tenant.state {
        _ if is_chosen => Style::Chosen,
        _ if is_lost => Style::Faint,
        StateWord::Failed | StateWord::Stuck => Style::Bad,
        _ if tenant.is_as_wanted() => Style::Plain,
        _ => Style::Warned,
    }
}

/// The width of each column. A long name takes at most a third of the screen.
fn widths(header: &[String; 9], rows: &[[String; 9]], width: usize) -> [usize; 9] {
    let mut widths = LEAST;
    for cells in std::iter::once(header).chain(rows) {
        for (width, cell) in widths.iter_mut().zip(cells) {
            *width = cell.chars().count().max(*width);
        }
    }
    widths[0] = widths[0].min((width / 3).max(LEAST[0]));
    widths
}

/// The columns that fit, and the width of the chart, which is zero without one.
fn fitting(widths: &[usize; 9], width: usize) -> (Vec<usize>, usize) {
    for dropped in 0..=DROPPED.len() {
        let is_shown = |name: &str| !DROPPED[..dropped].contains(&name);
        let columns: Vec<usize> = (0..COLUMNS.len())
            .filter(|&column| is_shown(COLUMNS[column]))
            .collect();
        // The mark of the chosen tenant is as wide as a gap, so each column has one.
        let taken: usize = columns
            .iter()
            .map(|&column| GAP.len() + widths[column])
            .sum();
        let left = width.saturating_sub(taken + GAP.len());
        let trend = match is_shown(TREND) {
            true => left.min(TREND_MOST),
            false => 0,
        };
        let fits = taken <= width && (trend >= TREND_LEAST || !is_shown(TREND));
        if fits || dropped == DROPPED.len() {
            return (columns, trend);
        }
    }
    (vec![0], 0)
}

/// Cuts a text to a width in characters.
fn clip(text: &str, width: usize, is_unicode: bool) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mark = if is_unicode { '…' } else { '~' };
    let kept = text.chars().take(width.saturating_sub(1));
    kept.chain((width > 0).then_some(mark)).collect()
}

#[cfg(test)]
mod tests;
