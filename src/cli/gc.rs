//! `gc`: removes residue of an application: what bears its mark and belongs to no tenant of its plan.

use std::collections::BTreeSet;
use std::fmt;
use std::io::{self, BufRead, IsTerminal, Write};
use std::path::Path;

use anyhow::Context;
use serde::Serialize;

use super::args::Gc;
use super::{End, plan};
use tenantd_api::client::app::{self, Selector};
use tenantd_api::client::{Connection, pattern};
use tenantd_api::wire::{Residue, ResidueFate, ResidueKind};
use tenantd_core::name::{AppName, TenantName};
use tenantd_daemon::gc::{self, Extent};

/// `--kill` would end tenants, and nobody has agreed to that. Nothing was changed.
#[derive(Debug)]
pub struct Unconfirmed {
    app: AppName,
    living: Vec<Residue>,
    typed: String,
}

impl fmt::Display for Unconfirmed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", would_end(&self.app, &self.living))?;
        write!(f, "nothing was changed; to end them: {} --yes", self.typed)
    }
}

impl std::error::Error for Unconfirmed {}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Collected {
    app: AppName,
    residue: Vec<Residue>,
}

/// Has the supervisor do it, which knows its plan. If none runs, does it here: by the manifest, or for
/// an application given by name, as if it had no tenants.
pub(super) fn gc(selector: &Selector, asked: &Gc) -> anyhow::Result<End> {
    let app = app::find(selector)?;
    let answer = super::converse(async {
        let mut connection = Connection::open(&app).await?;
        Ok(connection.collect(asked.dry_run).await?)
    });
    let (found, basis) = match answer {
        Err(error) if super::is_gone(&error) => {
            let Some(found) = alone(selector, &app, asked)? else {
                return Ok(End::NotAsWanted);
            };
            found
        }
        found => (found?, Basis::Supervisor),
    };
    let is_kept = |item: &Residue| item.fate == ResidueFate::Kept;
    let end = match found.iter().any(is_kept) {
        true => End::NotAsWanted,
        false => End::Done,
    };
    let mut out = io::stdout().lock();
    if asked.json {
        let residue = found;
        serde_json::to_writer_pretty(&mut out, &Collected { app, residue })
            .map_err(io::Error::from)
            .context("cannot write what was found")?;
        writeln!(out)?;
    } else {
        show(&mut out, &app, &basis, &found)?;
    }
    Ok(end)
}

/// By whose tenants it is decided what is residue.
enum Basis<'a> {
    Supervisor,
    Manifest(&'a Path, usize),
    Nothing,
}

/// Collects without a supervisor. None if the operator does not agree to what `--kill` would end.
fn alone<'a>(
    selector: &'a Selector,
    app: &AppName,
    asked: &Gc,
) -> anyhow::Result<Option<(Vec<Residue>, Basis<'a>)>> {
    let (planned, basis) = match &selector.config {
        Some(config) => {
            let (plan, _) = plan::read(config)?;
            let names: BTreeSet<TenantName> = plan.tenants.into_iter().map(|t| t.name).collect();
            let basis = Basis::Manifest(config, names.len());
            (names, basis)
        }
        None => (BTreeSet::new(), Basis::Nothing),
    };
    let is_known = app::known()
        .context("cannot look for applications")?
        .contains(app);
    let mut extent = Extent {
        dry_run: asked.dry_run,
        ..Extent::default()
    };
    if asked.kill {
        let looked = Extent {
            dry_run: true,
            ..Extent::default()
        };
        let found = super::converse(gc::alone(app, &planned, &looked))?;
        let living: Vec<Residue> = found.into_iter().filter(is_living).collect();
        if !living.is_empty() && !asked.yes && !is_agreed(selector, app, &living)? {
            return Ok(None);
        }
        extent.kill = living
            .iter()
            .filter_map(|item| item.object.parse().ok())
            .collect();
    }
    let found = super::converse(gc::alone(app, &planned, &extent))?;
    if found.is_empty() && !is_known && selector.config.is_none() {
        return Err(unknown(app));
    }
    Ok(Some((found, basis)))
}

