//! `run`: the supervisor itself.

use std::io::Write;
use std::path::Path;

use anyhow::Context;

use super::{End, plan};
use tenantd_daemon::{self, Start, logs, signals, tell, trial, way_back};
use tenantd_host::heritage::Heritage;
use tenantd_host::limits;

/// Runs all tenants of a manifest until a signal stops them; or only says whether it would, where a
/// supervisor that is to be upgraded asks for that.
pub(super) fn run(config: &Path) -> anyhow::Result<End> {
    if std::env::var_os(trial::VARIABLE).is_some() {
        let (plan, _) = plan::read(config)?;
        writeln!(std::io::stdout(), "{}", trial::pass(&plan.app)?)?;
        return Ok(End::Done);
    }
    signals::hold().context("cannot hold signals back")?;
    // Before anything else is opened or started.
    let descriptors = limits::raise().context("cannot raise the limit on open descriptors")?;
    let heritage = Heritage::take().context("cannot take what was handed down")?;
    way_back::open(&heritage, descriptors).context("cannot keep the way back")?;
    let result = supervise(config, heritage, descriptors);
    if let Err(error) = &result {
        way_back::go(&format!("{error:#}"));
    }
    result
}

fn supervise(
    config: &Path,
    heritage: Heritage,
    descriptors: rustix::process::Rlimit,
) -> anyhow::Result<End> {
    let (plan, manifest) = plan::read(config)?;
    let logs_go_to = logs::place();
    let last_words =
        tell::init(&plan.app, logs_go_to, false).context("cannot tell what happens")?;
    let start = Start {
        manifest,
        logs_go_to,
        last_words,
        heritage,
        descriptors,
    };
    tenantd_daemon::run(plan, start)?;
    Ok(End::Done)
}
