//! `run`: runs the supervisor in this process.

use std::io::Write;
use std::path::Path;

use anyhow::Context;

use super::{End, plan};
use tenantd_core::plan::model::Plan;
use tenantd_daemon::handover::{preflight, rollback};
use tenantd_daemon::manifest::ManifestFile;
use tenantd_daemon::{self, Start, logs, own_log, signals};
use tenantd_host::doctor::{self, Grade};
use tenantd_host::inherited::Inherited;
use tenantd_host::launch::{self, memory};
use tenantd_host::{limits, timeline};

/// Runs all tenants of a manifest until a signal stops them. If a running supervisor started this
/// process as the preflight of an upgrade, only says whether it would run.
pub(super) fn run(config: &Path) -> anyhow::Result<End> {
    if std::env::var_os(preflight::VARIABLE).is_some() {
        let (plan, _) = fitting(config, plan::read(config)?)?;
        writeln!(std::io::stdout(), "{}", preflight::answer(&plan.app)?)?;
        return Ok(End::Done);
    }
    signals::block().context("cannot block the signals")?;
    // Before anything else is opened or started: descriptors would be counted against the old limit.
    let descriptors = limits::raise().context("cannot raise the limit on open descriptors")?;
    let inherited = Inherited::take().context("cannot take over the inherited descriptors")?;
    rollback::open(&inherited, descriptors)
        .context("cannot prepare the rollback of the upgrade")?;
    let result = supervise(config, inherited, descriptors);
    if let Err(error) = &result {
        own_log::ended(&format!("{error:#}"));
        rollback::run(&format!("{error:#}"));
    }
    result
}

/// Refuses more tenants than the host has room for.
fn fitting(
    config: &Path,
    (plan, manifest): (Plan, ManifestFile),
) -> anyhow::Result<(Plan, ManifestFile)> {
    if let Some(why) = doctor::too_many(&plan) {
        anyhow::bail!(
            "{}: too many tenants for this host: {why}",
            config.display()
        );
    }
    Ok((plan, manifest))
}

fn supervise(
    config: &Path,
    inherited: Inherited,
    descriptors: rustix::process::Rlimit,
) -> anyhow::Result<End> {
    launch::make_room();
    // Before the plan, which is the largest that it has.
    let kept = memory::keep_from_children();
    let reading = timeline::span("start: read the manifest", config);
    let (plan, manifest) = fitting(config, plan::read_to_run(config)?)?;
    drop(reading);
    let logs_go_to = logs::place();
    let log_guard = own_log::init(&plan.app, logs_go_to, false).context("cannot set up the log")?;
    if let Err(errno) = kept {
        tracing::warn!(
            "each launch copies the memory of the supervisor, and takes longer: cannot reserve addresses for it: {errno}"
        );
    }
    let writers = doctor::manifest(manifest.path());
    if writers.grade != Grade::Good {
        tracing::warn!("manifest: {}", writers.found);
    }
    let start = Start {
        manifest,
        logs_go_to,
        log_guard,
        inherited,
        descriptors,
    };
    tenantd_daemon::run(plan, start)?;
    Ok(End::Done)
}