fn is_living(item: &Residue) -> bool {
    item.kind == ResidueKind::Tenant && item.fate == ResidueFate::Kept
}

/// Nothing on the host has this name: it is a mistake, unlike an application that left nothing.
fn unknown(app: &AppName) -> anyhow::Error {
    let known = app::known().unwrap_or_default();
    match pattern::nearest(app.as_str(), &known) {
        Some(near) => anyhow::anyhow!("{app}: no such application, did you mean `{near}`?"),
        None => anyhow::anyhow!(
            "{app}: no such application: it has no supervisor, no residue, no data in \
             /var/lib/tenantd and no manifest in /etc/tenantd (see `tenantd list`)"
        ),
    }
}

/// Asks on a terminal whether to end these tenants.
///
/// # Errors
/// [`Unconfirmed`] without a terminal.
fn is_agreed(selector: &Selector, app: &AppName, living: &[Residue]) -> anyhow::Result<bool> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Err(Unconfirmed {
            app: app.clone(),
            living: living.to_vec(),
            typed: typed(selector, app),
        }
        .into());
    }
    let mut terminal = io::stderr().lock();
    write!(terminal, "{}", would_end(app, living))?;
    write!(terminal, "end their processes? type `yes`: ")?;
    terminal.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    let is_agreed = answer.trim() == "yes";
    if !is_agreed {
        writeln!(terminal, "{app}: nothing was changed")?;
    }
    Ok(is_agreed)
}

/// The command without `--yes`, by the means of selection that were used.
fn typed(selector: &Selector, app: &AppName) -> String {
    match &selector.config {
        Some(config) => format!("tenantd gc --config {} --kill", config.display()),
        None => format!("tenantd gc --app {app} --kill"),
    }
}

fn would_end(app: &AppName, living: &[Residue]) -> String {
    let count = match living.len() {
        1 => "1 tenant that is".to_owned(),
        count => format!("{count} tenants that are"),
    };
    let mut text = format!("{app}: no supervisor runs, and --kill would end {count} running:\n");
    for Residue { object, why, .. } in living {
        text += &format!("  {object}  {}\n", why.as_deref().unwrap_or_default());
    }
    text
}

fn show(
    out: &mut impl Write,
    app: &AppName,
    basis: &Basis<'_>,
    found: &[Residue],
) -> io::Result<()> {
    match basis {
        Basis::Supervisor => {
            writeln!(
                out,
                "{app}: tenants of the running supervisor are no residue"
            )?;
        }
        Basis::Manifest(config, count) => {
            let tenants = match count {
                1 => "the 1 tenant of",
                _ => &format!("the {count} tenants of"),
            };
            let are = if *count == 1 { "is" } else { "are" };
            let config = config.display();
            writeln!(
                out,
                "{app}: no supervisor runs; {tenants} {config} {are} no residue"
            )?;
        }
        Basis::Nothing => writeln!(
            out,
            "{app}: no supervisor runs; without --config each tenant counts as residue"
        )?,
    }
    for item in found {
        writeln!(out, "{item}")?;
    }
    if found.iter().any(is_living) {
        let next = match basis {
            Basis::Supervisor => format!(
                "end the supervisor with `{}`, which leaves its tenants running, and then these with \
                 `tenantd gc --config FILE --kill`",
                super::typed(app, "detach")
            ),
            Basis::Manifest(..) | Basis::Nothing => format!(
                "the next supervisor adopts those in its manifest, and `tenantd gc --app {app} \
                 --kill` ends them"
            ),
        };
        writeln!(out, "tenants with running processes were kept: {next}")?;
    }
    if found.is_empty() {
        writeln!(out, "{app}: nothing to remove")?;
    }
    Ok(())
}
