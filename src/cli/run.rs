//! `run`: the supervisor itself.

use std::path::Path;

use anyhow::Context;

use super::{End, plan};
use crate::daemon;
use crate::daemon::{logs, tell};

/// Runs all tenants of a manifest until a signal stops them.
pub(super) fn run(config: &Path) -> anyhow::Result<End> {
    let (plan, manifest) = plan::read(config)?;
    let place = logs::place();
    let _last_words = tell::init(&plan.app, place, false).context("cannot tell what happens")?;
    daemon::run(plan, manifest, place)?;
    Ok(End::Done)
}
