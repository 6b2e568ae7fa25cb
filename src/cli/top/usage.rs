//! What a tenant uses, from two readings of its counters. Pure.

use std::collections::VecDeque;
use std::time::Duration;

use tenantd_host::counters::Counters;

/// How many values of the past are kept for the small chart.
pub(super) const PAST: usize = 60;

/// What was read of a tenant at one moment.
#[derive(Debug, Clone, Default)]
pub(super) struct Reading {
    /// The moment, since any fixed one.
    pub(super) at: Duration,
    /// Its cgroup and its link.
    pub(super) counters: Counters,
    /// The resident memory of its processes in bytes, where the kernel does not count that of the cgroup.
    pub(super) resident: Option<u64>,
}

/// What a tenant uses. What is not known is `None`.
#[derive(Debug, Clone, Default)]
pub(super) struct Usage {
    /// Processor time between the last two readings, in percent of one processor.
    pub(super) cpu: Option<f64>,
    /// Memory in bytes.
    pub(super) memory: Option<u64>,
    /// Whether that is the resident memory of the processes.
    pub(super) is_resident: bool,
    /// Bytes per second that it received between the last two readings.
    pub(super) received: Option<u64>,
    /// Bytes per second that it sent.
    pub(super) sent: Option<u64>,
    /// The last values of `cpu`, the oldest first.
    pub(super) past: VecDeque<f64>,
    last: Option<Reading>,
}

impl Usage {
    /// Nothing is known.
    pub(super) const NONE: Self = Self {
        cpu: None,
        memory: None,
        is_resident: false,
        received: None,
        sent: None,
        past: VecDeque::new(),
        last: None,
    };

    /// Takes the next reading. The first one only begins the measurement.
    pub(super) fn take(&mut self, now: &Reading) {
        let counted = now.counters.cgroup.and_then(|it| it.memory);
        self.memory = counted.or(now.resident);
        self.is_resident = counted.is_none() && now.resident.is_some();
        let before = self.last.replace(now.clone());
        let Some(before) = before.filter(|before| before.at < now.at) else {
            return;
        };
        let seconds = (now.at - before.at).as_secs_f64();
        let used = used(&before.counters, &now.counters);
        self.cpu = used.map(|micros| amount(micros) / seconds / 1e4);
        let carried = carried(&before.counters, &now.counters);
        let rate = |bytes: u64| whole(amount(bytes) / seconds);
        self.received = carried.map(|(received, _)| rate(received));
        self.sent = carried.map(|(_, sent)| rate(sent));
        self.past.push_back(self.cpu.unwrap_or_default());
        if self.past.len() > PAST {
            self.past.pop_front();
        }
    }
}

/// Processor time between two readings, in microseconds. The counter of another cgroup counts whole.
fn used(before: &Counters, now: &Counters) -> Option<u64> {
    let now = now.cgroup?;
    let same = before.cgroup.filter(|before| before.id == now.id);
    let begun = same.and_then(|before| before.cpu_usec).unwrap_or_default();
    Some(now.cpu_usec?.saturating_sub(begun))
}

/// Bytes that were received and sent between two readings.
fn carried(before: &Counters, now: &Counters) -> Option<(u64, u64)> {
    let now = now.link?;
    let same = before.link.filter(|before| before.index == now.index);
    let begun = same.unwrap_or_default();
    let received = now.in_bytes.saturating_sub(begun.in_bytes);
    Some((received, now.out_bytes.saturating_sub(begun.out_bytes)))
}

#[allow(clippy::cast_precision_loss, reason = "what is lost is not shown")]
pub(super) fn amount(number: u64) -> f64 {
    number as f64
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it is not negative, and the conversion saturates"
)]
pub(super) fn whole(number: f64) -> u64 {
    number.round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use tenantd_host::counters::{CgroupCounters, LinkCounters};

    fn reading(seconds: u64, (id, cpu_usec): (u64, u64), (index, bytes): (u32, u64)) -> Reading {
        let cgroup = CgroupCounters {
            id,
            cpu_usec: Some(cpu_usec),
            ..CgroupCounters::default()
        };
        let link = LinkCounters {
            index,
            in_bytes: bytes,
            out_bytes: 2 * bytes,
            ..LinkCounters::default()
        };
        Reading {
            at: Duration::from_secs(seconds),
            counters: Counters {
                cgroup: Some(cgroup),
                link: Some(link),
            },
            resident: Some(4096),
        }
    }

    #[test]
    fn the_difference_of_two_readings_is_what_was_used() {
        let mut usage = Usage::default();
        usage.take(&reading(10, (1, 5_000_000), (1, 1000)));
        assert_eq!((usage.cpu, usage.received), (None, None));
        assert_eq!((usage.memory, usage.is_resident), (Some(4096), true));
        usage.take(&reading(12, (1, 5_500_000), (1, 3000)));
        assert_eq!(usage.cpu, Some(25.0));
        assert_eq!((usage.received, usage.sent), (Some(1000), Some(2000)));
        // Other objects, after a stop and a start.
        usage.take(&reading(14, (2, 20_000), (2, 500)));
        assert_eq!((usage.cpu, usage.received), (Some(1.0), Some(250)));
        usage.take(&Reading {
            at: Duration::from_secs(16),
            ..Reading::default()
        });
        assert_eq!((usage.cpu, usage.memory, usage.sent), (None, None, None));
        assert_eq!(usage.past, [25.0, 1.0, 0.0]);
    }

    #[test]
    fn what_the_kernel_counts_is_preferred() {
        let mut usage = Usage::default();
        let mut counted = reading(1, (1, 0), (1, 0));
        counted.counters.cgroup.as_mut().unwrap().memory = Some(8192);
        usage.take(&counted);
        assert_eq!((usage.memory, usage.is_resident), (Some(8192), false));
    }
}
