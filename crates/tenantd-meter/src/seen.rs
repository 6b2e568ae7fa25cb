//! What was read of a tenant before, and so what it used since. Pure: the time is given.
//!
//! Of each object, the cgroup or the link of one provision, the last reading is kept. A reading of the same object
//! adds what is more; that of an object that was never seen adds all of it. So a reading that comes twice adds nothing, and
//! readings of several objects may come in any order.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use tenantd_api::usage::Amounts;
use tenantd_host::counters::last::FILES_MAX;
use tenantd_host::counters::{Beginnings, CgroupCounters, Counters, LinkCounters};

/// How long an object is kept that is read no more, in milliseconds: its last counters may still come.
const KEPT_MS: i64 = 24 * 60 * 60 * 1000;

/// The most objects of a tenant: those of all files with last counters, and some more.
const OBJECTS_MAX: usize = FILES_MAX + 100;

/// How much of what is used comes of one round: of a cgroup and its controllers, a link, restarts and uptime.
const USED_MAX: usize = 7;

/// The milliseconds of a day.
const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// What is remembered of one tenant between two rounds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Seen {
    objects: BTreeMap<String, Object>,
    /// The last period in which its program ran: since when, and until when that is counted.
    up: Option<(i64, i64)>,
    restarts: Option<u32>,
}

/// The last reading of an object.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Object {
    time_ms: i64,
    #[serde(flatten)]
    counters: Counters,
}

/// A reading of counters.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reading<'a> {
    /// The boot of the host.
    pub(crate) boot: &'a str,
    /// When, in milliseconds since 1970.
    pub(crate) time_ms: i64,
    /// The counters.
    pub(crate) counters: &'a Counters,
    /// Whether an object that was never seen was there before the meter: what it used then is not known to be of
    /// this day.
    pub(crate) is_old: bool,
}

/// What was used between two moments, in milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Used {
    pub(crate) from_ms: i64,
    pub(crate) to_ms: i64,
    pub(crate) amounts: Amounts,
}

impl Seen {
    /// Takes a reading in. Returns what was used since the one before of the same objects.
    pub(crate) fn read(&mut self, reading: Reading<'_>) -> Vec<Used> {
        let Counters { cgroup, link } = reading.counters;
        let mut used = Vec::with_capacity(USED_MAX);
        if let Some(now) = cgroup {
            let key = format!("{}/cgroup/{}", reading.boot, now.id);
            let is_old = reading.is_old && !self.objects.contains_key(&key);
            for (of, now) in parts(now) {
                used.push(
                    self.object(format!("{key}{of}"), reading, |object, span_ms| {
                        let before = object.cgroup.unwrap_or_else(|| begun(&now, is_old));
                        let amounts = of_cgroup(&before, &now, span_ms);
                        object.cgroup = Some(furthest(&before, &now));
                        amounts
                    }),
                );
            }
        }
        if let Some(now) = link {
            let key = format!("{}/link/{}", reading.boot, now.index);
            used.push(self.object(key, reading, |object, _| {
                let first = if reading.is_old {
                    *now
                } else {
                    LinkCounters::default()
                };
                let before = object.link.unwrap_or(first);
                object.link = Some(later(&before, now));
                of_link(&before, now)
            }));
        }
        used
    }

    fn object(
        &mut self,
        key: String,
        reading: Reading<'_>,
        take: impl FnOnce(&mut Counters, Option<i64>) -> Amounts,
    ) -> Used {
        let known = self.objects.get(&key).map(|object| object.time_ms);
        if known.is_none() && self.objects.len() >= OBJECTS_MAX {
            self.forget_oldest();
        }
        let object = self.objects.entry(key).or_default();
        let span = known.map(|before| (reading.time_ms - before).max(0));
        let amounts = take(&mut object.counters, span);
        object.time_ms = object.time_ms.max(reading.time_ms);
        Used {
            from_ms: known.unwrap_or(reading.time_ms).min(reading.time_ms),
            to_ms: reading.time_ms,
            amounts,
        }
    }

