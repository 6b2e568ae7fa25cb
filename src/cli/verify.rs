//! `verify`: compares what running tenants have with their plans. Changes nothing itself: with `--repair` the supervisor
//! mends what can be mended while tenants run, and what it could not is compared again.

use std::fmt;
use std::io::Write;

use anyhow::{Context, bail};
use serde_json::{Value, json};

use super::args::Verify;
use super::{End, applied, converse, plan, set, starting, unmatched};
use tenantd_api::client::Connection;
use tenantd_api::client::app::Selector;
use tenantd_api::client::pattern;
use tenantd_api::wire::LimitByHand;
use tenantd_api::wire::varlink::RepairedList;
use tenantd_core::name::{AppName, TenantName};
use tenantd_host::verify::{self, Drift, Mends};

/// What was found of a tenant: what is not as planned, or why it could not be verified.
struct Verified {
    tenant: TenantName,
    found: Result<Vec<Drift>, String>,
    repair: Repair,
    /// The limits that were set by hand: they are as they are to be.
    by_hand: Vec<LimitByHand>,
}

/// What was mended, and what could not be.
#[derive(Default)]
struct Repair {
    mended: Vec<Drift>,
    failed: Option<String>,
}

impl Verified {
    fn is_good(&self) -> bool {
        matches!(&self.found, Ok(drifts) if drifts.is_empty()) && self.repair.failed.is_none()
    }
}

/// What was found of an application.
struct Found {
    /// Of what all tenants share.
    shared: Vec<Drift>,
    repair: Repair,
    tenants: Vec<Verified>,
}

impl Found {
    fn is_good(&self) -> bool {
        self.shared.is_empty()
            && self.repair.failed.is_none()
            && self.tenants.iter().all(Verified::is_good)
    }
}

/// Verifies tenants, and prints what is not as planned.
pub(super) fn verify(selector: &Selector, what: &Verify) -> anyhow::Result<End> {
    if !rustix::process::geteuid().is_root() {
        bail!("`verify` looks into tenants, which needs root: try again with sudo");
    }
    let app = starting::find(selector)?;
    let mut found = examine(&app, what)?;
    if what.repair && !found.is_good() {
        let repaired = repair(&app, &found)?;
        found = mended(found, examine(&app, what)?, repaired);
    }
    match what.json {
        true => print_json(&app, &found)?,
        false => print(&app, &found)?,
    }
    Ok(match found.is_good() {
        true => End::Done,
        false => End::NotAsWanted,
    })
}

/// Has the supervisor mend the tenants with a difference, and what all tenants share.
fn repair(app: &AppName, found: &Found) -> anyhow::Result<RepairedList> {
    let differing = found.tenants.iter().filter(|it| !it.is_good());
    let running = differing.filter(|it| it.found.is_ok());
    let mut names: Vec<TenantName> = running.map(|it| it.tenant.clone()).collect();
    if names.is_empty() {
        // An empty list stands for all.
        names.extend(found.tenants.first().map(|it| it.tenant.clone()));
    }
    converse(async {
        let mut connection = Connection::open(app).await?;
        Ok(connection.repair(&names).await?)
    })
}

/// What was mended is what is found no longer.
fn mended(before: Found, now: Found, repaired: RepairedList) -> Found {
    let gone = |before: Vec<Drift>, now: &[Drift]| {
        let gone = before.into_iter().filter(|drift| !now.contains(drift));
        gone.collect()
    };
    let RepairedList { shared, tenants } = repaired;
    let failed = |tenant: &TenantName| {
        let mut of = tenants.iter().filter(|it| it.tenant == *tenant);
        of.find_map(|it| it.failed.clone())
    };
    let mut befores = before.tenants.into_iter();
    let tenants = now.tenants.into_iter().map(|now| {
        let before = befores.find(|it| it.tenant == now.tenant);
        let before = before.and_then(|it| it.found.ok()).unwrap_or_default();
        let mended = match &now.found {
            Ok(drifts) => gone(before, drifts),
            Err(_) => Vec::new(),
        };
        let failed = failed(&now.tenant);
        Verified {
            repair: Repair { mended, failed },
            ..now
        }
    });
    Found {
        tenants: tenants.collect(),
        repair: Repair {
            mended: gone(before.shared, &now.shared),
            failed: shared,
        },
        shared: now.shared,
    }
}

