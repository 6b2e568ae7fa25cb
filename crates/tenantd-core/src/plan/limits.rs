//! Derives resource limits, and checks that they can be set on this host.

use toml::Spanned;

use super::facts::{Ceilings, HostFacts};
use super::model::{Bound, Limit, Limits, Measure};
use crate::manifest::problem::Problems;
use crate::manifest::raw::{self, Known, Manifest, Tenant};

/// The limits of one tenant. Its own take precedence over `[defaults]`, and those over `[app]`.
pub(super) fn of(manifest: &Manifest, tenant: &Tenant) -> Limits {
    let layers = [
        &tenant.overrides.limits,
        &manifest.defaults.limits,
        &manifest.app.limits,
    ];
    let first = |of: fn(&raw::Limits) -> &Known<Limit>| {
        let said = layers.iter().find_map(|layer| of(layer).as_ref());
        said.map(|limit| *limit.get_ref())
    };
    Limits {
        open_files: first(|limits| &limits.open_files),
        core: first(|limits| &limits.core),
        locked_memory: first(|limits| &limits.locked_memory),
    }
}

/// Reports limits that the kernel would refuse.
pub(super) fn check(manifest: &Manifest, host: &dyn HostFacts, problems: &mut Problems) {
    let tenants = manifest
        .tenants
        .iter()
        .map(|tenant| &tenant.overrides.limits);
    let all = [&manifest.app.limits, &manifest.defaults.limits].into_iter();
    let mut ceilings = None;
    for limits in all.chain(tenants) {
        let raw::Limits {
            open_files,
            core,
            locked_memory,
            at: _,
        } = limits;
        if open_files.is_none() && core.is_none() && locked_memory.is_none() {
            continue;
        }
        let Ceilings {
            open_files: files_most,
            core: core_most,
            locked_memory: memory_most,
        } = *ceilings.get_or_insert_with(|| host.ceilings());
        let files = "raise fs.nr_open (sysctl), or LimitNOFILE= of tenantd's unit";
        let bytes = "raise the limit of tenantd itself in its unit, or grant it CAP_SYS_RESOURCE";
        for (limit, most, measure, help) in [
            (open_files, files_most, Measure::Number, files),
            (core, core_most, Measure::Bytes, bytes),
            (locked_memory, memory_most, Measure::Bytes, bytes),
        ] {
            check_one(limit.as_ref(), most, (measure, help), problems);
        }
    }
}

fn check_one(
    limit: Option<&Spanned<Limit>>,
    most: Bound,
    (measure, help): (Measure, &str),
    problems: &mut Problems,
) {
    let Some(limit) = limit.filter(|limit| limit.get_ref().hard > most) else {
        return;
    };
    let hard = limit.get_ref().hard.shown(measure);
    let message = format!(
        "tenantd cannot set a hard limit of {hard} on this host: the maximum is {}",
        most.shown(measure)
    );
    problems.report(&limit.span(), message).help(help);
}
