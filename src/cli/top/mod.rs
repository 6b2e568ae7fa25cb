//! `top`: a live table of tenants with what they use, by the counters that the kernel has of them. It is a
//! client like others: it subscribes to the tenants' events, and reads the counters itself.
//!
//! The board, its keys, and the lines of the screen are pure. `read` reads counters, `terminal` owns the
//! terminal, `feed` the subscription, and `live` passes between them. See decision 0078.

mod board;
mod draw;
mod feed;
mod keys;
mod live;
mod once;
pub(in crate::cli) mod order;
mod read;
mod request;
mod signals;
mod terminal;
mod typed;
mod units;
mod usage;

use std::io::{IsTerminal, stdin, stdout};

use super::End;
use super::args::Top;
use tenantd_core::name::AppName;

pub(super) fn top(app: &AppName, what: &Top) -> anyhow::Result<End> {
    if what.once || !stdin().is_terminal() || !stdout().is_terminal() {
        return once::print(app, what);
    }
    let kind = std::env::var("TERM").unwrap_or_default();
    anyhow::ensure!(
        !kind.is_empty() && kind != "dumb",
        "this terminal cannot be drawn on, as TERM says ({kind:?}): type `tenantd top --once` for one \
         table, or set TERM to the kind of the terminal, such as xterm"
    );
    live::run(app, what)
}
