//! Derives resource limits, and checks that they can be set on this host.

use serde_json::{Map, Value, json};
use toml::Spanned;

use super::facts::{Ceilings, HostFacts};
use super::fields::See;
use super::fields::field::Key::Later;
use super::fields::field::limits_processes;
use super::model::{Bound, Limit, Limits, Measure};
use crate::cgroup::{GroupLimits, GroupValue, Named, shown};
use crate::manifest::problem::Problems;
use crate::manifest::raw::{self, Known, Manifest, Tenant};

/// The keys of limits of cgroups in the tables of `limits` and of `total`.
fn groups<'a>(
    (memory, cpu, io, pids): (&'a raw::Memory, &'a raw::Cpu, &'a raw::Io, &'a raw::Pids),
    hugetlb: &'a Known<GroupValue>,
) -> [(&'static str, &'a Known<GroupValue>); 14] {
    [
        ("memory.max", &memory.max),
        ("memory.high", &memory.high),
        ("memory.swap", &memory.swap),
        ("memory.low", &memory.low),
        ("memory.min", &memory.min),
        ("memory.group_kill", &memory.group_kill),
        ("cpu.quota", &cpu.quota),
        ("cpu.weight", &cpu.weight),
        ("cpu.cpus", &cpu.cpus),
        ("cpu.mems", &cpu.mems),
        ("io.weight", &io.weight),
        ("io.max", &io.max),
        ("pids.max", &pids.max),
        ("hugetlb", hugetlb),
    ]
}

/// Sets each of these limits that is known. `io.weight` is written with the word for all devices.
fn set(limits: &mut GroupLimits, each: &[(&'static str, &Known<GroupValue>)]) {
    for (name, value) in each {
        let Some(value) = value else { continue };
        let value = value.get_ref();
        match (*name, value.0.get("")) {
            ("io.weight", Some(weight)) => {
                limits.set(name, &GroupValue::one(format!("default {weight}")));
            }
            _ => limits.replace(name, value),
        }
    }
}

/// The limits of the cgroup of one tenant, in the same order of precedence.
pub(super) fn group(manifest: &Manifest, tenant: &Tenant) -> GroupLimits {
    let mut whole = GroupLimits::default();
    for layer in [
        &manifest.app.limits,
        &manifest.defaults.limits,
        &tenant.overrides.limits,
    ] {
        layered(&mut whole, layer);
    }
    whole
}

/// Sets the limits of a cgroup that one table of `limits` has.
pub(super) fn layered(whole: &mut GroupLimits, layer: &raw::Limits) {
    let raw::Disk { max, files, at: _ } = &layer.disk;
    set(whole, &[("disk.max", max), ("disk.files", files)]);
    let tables = (&layer.memory, &layer.cpu, &layer.io, &layer.pids);
    set(whole, &groups(tables, &layer.hugetlb));
}

/// The limits of the cgroup of all tenants together.
pub(super) fn total(manifest: &Manifest) -> GroupLimits {
    let total = &manifest.app.total;
    let tables = (&total.memory, &total.cpu, &total.io, &total.pids);
    let mut whole = GroupLimits::default();
    set(&mut whole, &groups(tables, &total.hugetlb));
    whole
}

/// Visits the limits of a cgroup that are set.
pub(super) fn group_fields(limits: &GroupLimits, label: &'static str, see: See<'_>) {
    for (key, item, value) in limits.each() {
        let name = Named(key.name, item);
        let value = shown(key, value);
        see(limits_processes(Later(label), label, &value).item(&name));
    }
}

/// The limits of a cgroup as JSON, with the manifest's keys.
pub(super) fn group_data(limits: &GroupLimits) -> Value {
    let mut whole = Map::new();
    for (key, item, value) in limits.each() {
        let value = match key.name {
            "memory.group_kill" => json!(value == "1"),
            "cpu.weight" | "pids.max" | "disk.files" => {
                value.parse::<u64>().map_or(json!(value), |it| json!(it))
            }
            _ => json!(shown(key, value)),
        };
        let (table, key) = key.name.split_once('.').unwrap_or((key.name, item));
        let inner = whole.entry(table).or_insert_with(|| json!({}));
        match item.is_empty() || key == item {
            true => inner[key] = value,
            false => inner[key][item] = value,
        }
    }
    Value::Object(whole)
}

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
            memory: _,
            cpu: _,
            io: _,
            pids: _,
            hugetlb: _,
            disk: _,
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
