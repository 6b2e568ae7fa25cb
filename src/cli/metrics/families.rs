//! The families of metrics: what each one is, and its value for a tenant.

use std::collections::BTreeMap;
use std::path::Path;

use super::followed::{App, LIMITS};
use super::text::{Kind, Text};
use tenantd_api::wire::{StateWord, TenantStatus, Want};
use tenantd_core::name::AppName;
use tenantd_host::counters::measured::{self, Measured, Sizes};
use tenantd_host::counters::{CgroupCounters, Counters, LinkCounters, Links, Trees};

/// A tenant, and what the kernel counted for it.
struct Row<'a> {
    labels: String,
    status: &'a TenantStatus,
    cgroup: CgroupCounters,
    link: Option<LinkCounters>,
    /// What the meter measured last.
    datastore: Option<Measured>,
}

/// A family with a sample for each tenant that has a value: its name, kind, help and value.
type Family = (
    &'static str,
    Kind,
    &'static str,
    fn(&Row<'_>) -> Option<f64>,
);

/// One line for each family.
macro_rules! families {
    ($($name:literal, $kind:ident, $help:literal, $it:ident => $value:expr;)*) => {
        const FAMILIES: &[Family] = &[
            $(($name, Kind::$kind, $help, |$it| $value),)*
        ];
    };
}

families! {
    "tenantd_tenant_up", Gauge, "Whether the program of the tenant runs.", it => Some(of(it.status.state == StateWord::Up));
    "tenantd_tenant_wanted_up", Gauge, "Whether the tenant is wanted up.", it => Some(of(it.status.want == Want::Up));
    "tenantd_tenant_ready", Gauge, "Whether the program of the tenant is ready.", it => Some(of(it.status.ready == Some(true)));
    "tenantd_tenant_as_wanted", Gauge, "Whether the tenant is up and ready, or down, as it is wanted.", it => Some(of(it.status.is_as_wanted()));
    "tenantd_tenant_state_since_timestamp_seconds", Gauge, "When the tenant entered its state.", it => Some(it.status.since.as_duration().as_secs_f64());
    "tenantd_tenant_restarts", Counter, "How often the program was started again after it ended without a request.", it => Some(f64::from(it.status.restarts));
    "tenantd_tenant_network_mended", Counter, "How often the network of the tenant was corrected.", it => Some(number(it.status.network.mended));
    "tenantd_tenant_probe_failing", Gauge, "At least how many of the last probes failed in a row.", it => Some(f64::from(it.status.probe.as_ref()?.failing));
    "tenantd_tenant_probe_failed", Counter, "How many probes failed since the program became ready.", it => Some(number(it.status.probe.as_ref()?.failed));
    "tenantd_tenant_cpu_seconds", Counter, "Processor time.", it => seconds(it.cgroup.cpu_usec);
    "tenantd_tenant_cpu_throttled_seconds", Counter, "Time in which processes waited because of the quota.", it => seconds(it.cgroup.throttled_usec);
    "tenantd_tenant_memory_bytes", Gauge, "Memory in use.", it => it.cgroup.memory.map(number);
    "tenantd_tenant_memory_peak_bytes", Gauge, "The most memory since the tenant was provisioned.", it => it.cgroup.memory_peak.map(number);
    "tenantd_tenant_memory_limit_bytes", Gauge, "The limit of memory.", it => it.cgroup.memory_max.map(number);
    "tenantd_tenant_oom_kills", Counter, "Processes that were killed because memory was used up.", it => it.cgroup.oom_kills.map(number);
    "tenantd_tenant_io_read_bytes", Counter, "Bytes read from block devices.", it => it.cgroup.io_read.map(number);
    "tenantd_tenant_io_written_bytes", Counter, "Bytes written to block devices.", it => it.cgroup.io_written.map(number);
    "tenantd_tenant_datastore_bytes", Gauge, "Size of the datastore, as the meter measured it last.", it => Some(number(it.datastore?.bytes));
    "tenantd_tenant_datastore_limit_bytes", Gauge, "The quota of the datastore then, as far as the meter may know it.", it => it.datastore?.limit.map(number);
    "tenantd_tenant_datastore_timestamp_seconds", Gauge, "When the size of the datastore was measured.", it => Some(date(it.datastore?.time_ms));
    "tenantd_tenant_tasks", Gauge, "Processes and threads.", it => it.cgroup.pids.map(number);
    "tenantd_tenant_tasks_limit", Gauge, "The limit of processes and threads.", it => it.cgroup.pids_max.map(number);
    "tenantd_tenant_network_receive_bytes", Counter, "Bytes that the tenant received.", it => Some(number(it.link?.in_bytes));
    "tenantd_tenant_network_receive_packets", Counter, "Packets that the tenant received.", it => Some(number(it.link?.in_packets));
    "tenantd_tenant_network_transmit_bytes", Counter, "Bytes that the tenant sent.", it => Some(number(it.link?.out_bytes));
    "tenantd_tenant_network_transmit_packets", Counter, "Packets that the tenant sent.", it => Some(number(it.link?.out_packets));
    "tenantd_tenant_network_drift", Gauge, "Whether the network differs from the plan and could not be corrected.", it => Some(of(it.status.network.drift.is_some()));
}

fn of(is_so: bool) -> f64 {
    f64::from(u8::from(is_so))
}

/// A number as Prometheus keeps it: exact up to 2^53.
#[allow(clippy::cast_precision_loss, reason = "every sample is such a number")]
fn number(number: u64) -> f64 {
    number as f64
}

/// A date as Prometheus has it, of milliseconds since 1970.
fn date(time_ms: i64) -> f64 {
    number(u64::try_from(time_ms).unwrap_or(0)) / 1e3
}

fn seconds(usec: Option<u64>) -> Option<f64> {
    usec.map(|usec| number(usec) / 1e6)
}

/// What the meter measured last. Without a meter there is nothing.
fn sizes() -> Sizes {
    measured::read().unwrap_or_else(|error| {
        eprintln!("tenantd metrics: the sizes of datastores are left out: {error}");
        Sizes::new()
    })
}

/// All metrics as text.
///
/// # Errors
/// If the counters of the links cannot be read.
pub(super) fn all(apps: &BTreeMap<AppName, App>, is_open: bool) -> std::io::Result<String> {
    let read = (Trees::default(), Links::all()?);
    let sizes = sizes();
    let mut rows = Vec::new();
    for (app, known) in apps {
        for status in known.tenants.values() {
            let Counters { cgroup, link } = counters(status, &read)?;
            rows.push(Row {
                labels: format!("app=\"{app}\",tenant=\"{}\"", status.name),
                status,
                datastore: sizes.get(&(app.clone(), status.name.clone())).copied(),
                cgroup: cgroup.unwrap_or_default(),
                link,
            });
        }
    }
    let mut text = Text::new(is_open);
    text.family(
        "tenantd_build_info",
        Kind::Gauge,
        "The version of the program that serves these metrics.",
    );
    text.sample(
        "tenantd_build_info",
        &format!("version=\"{}\"", env!("CARGO_PKG_VERSION")),
        1,
    );
    supervisors(apps, &mut text);
    for &(name, kind, help, value) in FAMILIES {
        let mut values = rows
            .iter()
            .filter_map(|row| Some((row, value(row)?)))
            .peekable();
        if values.peek().is_none() {
            continue;
        }
        text.family(name, kind, help);
        let name = match kind {
            Kind::Counter => format!("{name}_total"),
            Kind::Gauge | Kind::Histogram => name.to_owned(),
        };
        for (row, value) in values {
            text.sample(&name, &row.labels, value);
        }
    }
    labelled(&rows, &mut text);
    Ok(text.end())
}

/// The families of a tenant that have a sample for each of something.
fn labelled(rows: &[Row<'_>], text: &mut Text) {
    let name = "tenantd_tenant_state";
    text.family(name, Kind::Gauge, "1 for the state of the tenant.");
    for row in rows {
        let labels = format!("{},state=\"{}\"", row.labels, row.status.state.word());
        text.sample(name, &labels, 1);
    }
    let name = "tenantd_tenant_limit_reached";
    if rows.iter().any(|row| !row.status.reached.is_empty()) {
        let help =
            "How often the program of the tenant that runs, or the last one, reached the limit.";
        text.family(name, Kind::Counter, help);
    }
    for row in rows {
        for reached in &row.status.reached {
            let labels = format!("{},limit=\"{}\"", row.labels, reached.limit);
            text.sample(&format!("{name}_total"), &labels, reached.count);
        }
    }
    let starved = rows.iter().filter_map(|row| {
        let starved = row.status.starved.as_ref()?;
        let time: jiff::Timestamp = starved.time.parse().ok()?;
        let labels = format!("{},resource=\"{}\"", row.labels, starved.resource);
        Some((labels, time.as_duration().as_secs_f64()))
    });
    let mut starved = starved.peekable();
    let name = "tenantd_tenant_starved_timestamp_seconds";
    if starved.peek().is_some() {
        let help = "When the kernel notified that the tenant waited for the resource, last.";
        text.family(name, Kind::Gauge, help);
    }
    for (labels, time) in starved {
        text.sample(name, &labels, time);
    }
}

fn counters(status: &TenantStatus, (trees, links): &(Trees, Links)) -> std::io::Result<Counters> {
    let cgroup = status
        .cgroup
        .as_ref()
        .map(|path| trees.of_cgroup(Path::new(path)));
    let link = status.link.as_ref().map(|name| links.named(name));
    Ok(Counters {
        cgroup: cgroup.transpose()?.flatten(),
        link: link.transpose()?.flatten(),
    })
}

/// What each supervisor is and does.
fn supervisors(apps: &BTreeMap<AppName, App>, text: &mut Text) {
    text.family(
        "tenantd_supervisor_up",
        Kind::Gauge,
        "Whether the supervisor of the application answers.",
    );
    for (app, known) in apps {
        text.sample(
            "tenantd_supervisor_up",
            &format!("app=\"{app}\""),
            of(known.pid.is_some()),
        );
    }
    let own: Vec<_> = apps
        .iter()
        .filter_map(|(app, known)| Some((app, own(known.pid?)?)))
        .collect();
    let name = "tenantd_supervisor_cpu_seconds";
    text.family(name, Kind::Counter, "Processor time of the supervisor.");
    for (app, (cpu, _)) in &own {
        text.sample(&format!("{name}_total"), &format!("app=\"{app}\""), cpu);
    }
    let name = "tenantd_supervisor_resident_memory_bytes";
    text.family(name, Kind::Gauge, "Resident memory of the supervisor.");
    for (app, (_, memory)) in &own {
        text.sample(name, &format!("app=\"{app}\""), memory);
    }
    let name = "tenantd_launch_duration_seconds";
    text.family(
        name,
        Kind::Histogram,
        "How long launches took until the program was ready, since these metrics are served.",
    );
    for (app, known) in apps {
        let mut sum = 0;
        for (at, count) in known.launches.counts.iter().enumerate() {
            sum += count;
            let limit = LIMITS
                .get(at)
                .map_or_else(|| "+Inf".to_owned(), ToString::to_string);
            text.sample(
                &format!("{name}_bucket"),
                &format!("app=\"{app}\",le=\"{limit}\""),
                sum,
            );
        }
        text.sample(
            &format!("{name}_sum"),
            &format!("app=\"{app}\""),
            known.launches.seconds,
        );
        text.sample(&format!("{name}_count"), &format!("app=\"{app}\""), sum);
    }
}

/// The processor time in seconds and the resident memory in bytes of a process; `None` if it has ended.
fn own(pid: u32) -> Option<(f64, f64)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may contain anything.
    let (_, fields) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = fields.split(' ').collect();
    let field = |at: usize| fields.get(at)?.parse::<u64>().ok();
    let ticks = number(field(11)? + field(12)?);
    let pages = field(21)?;
    let page = u64::try_from(rustix::param::page_size()).ok()?;
    Some((
        ticks / number(rustix::param::clock_ticks_per_second()),
        number(pages * page),
    ))
}
