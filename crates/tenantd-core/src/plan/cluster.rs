//! The commands that make a plan's tenants of the engine `pacemaker` resources of a cluster, for one of its two
//! shells. They only hold names, numbers and words of this module, so nothing in them is special to a shell.

pub mod check;
pub mod cib;
mod crm;
mod hosts;
mod pcs;
mod wanted;

use std::collections::BTreeMap;
use std::time::Duration;

use super::model::{Plan, TenantPlan};
use crate::manifest::engine::Engine;
use crate::manifest::storage::Storage;
use crate::name::TenantName;
pub use hosts::{HostName, Local, Size, Unusable};

/// Which shell of Pacemaker the commands are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shell {
    /// `crm`, see crm(8).
    Crm,
    /// `pcs`, see pcs(8).
    Pcs,
}

/// What a manifest does not say of the hosts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hosts {
    /// Whose data is on one host alone.
    pub local: Vec<Local>,
    /// How large hosts are.
    pub sizes: Vec<Size>,
}

/// Why there are no commands.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    /// No tenant has the engine.
    #[error(
        "no tenant of {0} has engine = \"pacemaker\": set it in [defaults] or of tenants, see docs/cluster.md"
    )]
    NoTenant(String),
    /// A tenant is not in the plan, or has another engine.
    #[error("--local: {0} is no tenant with engine = \"pacemaker\"")]
    Unknown(TenantName),
    /// All hosts reach its data.
    #[error(
        "--local: {0} has storage = \"{1}\" in the manifest, so its data is not on one host alone"
    )]
    NotLocal(TenantName, &'static str),
    /// Nothing says which host has its data.
    #[error(
        "{0} has storage = \"local\", so only the host with its data may start it: name that, --local HOST={0}; or, if all \
         hosts reach its data, set storage = \"shared\" in [defaults] or of the tenant"
    )]
    NoHost(TenantName),
    /// The data of a tenant is on two hosts.
    #[error("--local: {0} is named twice: its data can be on one host alone")]
    LocalTwice(TenantName),
    /// A host has two sizes.
    #[error("--size: {0} is named twice")]
    SizeTwice(HostName),
}

/// What is left for all but what the manifest has a limit for: networks, questions for addresses, a supervisor
/// that is just being started.
const SPARE: Duration = Duration::from_secs(30);

/// The least limit, as the description of the agent has it.
const LEAST: Duration = Duration::from_secs(60);

/// One tenant, as the cluster knows it.
struct Resource<'a> {
    /// Begins with a letter or `_`, as ids of XML do. No name has a point.
    id: String,
    app: &'a str,
    tenant: &'a TenantName,
    storage: Storage,
    /// The host that has its data, if it is that one alone.
    host: Option<&'a HostName>,
    /// Seconds.
    start: u64,
    /// Seconds.
    stop: u64,
    /// In MiB, and in hundredths of a processor; unless unlimited.
    uses: Vec<(&'static str, u64)>,
}

impl Resource<'_> {
    /// `memory=512 cpu=150`.
    fn uses(&self) -> String {
        let each = self.uses.iter().map(|(what, n)| format!("{what}={n}"));
        each.collect::<Vec<_>>().join(" ")
    }
}

/// The commands for a shell, as a script of sh(1).
///
/// # Errors
/// The manifest has no such tenant, or what is said of the hosts does not fit it.
pub fn text(plan: &Plan, shell: Shell, hosts: &Hosts) -> Result<String, Misfit> {
    let resources = resources(plan, &hosts.local)?;
    let sizes = sizes(hosts)?;
    let script = match shell {
        Shell::Crm => crm::script(&resources, &sizes),
        Shell::Pcs => pcs::script(&resources, &sizes),
    };
    Ok(head(plan, &resources, &sizes) + &script)
}

/// The sizes, in the order of their hosts.
fn sizes(hosts: &Hosts) -> Result<Vec<&Size>, Misfit> {
    let mut sizes: Vec<&Size> = hosts.sizes.iter().collect();
    sizes.sort_by_key(|size| &size.host);
    if let Some(pair) = sizes.windows(2).find(|pair| pair[0].host == pair[1].host) {
        return Err(Misfit::SizeTwice(pair[0].host.clone()));
    }
    Ok(sizes)
}

