//! `cluster`: prints the commands that make the tenants of a manifest resources of Pacemaker, and compares a running
//! cluster with them.

mod versions;

use std::io::{self, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use serde_json::json;

use super::End;
use super::args::{Cluster, Task};
use super::{config, plan};
use tenantd_api::client::app::Selector;
use tenantd_core::name::AppName;
use tenantd_core::plan::cluster::check::{Finding, check};
use tenantd_core::plan::cluster::{self, Hosts, Shell, cib};

/// Prints the commands for a manifest, or what of a cluster is not as they would make it, or versions.
pub(super) fn cluster(selector: Selector, what: &Cluster) -> anyhow::Result<End> {
    match what.task {
        Task::Plan if what.hosts.is_empty() => planned(&config(selector, Some("cluster"))?, what),
        Task::Plan => {
            bail!("`cluster plan` asks no hosts: leave them out, or type `cluster versions`")
        }
        Task::Versions if is_of_plan(what) => bail!(
            "`cluster versions` takes --rsh and --json only: the other options are for `cluster plan`"
        ),
        Task::Versions => versions::versions(&selector, what),
    }
}

/// Whether there is an option that `versions` would not heed.
fn is_of_plan(what: &Cluster) -> bool {
    let is_shell = what.crm || what.pcs;
    is_shell || what.check || !what.local.is_empty() || !what.size.is_empty()
}

fn planned(config: &Path, what: &Cluster) -> anyhow::Result<End> {
    let (plan, _) = plan::read(config)?;
    let shell = if what.pcs { Shell::Pcs } else { Shell::Crm };
    let hosts = Hosts {
        local: what.local.clone(),
        sizes: what.size.clone(),
    };
    if !what.check {
        if what.json {
            bail!("`cluster plan --json` is for --check");
        }
        let text = cluster::text(&plan, shell, &hosts)?;
        io::stdout().lock().write_all(text.as_bytes())?;
        return Ok(End::Done);
    }
    let (from, text) = configuration(what.cib.as_deref())?;
    let found = cib::read(&text).with_context(|| format!("cannot read {from}"))?;
    let findings = check(&plan, shell, &hosts, &found)?;
    match what.json {
        true => print_json(&plan.app, &findings)?,
        false => print(&plan.app, &findings)?,
    }
    Ok(match findings.is_empty() {
        true => End::Done,
        false => End::NotAsWanted,
    })
}

/// What the cluster has, and where that was read.
fn configuration(file: Option<&Path>) -> anyhow::Result<(String, String)> {
    let Some(file) = file else {
        return Ok(("what `cibadmin --query` printed".to_owned(), query()?));
    };
    if file == Path::new("-") {
        let mut text = String::new();
        let read = io::stdin().lock().read_to_string(&mut text);
        read.context("cannot read standard input")?;
        return Ok(("standard input".to_owned(), text));
    }
    let from = file.display().to_string();
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {from}"))?;
    Ok((from, text))
}

fn query() -> anyhow::Result<String> {
    let mut command = Command::new("cibadmin");
    command.arg("--query").stdin(Stdio::null());
    let answer = command.output().context(
        "cannot run cibadmin: run this on a host of the cluster, or name a file with --cib",
    )?;
    if !answer.status.success() {
        let said = String::from_utf8_lossy(&answer.stderr);
        bail!(
            "cibadmin --query: {}: {}: is Pacemaker running on this host?",
            answer.status,
            said.trim()
        );
    }
    String::from_utf8(answer.stdout).context("cibadmin --query printed no UTF-8")
}

fn print(app: &AppName, findings: &[Finding]) -> anyhow::Result<()> {
    let mut out = anstream::stdout().lock();
    for Finding {
        kind,
        subject,
        found,
        fix,
    } in findings
    {
        writeln!(out, "{subject}: {}: {found}", kind.word())?;
        writeln!(out, "  mend it: {fix}")?;
    }
    match findings.len() {
        0 => writeln!(out, "{app}: the cluster is as the manifest wants it")?,
        1 => writeln!(out, "{app}: 1 difference")?,
        n => writeln!(out, "{app}: {n} differences")?,
    }
    Ok(())
}

fn print_json(app: &AppName, findings: &[Finding]) -> anyhow::Result<()> {
    let each: Vec<_> = findings
        .iter()
        .map(|it| json!({ "kind": it.kind.word(), "subject": it.subject, "found": it.found, "fix": it.fix }))
        .collect();
    let whole = json!({ "app": app.as_str(), "ok": findings.is_empty(), "findings": each });
    let text = serde_json::to_string_pretty(&whole).context("cannot write the result as JSON")?;
    writeln!(io::stdout().lock(), "{text}")?;
    Ok(())
}
