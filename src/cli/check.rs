//! `check`: checks a manifest and the host, and rehearses the launch of each tenant. Changes nothing.

mod others;

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;

use anstyle::{AnsiColor, Style};
use anyhow::Context;
use rustix::process::{Resource, getrlimit};
use serde_json::{Value, json};

use super::{BadManifest, End, applications, learned, plan};
use tenantd_core::manifest::Source;
use tenantd_core::plan::diff::Unlaunchable;
use tenantd_core::plan::model::{HostAccess, Plan};
use tenantd_core::plan::places::Places;
use tenantd_core::plan::traffic::{Peers, TrafficPlan};
use tenantd_daemon::manifest::{ManifestFile, Unfit};
use tenantd_host::datastore::survey;
use tenantd_host::doctor::{self, Crowd, Finding, Grade, Load};
use tenantd_host::launch::{MountTemplates, rehearse_all};
use tenantd_host::network::published;

/// Prints all problems of a manifest, and what the host lacks.
pub(super) fn check(config: &Path, json: bool) -> anyhow::Result<End> {
    if json {
        return check_json(config);
    }
    let (plan, source, file) = plan::read_text(config)?;
    let mut out = anstream::stdout().lock();
    writeln!(
        out,
        "{}: good: {} with {} tenant{}",
        config.display(),
        plan.app,
        plan.tenants.len(),
        if plan.tenants.len() == 1 { "" } else { "s" }
    )?;
    let findings = examine(&plan, file.path());
    for finding in &findings {
        let style = style(finding.grade);
        let (grade, subject, found) = (finding.grade, finding.subject, &finding.found);
        writeln!(out, "host: {subject}: {style}{grade}{style:#}: {found}")?;
        if let Some(fix) = &finding.fix {
            writeln!(out, "  mend it: {fix}")?;
        }
    }
    let failed = rehearsed(&plan, &source, &findings);
    let mut seen = BTreeSet::new();
    for Unlaunchable { tenant, why, place } in &failed {
        let style = Style::new().fg_color(Some(AnsiColor::Red.into()));
        writeln!(out, "{tenant}: {style}bad{style:#}: {why}")?;
        if let Some(place) = place
            && seen.insert(place)
        {
            writeln!(out, "{}", place.excerpt)?;
        }
    }
    Ok(end(&findings, &failed))
}

/// The colour of a grade.
pub(super) fn style(grade: Grade) -> Style {
    Style::new().fg_color(Some(match grade {
        Grade::Good => AnsiColor::Green.into(),
        Grade::Weak => AnsiColor::Yellow.into(),
        Grade::Bad => AnsiColor::Red.into(),
    }))
}

/// A finding as JSON.
pub(super) fn finding(finding: &Finding) -> Value {
    let Finding {
        grade,
        subject,
        found,
        fix,
    } = finding;
    json!({ "subject": subject, "grade": grade.to_string(), "found": found, "fix": fix })
}

/// The tenants that could not be launched, each with the reason. Empty without the privileges that a
/// launch needs; then the host's finding about privileges is bad.
fn rehearsed(plan: &Plan, source: &Source, findings: &[Finding]) -> Vec<Unlaunchable> {
    let needed = ["privileges", "kernel"];
    let lacks = |it: &Finding| it.grade == Grade::Bad && needed.contains(&it.subject);
    if findings.iter().any(lacks) {
        return Vec::new();
    }
    let mut failed = rehearse_all(
        &MountTemplates::default(),
        &plan.app,
        &plan.tenants,
        getrlimit(Resource::Nofile),
    );
    let own = applications::supervisor(&plan.app);
    failed.extend(published::taken(&plan.tenants, |_| false, own));
    if failed.is_empty() {
        return Vec::new();
    }
    let places = Places::of(source);
    let failed = failed.iter();
    failed
        .map(|(tenant, why)| Unlaunchable::new(tenant, why, &places))
        .collect()
}