fn resources<'a>(plan: &'a Plan, local: &'a [Local]) -> Result<Vec<Resource<'a>>, Misfit> {
    let is_meant = |tenant: &&TenantPlan| tenant.policy.engine == Engine::Pacemaker;
    let mut places = BTreeMap::new();
    for Local { host, tenants } in local {
        for name in tenants {
            let known = plan.tenants.iter().find(|tenant| tenant.name == *name);
            let Some(known) = known.filter(is_meant) else {
                return Err(Misfit::Unknown(name.clone()));
            };
            let storage = known.policy.storage;
            if storage != Storage::Local {
                return Err(Misfit::NotLocal(name.clone(), storage.word()));
            }
            if places.insert(name, host).is_some() {
                return Err(Misfit::LocalTwice(name.clone()));
            }
        }
    }
    let app = plan.app.as_str();
    let meant = plan.tenants.iter().filter(is_meant);
    let resources: Vec<_> = meant
        .map(|tenant| resource(app, tenant, places.get(&tenant.name).copied()))
        .collect();
    let lost = |it: &&Resource<'_>| it.storage == Storage::Local && it.host.is_none();
    match resources.iter().find(lost) {
        Some(lost) => Err(Misfit::NoHost(lost.tenant.clone())),
        None if resources.is_empty() => Err(Misfit::NoTenant(app.to_owned())),
        None => Ok(resources),
    }
}

fn resource<'a>(app: &'a str, tenant: &'a TenantPlan, host: Option<&'a HostName>) -> Resource<'a> {
    let policy = &tenant.policy;
    let phases = [&policy.phases.init, &policy.phases.before].into_iter();
    let phases = phases.flatten().map(|phase| phase.within);
    let start = phases.fold(policy.ready_within, Duration::saturating_add);
    let first = app.starts_with(|c: char| c.is_ascii_digit());
    let uses = [("memory", memory(tenant)), ("cpu", processors(tenant))];
    Resource {
        id: format!("{}{app}.{}", if first { "_" } else { "" }, tenant.name),
        app,
        tenant: &tenant.name,
        storage: policy.storage,
        host,
        start: limit(start),
        stop: limit(policy.grace),
        uses: uses
            .into_iter()
            .filter_map(|(what, n)| Some((what, n?)))
            .collect(),
    }
}

/// The limit in seconds of an operation that waits this long for the program.
fn limit(program: Duration) -> u64 {
    let whole = program.saturating_add(SPARE).max(LEAST);
    whole.as_secs() + u64::from(whole.subsec_nanos() > 0)
}

/// `memory.max` in MiB.
fn memory(tenant: &TenantPlan) -> Option<u64> {
    let bytes: u64 = tenant.launch.group.value("memory.max")?.parse().ok()?;
    Some(bytes.div_ceil(1 << 20))
}

/// `cpu.quota` in hundredths of a processor.
fn processors(tenant: &TenantPlan) -> Option<u64> {
    let (quota, period) = tenant.launch.group.value("cpu.quota")?.split_once(' ')?;
    let (quota, period): (u64, u64) = (quota.parse().ok()?, period.parse().ok()?);
    Some(quota.checked_mul(100)?.div_ceil(period.max(1)))
}

/// What the operator must know, as comments.
fn head(plan: &Plan, resources: &[Resource<'_>], sizes: &[&Size]) -> String {
    let app = &plan.app;
    let mut lines = vec![
        format!("Tenants of {app} as resources of Pacemaker, see docs/cluster.md."),
        format!("Before, on each host: the manifest /etc/tenantd/{app}.toml, and systemctl enable --now tenantd@{app}."),
        "Before, in the cluster: a fence device for each host. Without one, Pacemaker starts nothing.".to_owned(),
    ];
    if sizes.is_empty() {
        lines.push("Pacemaker counts tenants, not what they use: tell it how large each host is, --size HOST=MEMORY,PROCESSORS.".to_owned());
    } else {
        lines.push("Pacemaker places by memory.max and cpu.quota. A host without a size gets no tenant that has one of them.".to_owned());
        for (what, key) in [("memory", "memory.max"), ("cpu", "cpu.quota")] {
            let has = |it: &&Resource<'_>| it.uses.iter().any(|(used, _)| *used == what);
            let without = resources.len() - resources.iter().filter(has).count();
            if without > 0 {
                lines.push(format!(
                    "Without {key}, and not counted: {without} of {}.",
                    resources.len()
                ));
            }
        }
    }
    let pinned = resources.iter().filter(|it| it.host.is_some()).count();
    if pinned > 0 {
        lines.push(format!(
            "Data on one host alone, so that no other host starts them: {pinned} of {}.",
            resources.len()
        ));
    }
    let replicated = resources
        .iter()
        .filter(|it| it.storage == Storage::Replicated);
    for it in replicated {
        lines.push(format!(
            "{}: replicated. Add that it starts after its device is promoted and mounted, and on that host.",
            it.id
        ));
    }
    lines.iter().map(|line| format!("# {line}\n")).collect()
}