    fn forget_oldest(&mut self) {
        let oldest = self.objects.iter().min_by_key(|(_, object)| object.time_ms);
        if let Some(key) = oldest.map(|(key, _)| key.clone()) {
            self.objects.remove(&key);
        }
    }

    /// Forgets objects that nobody will read again. Only while the supervisor answers: one that has detached does not name
    /// the objects that its tenants still use.
    pub(crate) fn forget(&mut self, now_ms: i64) {
        self.objects
            .retain(|_, object| now_ms - object.time_ms < KEPT_MS);
    }

    /// The program ran in this period, in milliseconds since 1970.
    pub(crate) fn ran(&mut self, since_ms: i64, until_ms: i64) -> Used {
        let counted = match self.up {
            Some((since, until)) if since == since_ms => until,
            Some((_, until)) => until.min(until_ms).max(since_ms),
            None => since_ms,
        };
        self.up = Some((since_ms, counted.max(until_ms)));
        let up_ms = u64::try_from(until_ms - counted).unwrap_or(0);
        Used {
            from_ms: counted.min(until_ms),
            to_ms: until_ms,
            amounts: Amounts {
                up_ms: Some(up_ms),
                ..Amounts::default()
            },
        }
    }

    /// Takes in how often the program was started again, as the supervisor counts it since it began.
    pub(crate) fn restarted(&mut self, restarts: u32, time_ms: i64, is_old: bool) -> Used {
        let before = match self.restarts {
            // A supervisor that started with no tenants counts from the beginning.
            Some(before) if before <= restarts => before,
            None if is_old => restarts,
            Some(_) | None => 0,
        };
        self.restarts = Some(restarts);
        Used {
            from_ms: time_ms,
            to_ms: time_ms,
            amounts: Amounts {
                restarts: Some(u64::from(restarts - before)),
                ..Amounts::default()
            },
        }
    }
}

/// The parts of a reading whose counters began together: what has counted since the cgroup was made, and that of each controller
/// that was enabled later. The parts are objects of their own, so that readings of them, too, may come in any order.
fn parts(now: &CgroupCounters) -> Vec<(String, CgroupCounters)> {
    let Beginnings { cpu, memory, io } = now.beginnings;
    let none = CgroupCounters {
        id: now.id,
        ..CgroupCounters::default()
    };
    let mut first = *now;
    let mut parts = Vec::new();
    if cpu > 0 {
        let throttled_usec = first.throttled_usec.take();
        let part = CgroupCounters {
            throttled_usec,
            ..none
        };
        parts.push((format!("/cpu/{cpu}"), part));
    }
    if memory > 0 {
        let part = CgroupCounters {
            memory: first.memory.take(),
            memory_peak: first.memory_peak.take(),
            oom_kills: first.oom_kills.take(),
            ..none
        };
        parts.push((format!("/memory/{memory}"), part));
    }
    if io > 0 {
        let part = CgroupCounters {
            io_read: first.io_read.take(),
            io_written: first.io_written.take(),
            ..none
        };
        parts.push((format!("/io/{io}"), part));
    }
    parts.push((String::new(), first));
    parts
}

/// From where a cgroup counts that was never seen.
fn begun(now: &CgroupCounters, is_old: bool) -> CgroupCounters {
    match is_old {
        true => *now,
        false => CgroupCounters {
            id: now.id,
            ..CgroupCounters::default()
        },
    }
}

/// How much more a counter has.
fn more(before: Option<u64>, now: Option<u64>) -> Option<u64> {
    Some(now?.saturating_sub(before.unwrap_or(0)))
}

