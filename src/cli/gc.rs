//! `gc`: removes residue of an application: what bears its mark and belongs to no tenant of its plan.

use std::collections::BTreeSet;
use std::io::{self, Write};

use anyhow::Context;
use serde::Serialize;

use super::{End, plan};
use tenantd_api::client::Connection;
use tenantd_api::client::app::{self, Selector};
use tenantd_api::wire::{Residue, ResidueFate, ResidueKind};
use tenantd_core::name::{AppName, TenantName};
use tenantd_daemon::gc::{self, Extent};

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Collected {
    app: AppName,
    residue: Vec<Residue>,
}

/// Has the supervisor do it, which knows its plan. If none runs, does it here: by the manifest, or for
/// an application given by name, as if it had no tenants.
pub(super) fn gc(selector: &Selector, extent: Extent, json: bool) -> anyhow::Result<End> {
    let app = app::find(selector)?;
    let asked = super::converse(async {
        let mut connection = Connection::open(&app).await?;
        Ok(connection.collect(extent.dry_run).await?)
    });
    let found = match asked {
        Err(error) if super::is_gone(&error) => {
            let planned = planned(selector)?;
            super::converse(gc::alone(&app, &planned, extent))?
        }
        found => found?,
    };
    let is_kept = |item: &Residue| item.fate == ResidueFate::Kept;
    let end = match found.iter().any(is_kept) {
        true => End::NotAsWanted,
        false => End::Done,
    };
    let mut out = io::stdout().lock();
    if json {
        let residue = found;
        serde_json::to_writer_pretty(&mut out, &Collected { app, residue })
            .map_err(io::Error::from)
            .context("cannot write what was found")?;
        writeln!(out)?;
    } else {
        show(&mut out, &app, &found)?;
    }
    Ok(end)
}

/// The tenants of the manifest, which are not collected. Without a manifest, none.
fn planned(selector: &Selector) -> anyhow::Result<BTreeSet<TenantName>> {
    let Some(config) = &selector.config else {
        return Ok(BTreeSet::new());
    };
    let (plan, _) = plan::read(config)?;
    Ok(plan.tenants.into_iter().map(|tenant| tenant.name).collect())
}

fn show(out: &mut impl Write, app: &AppName, found: &[Residue]) -> io::Result<()> {
    for item in found {
        writeln!(out, "{item}")?;
    }
    let is_running =
        |item: &Residue| item.kind == ResidueKind::Tenant && item.fate == ResidueFate::Kept;
    if found.iter().any(is_running) {
        writeln!(
            out,
            "tenants with running processes were kept: the next supervisor adopts those in its \
             manifest, and `tenantd gc --app {app} --kill` ends them"
        )?;
    }
    if found.is_empty() {
        writeln!(out, "{app}: nothing to remove")?;
    }
    Ok(())
}
