//! The lines about what a tenant uses, what it is limited to, and how often a limit was reached.

use std::io::{self, Write};
use std::path::Path;

use jiff::Timestamp;

use super::table::length;
use crate::cli::set::in_words;
use crate::cli::usage::units::bytes;
use crate::cli::wrap::wrapped;
use tenantd_api::wire::{StateWord, TenantStatus};
use tenantd_core::cgroup::{GroupKey, shown};
use tenantd_core::name::{AppName, TenantName};
use tenantd_host::cgroup::{Bounds, DiskUse, bounds};
use tenantd_host::{datastore, quota};

/// Reads what a tenant uses. `None` without a cgroup.
pub(super) fn of(app: &AppName, tenant: &TenantStatus) -> Option<Result<Bounds, String>> {
    let cgroup = tenant.cgroup.as_deref()?;
    let found = bounds(Path::new(cgroup)).transpose()?;
    let found = found.map_err(|error| format!("cannot read {cgroup}: {error}"));
    Some(found.and_then(|found| with_disk(found, app, &tenant.name)))
}

/// Adds what the filesystem counts of the datastore. Only root may know that.
fn with_disk(mut found: Bounds, app: &AppName, tenant: &TenantName) -> Result<Bounds, String> {
    if !rustix::process::geteuid().is_root() {
        return Ok(found);
    }
    let source = datastore::remembered(app, tenant).map_err(|why| why.to_string())?;
    let disk = source.map(|source| quota::found(&source));
    let disk = disk.transpose().map_err(|why| why.to_string())?.flatten();
    let Some(disk) = disk else { return Ok(found) };
    for (name, limit) in [
        ("disk.max", disk.limits.bytes),
        ("disk.files", disk.limits.files),
    ] {
        if let Some((key, limit)) = GroupKey::named(name).zip(limit) {
            let value = shown(key, &limit.to_string());
            found.limits.insert(name.to_owned(), value);
        }
    }
    found.disk = Some(DiskUse {
        bytes: disk.bytes,
        files: disk.files,
        most: disk.limits.bytes,
    });
    Ok(found)
}

/// Writes which limits a tenant has reached. Those of one that has ended are the reason of that.
pub(super) fn reached(out: &mut (impl Write + ?Sized), tenant: &TenantStatus) -> io::Result<()> {
    let is_up = tenant.state == StateWord::Up;
    for reached in tenant.reached.iter().filter(|_| is_up) {
        writeln!(out, "  REACHED {}", reached.text)?;
    }
    Ok(())
}

/// Writes what a tenant waited for, and who used it.
pub(super) fn starved(
    out: &mut (impl Write + ?Sized),
    tenant: &TenantStatus,
    now: Timestamp,
) -> io::Result<()> {
    let Some(starved) = &tenant.starved else {
        return Ok(());
    };
    let time = starved.time.parse().unwrap_or(now);
    let line = format!("  STARVED {} ago: {}", length(time, now), starved.text);
    writeln!(out, "{}", wrapped(&line, &io::stdout()))
}

/// Writes which limits of a tenant were set by hand.
pub(super) fn by_hand(out: &mut (impl Write + ?Sized), tenant: &TenantStatus) -> io::Result<()> {
    let mut all = tenant.by_hand.iter();
    all.try_for_each(|one| writeln!(out, "  BY HAND {}", in_words(one)))
}

/// Writes the lines below a tenant.
pub(super) fn below(
    out: &mut (impl Write + ?Sized),
    found: &Result<Bounds, String>,
) -> io::Result<()> {
    let found = match found {
        Ok(found) => found,
        Err(why) => return writeln!(out, "  LIMITS {why}"),
    };
    for (word, used, prefix) in [
        ("MEMORY", memory(found), "memory."),
        ("CPU", cpu(found), "cpu."),
        ("PIDS", pids(found), "pids."),
        ("IO", io(found), "io."),
        ("HUGETLB", Vec::new(), "hugetlb"),
        ("DISK", disk(found), "disk."),
    ] {
        let limits = found.limits.iter();
        let limits = limits.filter(|(key, _)| key.starts_with(prefix));
        let limits: Vec<String> = limits
            .map(|(key, value)| format!("{key} {value}"))
            .collect();
        let mut said = used;
        if !limits.is_empty() {
            said.insert(said.len().min(1), limits.join(", "));
        }
        if !said.is_empty() {
            writeln!(out, "  {word} {}", said.join("; "))?;
        }
    }
    waited(out, found)?;
    uncounted(out, found)
}

