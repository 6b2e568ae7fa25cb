//! `verify`: compares what running tenants have with their plans. Changes nothing.

use std::io::Write;

use anyhow::{Context, bail};
use serde_json::json;

use super::args::Verify;
use super::{End, applied, plan, starting, unmatched};
use tenantd_api::client::app::Selector;
use tenantd_api::client::pattern;
use tenantd_core::name::{AppName, TenantName};
use tenantd_host::verify::{self, Drift};

/// What was found of a tenant: what is not as planned, or why it could not be verified.
struct Verified {
    tenant: TenantName,
    found: Result<Vec<Drift>, String>,
}

impl Verified {
    fn is_good(&self) -> bool {
        matches!(&self.found, Ok(drifts) if drifts.is_empty())
    }
}

/// Verifies tenants, and prints what is not as planned.
pub(super) fn verify(selector: &Selector, what: &Verify) -> anyhow::Result<End> {
    if !rustix::process::geteuid().is_root() {
        bail!("`verify` looks into tenants, which needs root: try again with sudo");
    }
    let app = starting::find(selector)?;
    let all = examine(&app, what)?;
    match what.json {
        true => print_json(&app, &all)?,
        false => print(&all)?,
    }
    Ok(match all.iter().all(Verified::is_good) {
        true => End::Done,
        false => End::NotAsWanted,
    })
}

fn examine(app: &AppName, what: &Verify) -> anyhow::Result<Vec<Verified>> {
    let (manifest, running) = applied::running(app)?;
    let (plan, _) = plan::read(&manifest)?;
    let names: Vec<TenantName> = plan.tenants.iter().map(|it| it.name.clone()).collect();
    let named = pattern::resolve(&names, &what.names).map_err(|error| unmatched(app, &error))?;
    let mut all = Vec::new();
    for tenant in &plan.tenants {
        if !(what.names.is_empty() || named.contains(&tenant.name)) {
            continue;
        }
        let status = running.iter().find(|it| it.name == tenant.name);
        let found = match status.and_then(|it| it.pid) {
            Some(pid) => verify::verify(&plan.network, tenant, pid)
                .map_err(|error| format!("cannot be verified: {error}")),
            None if what.names.is_empty() => continue,
            None => Err(format!(
                "does not run: see `tenantd status {}`",
                tenant.name
            )),
        };
        all.push(Verified {
            tenant: tenant.name.clone(),
            found,
        });
    }
    Ok(all)
}

fn print(all: &[Verified]) -> anyhow::Result<()> {
    let mut out = anstream::stdout().lock();
    for Verified { tenant, found } in all {
        match found {
            Ok(drifts) => {
                for Drift {
                    what,
                    planned,
                    found,
                } in drifts
                {
                    writeln!(out, "{tenant}: {what}: planned {planned}; found {found}")?;
                }
            }
            Err(why) => writeln!(out, "{tenant}: {why}")?,
        }
    }
    let good = all.iter().filter(|it| it.is_good()).count();
    let s = if all.len() == 1 { "" } else { "s" };
    match all.len() - good {
        0 => writeln!(out, "{} tenant{s} verified: all is as planned", all.len())?,
        bad => writeln!(
            out,
            "{} tenant{s} verified: {bad} not as planned",
            all.len()
        )?,
    }
    Ok(())
}

fn print_json(app: &AppName, all: &[Verified]) -> anyhow::Result<()> {
    let tenants = all.iter().map(|Verified { tenant, found }| {
        let drifts = found.iter().flatten().map(|drift| {
            let Drift {
                what,
                planned,
                found,
            } = drift;
            json!({ "what": what, "planned": planned, "found": found })
        });
        let drifts: Vec<_> = drifts.collect();
        json!({ "tenant": tenant, "drifts": drifts, "error": found.as_ref().err() })
    });
    let tenants: Vec<_> = tenants.collect();
    let whole = json!({ "app": app, "tenants": tenants });
    let text = serde_json::to_string_pretty(&whole).context("cannot write the result as JSON")?;
    writeln!(anstream::stdout(), "{text}")?;
    Ok(())
}
