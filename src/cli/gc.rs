//! `gc`: removes what an application left on the host and no tenant of its plan owns.

use std::collections::BTreeSet;
use std::io::Write;

use super::{End, plan};
use crate::client::Connection;
use crate::client::app::{self, Said};
use crate::daemon::gc;
use crate::wire::{Leftover, LeftoverFate};

/// Asks the supervisor, which knows its plan; where none runs, does it by the manifest, or by none
/// at all for an application that is meant by its name.
pub(super) fn gc(said: &Said, dry_run: bool) -> anyhow::Result<End> {
    let app = app::find(said)?;
    let asked = super::converse(async {
        let mut connection = Connection::open(&app).await?;
        Ok(connection.collect(dry_run).await?)
    });
    let found = match asked {
        Err(error) if super::is_gone(&error) => {
            let planned: BTreeSet<_> = match &said.config {
                Some(config) => {
                    let (plan, _) = plan::read(config)?;
                    plan.tenants.into_iter().map(|tenant| tenant.name).collect()
                }
                None => BTreeSet::new(),
            };
            gc::alone(&app, &planned, dry_run)?
        }
        found => found?,
    };
    let mut out = std::io::stdout().lock();
    for leftover in &found {
        writeln!(out, "{leftover}")?;
    }
    if found.is_empty() {
        writeln!(out, "nothing is left over of {app}")?;
    }
    let is_kept = |leftover: &Leftover| leftover.fate == LeftoverFate::Kept;
    Ok(match found.iter().any(is_kept) {
        true => End::NotAsWanted,
        false => End::Done,
    })
}