/// Says what the processes waited for in the last minute, if they did for at least a hundredth of it.
fn waited(out: &mut (impl Write + ?Sized), found: &Bounds) -> io::Result<()> {
    let pressure = found.pressure.iter();
    let felt = pressure.filter(|(_, it)| it.some.avg10.0.max(it.some.avg60.0) >= 100);
    let said: Vec<String> = felt
        .map(|(resource, it)| {
            let percent = |it: u32| format!("{}.{:02} %", it / 100, it % 100);
            let (ten, sixty) = (percent(it.some.avg10.0), percent(it.some.avg60.0));
            format!("waits for {resource} {ten} of 10 s, {sixty} of a minute")
        })
        .collect();
    match said.is_empty() {
        true => Ok(()),
        false => {
            let line = format!("  PRESSURE {}", said.join("; "));
            writeln!(out, "{}", wrapped(&line, &io::stdout()))
        }
    }
}

/// Says once for each reason what is not counted. The processor time needs no controller.
fn uncounted(out: &mut (impl Write + ?Sized), found: &Bounds) -> io::Result<()> {
    let all = found.uncounted.iter().filter(|(it, _)| **it != "cpu");
    let all: Vec<(&str, &str)> = all.map(|(it, why)| (*it, why.as_str())).collect();
    // The reasons of version 1 name the controller.
    let plain = |(name, why): &(&str, &str)| {
        let v1 = if *name == "io" { "blkio" } else { name };
        why.replace(&format!("/{v1})"), "/...)")
    };
    let mut reasons: Vec<String> = all.iter().map(plain).collect();
    reasons.dedup();
    for reason in reasons {
        let names = all.iter().filter(|one| plain(one) == reason);
        let names: Vec<&str> = names.map(|(name, _)| *name).collect();
        let line = format!("  NOT COUNTED {}: {reason}", names.join(", "));
        writeln!(out, "{}", wrapped(&line, &io::stdout()))?;
    }
    Ok(())
}

fn memory(found: &Bounds) -> Vec<String> {
    let counters = &found.counters;
    let Some(now) = counters.memory else {
        return Vec::new();
    };
    let peak = counters.memory_peak;
    let peak = peak.map_or_else(String::new, |peak| format!(", at most {}", bytes(peak)));
    let mut said = vec![format!("{}{peak}", bytes(now))];
    said.extend(match counters.oom_kills {
        None | Some(0) => None,
        Some(1) => Some("the OOM killer ended 1 process".to_owned()),
        Some(several) => Some(format!("the OOM killer ended {several} processes")),
    });
    said
}

fn cpu(found: &Bounds) -> Vec<String> {
    let Some(used) = found.counters.cpu_usec else {
        return Vec::new();
    };
    let mut said = vec![format!("{} used", seconds(used))];
    if let Some(count) = found.throttled.filter(|count| *count > 0) {
        let waited = seconds(found.counters.throttled_usec.unwrap_or_default());
        said.push(format!("throttled {}, for {waited}", times(count)));
    }
    said
}

fn pids(found: &Bounds) -> Vec<String> {
    let Some(now) = found.counters.pids else {
        return Vec::new();
    };
    let mut said = vec![now.to_string()];
    if let Some(count) = found.pids_refused.filter(|count| *count > 0) {
        said.push(format!(
            "a new process or thread was refused {}",
            times(count)
        ));
    }
    said
}

