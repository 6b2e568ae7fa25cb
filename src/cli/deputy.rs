//! A deputy: a process of root that carries out an order of a client without root, which the supervisor has
//! checked. It takes nothing from the client but what the order is about, and writes to nothing of the client but
//! its end of the sockets.

use std::io;

use anyhow::Context;
use nix::sys::signal::SigSet;
use rustix::process::setsid;

use super::{exec, history, logs};
use tenantd_daemon::deputy::{Order, VARIABLE, What};

/// Carries out an order, if this process is a deputy; `None` in any other process.
#[must_use]
pub fn asked() -> Option<anyhow::Result<()>> {
    std::env::var_os(VARIABLE).map(|_| carry_out())
}

fn carry_out() -> anyhow::Result<()> {
    // Those of the supervisor, which ends a deputy by SIGTERM.
    SigSet::empty().thread_set_mask()?;
    // No terminal of the supervisor sends it signals.
    setsid().context("cannot begin a session")?;
    let order: Order = serde_json::from_reader(io::stdin()).context("cannot read its order")?;
    match order.what {
        What::Logs(what) => logs::sent::send(&order.app, what),
        What::History(asked) => history::send(&asked),
        What::Exec(what) => exec::deputy::carry_out(*what),
    }
}
