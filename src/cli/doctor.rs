//! `doctor`: holds the limits and settings of the host against the number of its tenants. Changes nothing.

use std::collections::BTreeMap;
use std::io::Write;

use anyhow::Context;
use serde_json::json;

use super::args::Doctor;
use super::{End, applications, check};
use tenantd_core::name::AppName;
use tenantd_core::plan::model::HostAccess;
use tenantd_host::doctor::{self, Crowd, Finding, Grade, Load};

/// Prints what the host lacks for its tenants, and how to mend it.
pub(super) fn doctor(what: &Doctor) -> anyhow::Result<End> {
    let (load, uplinks) = match what.tenants {
        Some(tenants) => (Load::any(tenants), Vec::new()),
        None => of_host(),
    };
    let mut findings = doctor::examine(Crowd::silent(load.tenants), HostAccess::ReadOnly);
    findings.extend(doctor::settings(&load));
    findings.push(doctor::pressure());
    findings.extend(doctor::filters());
    findings.extend(doctor::link_programs());
    findings.extend(uplinks);
    match what.json {
        true => print_json(&load, &findings)?,
        false => print(&load, &findings)?,
    }
    let is_bad = findings.iter().any(|finding| finding.grade == Grade::Bad);
    Ok(match is_bad {
        true => End::NotAsWanted,
        false => End::Done,
    })
}

/// The tenants of all applications, and what keeps others from their addresses by uplinks. The plan of a manifest
/// replaces what the running supervisor has of it.
fn of_host() -> (Load, Vec<Finding>) {
    let running = applications::running();
    let mut apps: BTreeMap<AppName, Load> = running
        .iter()
        .map(|status| {
            let tenants = status.tenants.len() as u64;
            (status.app.clone(), Load::any(tenants))
        })
        .collect();
    let mut uplinks = Vec::new();
    for (_, plan) in applications::plans(&running) {
        let load = Load::of(&plan);
        uplinks.extend(doctor::uplink(&plan));
        apps.insert(plan.app, load);
    }
    let load = apps.values().fold(Load::default(), |sum, one| sum + *one);
    (load, uplinks)
}

fn print(load: &Load, findings: &[Finding]) -> anyhow::Result<()> {
    let mut out = anstream::stdout().lock();
    let count = |grade| findings.iter().filter(|it| it.grade == grade).count();
    for Finding {
        grade,
        subject,
        found,
        fix,
    } in findings
    {
        let style = check::style(*grade);
        writeln!(out, "{subject}: {style}{grade}{style:#}: {found}")?;
        if let Some(fix) = fix {
            writeln!(out, "  mend it: {fix}")?;
        }
    }
    let s = if load.tenants == 1 { "" } else { "s" };
    writeln!(
        out,
        "{} tenant{s} on this host: {} good, {} weak, {} bad",
        load.tenants,
        count(Grade::Good),
        count(Grade::Weak),
        count(Grade::Bad)
    )?;
    Ok(())
}

fn print_json(load: &Load, findings: &[Finding]) -> anyhow::Result<()> {
    let findings: Vec<_> = findings.iter().map(check::finding).collect();
    let whole = json!({ "tenants": load.tenants, "findings": findings });
    let text = serde_json::to_string_pretty(&whole).context("cannot write the result as JSON")?;
    writeln!(anstream::stdout(), "{text}")?;
    Ok(())
}