/// A full one says so: nothing notifies of it.
fn disk(found: &Bounds) -> Vec<String> {
    let Some(disk) = found.disk else {
        return Vec::new();
    };
    let files = disk
        .files
        .map_or_else(String::new, |files| format!(", {files} files"));
    let mut said = vec![format!("{}{files}", bytes(disk.bytes))];
    let percent = |most: u64| u128::from(disk.bytes) * 100 / u128::from(most.max(1));
    said.extend(
        disk.most
            .map(percent)
            .filter(|percent| *percent >= 90)
            .map(|percent| format!("{percent} % are used: beyond it, writes fail with EDQUOT")),
    );
    said
}

fn io(found: &Bounds) -> Vec<String> {
    let counters = &found.counters;
    match counters.io_read.zip(counters.io_written) {
        Some((read, written)) => vec![format!("{} read, {} written", bytes(read), bytes(written))],
        None => Vec::new(),
    }
}

fn times(count: u64) -> String {
    match count {
        1 => "once".to_owned(),
        several => format!("{several} times"),
    }
}

/// Microseconds as seconds.
fn seconds(usec: u64) -> String {
    format!("{}.{:03} s", usec / 1_000_000, usec % 1_000_000 / 1000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tenantd_host::counters::CgroupCounters;

    fn written(found: &Bounds) -> String {
        let mut out = Vec::new();
        below(&mut out, &Ok(found.clone())).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn use_and_limits_are_shown_with_what_happened() {
        let limits = [
            ("cpu.quota", "20 %"),
            ("memory.max", "64 MiB"),
            ("memory.swap", "0"),
            ("pids.max", "40"),
        ];
        let limits = limits.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let found = Bounds {
            counters: CgroupCounters {
                cpu_usec: Some(3_201_999),
                throttled_usec: Some(1_300_000),
                memory: Some(34 << 20),
                memory_peak: Some(64 << 20),
                oom_kills: Some(1),
                pids: Some(3),
                io_read: Some(1 << 20),
                io_written: Some(0),
                ..CgroupCounters::default()
            },
            throttled: Some(12),
            pids_refused: Some(30),
            limits: limits.into(),
            ..Bounds::default()
        };
        assert_eq!(
            written(&found),
            "  MEMORY 34.0 MiB, at most 64.0 MiB; memory.max 64 MiB, memory.swap 0; the OOM killer ended 1 \
             process\n  CPU 3.201 s used; cpu.quota 20 %; throttled 12 times, for 1.300 s\n  PIDS 3; pids.max 40; \
             a new process or thread was refused 30 times\n  IO 1.0 MiB read, 0 B written\n"
        );
    }

    #[test]
    fn a_quota_that_is_nearly_used_up_says_so() {
        let shown = |bytes| {
            written(&Bounds {
                disk: Some(DiskUse {
                    bytes,
                    files: Some(7),
                    most: Some(20 << 20),
                }),
                limits: [("disk.max".to_owned(), "20 MiB".to_owned())].into(),
                ..Bounds::default()
            })
        };
        assert_eq!(shown(5 << 20), "  DISK 5.0 MiB, 7 files; disk.max 20 MiB\n");
        assert_eq!(
            shown(19 << 20),
            "  DISK 19.0 MiB, 7 files; disk.max 20 MiB; 95 % are used: beyond it, writes fail with EDQUOT\n"
        );
    }

    #[test]
    fn what_is_not_counted_is_said_once_for_each_reason() {
        let v1 = |name: &str| {
            format!("the host has it in the tree of version 1 (/sys/fs/cgroup/{name}); boot")
        };
        let found = Bounds {
            counters: CgroupCounters {
                cpu_usec: Some(1000),
                ..CgroupCounters::default()
            },
            uncounted: [
                ("cpu", v1("cpu")),
                ("io", v1("blkio")),
                ("memory", v1("memory")),
            ]
            .into(),
            ..Bounds::default()
        };
        assert_eq!(
            written(&found),
            "  CPU 0.001 s used\n  NOT COUNTED io, memory: the host has it in the tree of version 1 \
             (/sys/fs/cgroup/...); boot\n"
        );
    }
}