/// Checks the manifest's file, and the host for the tenants of its plan.
fn examine(plan: &Plan, manifest: &Path) -> Vec<Finding> {
    let first = plan.tenants.first();
    let host = first.map_or(HostAccess::ReadOnly, |tenant| tenant.launch.view.host);
    let mut findings = vec![doctor::manifest(manifest)];
    findings.extend(doctor::examine(Crowd::of(plan), host));
    let mut unconfined = doctor::of_host(plan);
    unconfined.extend(others::unconfined(plan, manifest));
    findings.push(doctor::wall(plan, &unconfined));
    findings.extend(doctor::uids(plan));
    findings.extend(doctor::private(plan));
    findings.extend(doctor::sockets(plan));
    findings.extend(traffic(plan));
    findings.extend(doctor::names(plan));
    findings.extend(doctor::mtu(plan));
    findings.extend(doctor::uplink(plan));
    findings.extend(doctor::tables(plan));
    findings.extend(doctor::total(plan));
    findings.extend(survey::examine(plan));
    findings.extend(learned::examine(plan, manifest));
    findings
}

/// What of the host keeps the tenants from what the manifest allows them outside.
fn traffic(plan: &Plan) -> Vec<Finding> {
    let load = Load::of(plan);
    let mut findings = doctor::network(&load);
    let mut links = plan.tenants.iter().map(|tenant| &tenant.link.traffic);
    let is_forwarded = |it: &TrafficPlan| it.peers != Peers::default() || !it.by_uplink.is_empty();
    if links.any(|traffic| is_forwarded(traffic)) || load.forwarded + load.forwarded6 > 0 {
        findings.extend(doctor::filters());
    }
    findings
}

fn end(findings: &[Finding], failed: &[Unlaunchable]) -> End {
    let is_bad = findings.iter().any(|finding| finding.grade == Grade::Bad);
    match is_bad || !failed.is_empty() {
        true => End::NotAsWanted,
        false => End::Done,
    }
}

/// Prints one object. If the manifest has problems, the host is not examined.
fn check_json(config: &Path) -> anyhow::Result<End> {
    let file = ManifestFile::at(config)
        .with_context(|| format!("{}: cannot make the path absolute", config.display()))?;
    let (plan, source) = file.read().map_or_else(
        |unfit| (Err(unfit), Source::default()),
        |(plan, source)| (Ok(plan), source),
    );
    let findings = match &plan {
        Ok(plan) => examine(plan, file.path()),
        Err(_) => Vec::new(),
    };
    let failed = match &plan {
        Ok(plan) => rehearsed(plan, &source, &findings),
        Err(_) => Vec::new(),
    };
    let mut whole = object(file.path(), &plan, &findings);
    whole["unlaunchable"] = json!(failed);
    let text = serde_json::to_string_pretty(&whole).context("cannot write the result as JSON")?;
    writeln!(anstream::stdout(), "{text}")?;
    match plan {
        Ok(_) => Ok(end(&findings, &failed)),
        Err(_) => Err(BadManifest::printed().into()),
    }
}

fn object(path: &Path, plan: &Result<Plan, Unfit>, findings: &[Finding]) -> Value {
    let problems = match plan {
        Ok(_) => json!([]),
        Err(Unfit::Problems(problems)) => json!(problems),
        Err(
            unreadable @ (Unfit::Unreadable { .. }
            | Unfit::Unknown { .. }
            | Unfit::Unrecorded { .. }),
        ) => json!([{
            "line": null,
            "column": null,
            "message": unreadable.to_string(),
            "note": null,
            "help": null,
            "related": [],
        }]),
    };
    let plan = plan.as_ref().ok();
    let host = findings.iter().map(finding);
    json!({
        "manifest": path,
        "good": plan.is_some(),
        "app": plan.map(|plan| &plan.app),
        "tenants": plan.map(|plan| plan.tenants.len()),
        "problems": problems,
        "host": host.collect::<Vec<_>>(),
    })
}
