//! `top` without a terminal, or with `--once`: measures for one interval and prints one table.

use std::io::Write;
use std::thread;
use std::time::Instant;

use anstyle::Style;
use jiff::Timestamp;

use super::board::Board;
use super::{draw, read};
use crate::cli::args::Top;
use crate::cli::status::table::table;
use crate::cli::status::{self};
use crate::cli::{End, select};
use tenantd_api::client::survey::{PATIENCE, ask};
use tenantd_api::wire::AppStatus;
use tenantd_core::name::{AppName, TenantName};

pub(super) fn print(app: &AppName, what: &Top) -> anyhow::Result<End> {
    let begun = Instant::now();
    let mut board = Board::new(asked(app, what)?, what.sort, what.interval);
    let first = read::read(&board.status.tenants, begun);
    board.measured(first.readings);
    thread::sleep(what.interval);
    // What the interval ended with: tenants may have been added meanwhile.
    board.begin(asked(app, what)?);
    let second = read::read(&board.status.tenants, begun);
    board.measured(second.readings);
    let shown = board.shown();
    let now = Timestamp::now();
    let rows = shown.iter().map(|(it, usage)| draw::cells(it, usage, now));
    let table = table(draw::header(&shown), rows, &draw::numbers());
    let bold = Style::new().bold();
    let mut out = anstream::stdout().lock();
    for (number, line) in table.lines().enumerate() {
        let line = line.trim_end();
        match number {
            0 => writeln!(out, "{bold}{line}{bold:#}")?,
            _ => writeln!(out, "{line}")?,
        }
    }
    if let Some(summary) = status::summary(&board.status) {
        writeln!(out, "{summary}")?;
    }
    match second.failed {
        Some(failed) => Err(anyhow::anyhow!(failed)),
        None => Ok(End::Done),
    }
}

fn asked(app: &AppName, what: &Top) -> anyhow::Result<AppStatus> {
    let ask = async |names: &[TenantName]| ask(app, names, PATIENCE).await;
    let status = crate::cli::converse(async { Ok(select::status(&what.names, ask).await?) })?;
    select::chosen(status, &what.names)
}