fn of_cgroup(before: &CgroupCounters, now: &CgroupCounters, span_ms: Option<i64>) -> Amounts {
    let has_grown = now.memory_peak > before.memory_peak;
    let span_ms = span_ms.and_then(|span| u128::try_from(span).ok());
    let byte_seconds = |memory: u64| {
        let average = u128::midpoint(u128::from(before.memory.unwrap_or(memory)), memory.into());
        u64::try_from(average * span_ms.unwrap_or(0) / 1000).unwrap_or(u64::MAX)
    };
    Amounts {
        cpu_usec: more(before.cpu_usec, now.cpu_usec),
        throttled_usec: more(before.throttled_usec, now.throttled_usec),
        memory_byte_seconds: now.memory.map(byte_seconds),
        // An older peak may be of another day.
        memory_peak: if has_grown {
            now.memory_peak
        } else {
            now.memory
        },
        io_read: more(before.io_read, now.io_read),
        io_written: more(before.io_written, now.io_written),
        oom_kills: more(before.oom_kills, now.oom_kills),
        ..Amounts::default()
    }
}

fn of_link(before: &LinkCounters, now: &LinkCounters) -> Amounts {
    Amounts {
        in_bytes: more(Some(before.in_bytes), Some(now.in_bytes)),
        in_packets: more(Some(before.in_packets), Some(now.in_packets)),
        out_bytes: more(Some(before.out_bytes), Some(now.out_bytes)),
        out_packets: more(Some(before.out_packets), Some(now.out_packets)),
        ..Amounts::default()
    }
}

/// What is counted of a cgroup: an older reading, which comes late, takes nothing back.
fn furthest(before: &CgroupCounters, now: &CgroupCounters) -> CgroupCounters {
    CgroupCounters {
        cpu_usec: now.cpu_usec.max(before.cpu_usec),
        throttled_usec: now.throttled_usec.max(before.throttled_usec),
        memory_peak: now.memory_peak.max(before.memory_peak),
        io_read: now.io_read.max(before.io_read),
        io_written: now.io_written.max(before.io_written),
        oom_kills: now.oom_kills.max(before.oom_kills),
        ..*now
    }
}

fn later(before: &LinkCounters, now: &LinkCounters) -> LinkCounters {
    LinkCounters {
        index: now.index,
        in_bytes: now.in_bytes.max(before.in_bytes),
        in_packets: now.in_packets.max(before.in_packets),
        out_bytes: now.out_bytes.max(before.out_bytes),
        out_packets: now.out_packets.max(before.out_packets),
    }
}

/// The first and the last day of a period.
fn days(from_ms: i64, to_ms: i64) -> (i64, i64) {
    (from_ms.div_euclid(DAY_MS), to_ms.div_euclid(DAY_MS))
}

impl Used {
    /// The day (UTC) that all of it belongs to, as [`Used::days`]; `None` if these are several.
    pub(crate) fn day(&self) -> Option<i64> {
        let (first, last) = days(self.from_ms, self.to_ms);
        (first >= last).then_some(last)
    }

    /// The parts of it in each day (UTC), as the day's number since 1970. What grows is spread evenly over the time.
    pub(crate) fn days(&self) -> Vec<(i64, Amounts)> {
        let (first, last) = days(self.from_ms, self.to_ms);
        let span = self.to_ms - self.from_ms;
        if first == last || span <= 0 {
            return vec![(last, self.amounts)];
        }
        let share = |until_ms: i64| {
            let passed = u128::try_from(until_ms.min(self.to_ms) - self.from_ms).unwrap_or(0);
            let of = u128::try_from(span).unwrap_or(1);
            let part = |it: u64| u64::try_from(u128::from(it) * passed / of).unwrap_or(it);
            let values = self.amounts.values().into_iter();
            Amounts::of_values(values.map(|it| it.map(part)))
        };
        let mut before = Amounts::of_values(Amounts::NAMES.iter().map(|_| Some(0)));
        let days = first..=last;
        let days = days.map(|day| {
            let until = share((day + 1) * DAY_MS);
            let values = until.values().into_iter().zip(before.values());
            let values = values.map(|(until, before)| Some(until? - before.unwrap_or(0)));
            let part = Amounts {
                memory_peak: self.amounts.memory_peak,
                datastore_bytes: self.amounts.datastore_bytes,
                ..Amounts::of_values(values)
            };
            before = until;
            (day, part)
        });
        days.collect()
    }
}

#[cfg(test)]
mod tests;