fn examine(app: &AppName, what: &Verify) -> anyhow::Result<Found> {
    let (manifest, running) = applied::running(app, &what.names)?;
    let (plan, _) = plan::read(&manifest)?;
    let names: Vec<TenantName> = plan.tenants.iter().map(|it| it.name.clone()).collect();
    let named = pattern::resolve(&names, &what.names).map_err(|error| unmatched(app, &error))?;
    let firewall = verify::firewall(&plan.network)
        .with_context(|| format!("{app}: cannot read its firewall"))?;
    let mut all = Vec::new();
    for tenant in &plan.tenants {
        if !(what.names.is_empty() || named.contains(&tenant.name)) {
            continue;
        }
        let status = running.iter().find(|it| it.name == tenant.name);
        let found = match status.and_then(|it| it.pid) {
            Some(pid) => verify::verify(&plan.network, tenant, pid, &firewall)
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
            repair: Repair::default(),
            by_hand: status.map_or_else(Vec::new, |it| it.by_hand.clone()),
        });
    }
    let shared = || {
        let mut shared = verify::shared(&plan.network, &firewall)?;
        if let Some(pid) = running.iter().find_map(|it| it.pid) {
            shared.extend(verify::total(&plan.control.total, pid)?);
        }
        std::io::Result::Ok(shared)
    };
    let shared =
        shared().with_context(|| format!("{app}: cannot verify what all tenants share"))?;
    Ok(Found {
        shared,
        repair: Repair::default(),
        tenants: all,
    })
}

/// A drift in words.
struct Said<'a>(&'a Drift);

impl fmt::Display for Said<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Drift {
            what,
            planned,
            found,
        } = self.0;
        write!(f, "{what}: planned {planned}; found {found}")
    }
}

/// Prints what is said of something: what was mended, what is not as planned, and why it could not be mended.
fn print_one(
    out: &mut impl Write,
    who: &str,
    drifts: &[Drift],
    repair: &Repair,
    is_tenant: bool,
) -> std::io::Result<()> {
    for drift in &repair.mended {
        writeln!(out, "{who}: mended: {}", Said(drift))?;
    }
    for drift in drifts {
        let needs = match drift.mends() {
            Mends::Restart if is_tenant => format!("; needs `tenantd restart {who}`"),
            Mends::Restart | Mends::Live => String::new(),
        };
        writeln!(out, "{who}: {}{needs}", Said(drift))?;
    }
    match &repair.failed {
        Some(why) => writeln!(out, "{who}: could not be mended: {why}"),
        None => Ok(()),
    }
}

fn print(app: &AppName, found: &Found) -> anyhow::Result<()> {
    let mut out = anstream::stdout().lock();
    print_one(&mut out, app.as_str(), &found.shared, &found.repair, false)?;
    let all = &found.tenants;
    for Verified {
        tenant,
        found,
        repair,
        by_hand,
    } in all
    {
        for one in by_hand {
            writeln!(out, "{tenant}: by hand: {}", set::in_words(one))?;
        }
        match found {
            Ok(drifts) => print_one(&mut out, tenant.as_str(), drifts, repair, true)?,
            Err(why) => writeln!(out, "{tenant}: {why}")?,
        }
    }
    let good = all.iter().filter(|it| it.is_good()).count();
    let s = if all.len() == 1 { "" } else { "s" };
    let shared = match found.shared.is_empty() && found.repair.failed.is_none() {
        true => "",
        false => ", and what all tenants share",
    };
    match (all.len() - good, shared) {
        (0, "") => writeln!(out, "{} tenant{s} verified: all is as planned", all.len())?,
        (bad, _) => writeln!(
            out,
            "{} tenant{s} verified: {bad} not as planned{shared}",
            all.len()
        )?,
    }
    Ok(())
}

fn drifts_json(drifts: &[Drift]) -> Vec<Value> {
    let drifts = drifts.iter().map(|drift| {
        let Drift {
            what,
            planned,
            found,
        } = drift;
        let mends = match drift.mends() {
            Mends::Live => "repair",
            Mends::Restart => "restart",
        };
        json!({ "what": what, "planned": planned, "found": found, "needs": mends })
    });
    drifts.collect()
}

fn print_json(app: &AppName, all: &Found) -> anyhow::Result<()> {
    let tenants = all.tenants.iter().map(
        |Verified {
             tenant,
             found,
             repair,
             by_hand,
         }| {
            let drifts = found.as_deref().unwrap_or_default();
            json!({
                "tenant": tenant,
                "drifts": drifts_json(drifts),
                "mended": drifts_json(&repair.mended),
                "error": found.as_ref().err().or(repair.failed.as_ref()),
                "by_hand": by_hand,
            })
        },
    );
    let tenants: Vec<_> = tenants.collect();
    let whole = json!({
        "app": app,
        "drifts": drifts_json(&all.shared),
        "mended": drifts_json(&all.repair.mended),
        "error": all.repair.failed,
        "tenants": tenants,
    });
    let text = serde_json::to_string_pretty(&whole).context("cannot write the result as JSON")?;
    writeln!(anstream::stdout(), "{text}")?;
    Ok(())
}
