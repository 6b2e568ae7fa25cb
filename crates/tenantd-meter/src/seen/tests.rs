//! Readings that come twice, late, or after a kill.

use super::*;

fn cgroup(id: u64, cpu: u64, memory: u64, peak: u64) -> Counters {
    Counters {
        cgroup: Some(CgroupCounters {
            id,
            cpu_usec: Some(cpu),
            memory: Some(memory),
            memory_peak: Some(peak),
            ..CgroupCounters::default()
        }),
        link: None,
    }
}

fn link(index: u32, bytes: u64) -> Counters {
    Counters {
        cgroup: None,
        link: Some(LinkCounters {
            index,
            in_bytes: bytes,
            ..LinkCounters::default()
        }),
    }
}

fn read(seen: &mut Seen, boot: &str, time_ms: i64, counters: &Counters) -> Amounts {
    let reading = Reading {
        boot,
        time_ms,
        counters,
        is_old: false,
    };
    let mut sum = Amounts::default();
    for used in seen.read(reading) {
        sum.add(&used.amounts);
    }
    sum
}

#[test]
fn nothing_is_lost_or_counted_twice() {
    let mut seen = Seen::default();
    let mut cpu = |boot, time, counters: &Counters| {
        // As after each round: the meter may have been killed.
        let kept = serde_json::to_string(&seen).unwrap();
        seen = serde_json::from_str(&kept).unwrap();
        read(&mut seen, boot, time, counters).cpu_usec.unwrap()
    };
    assert_eq!(cpu("a", 0, &cgroup(1, 100, 0, 0)), 100);
    assert_eq!(cpu("a", 10, &cgroup(1, 150, 0, 0)), 50);
    // The last counters, twice; then a reading from before them.
    assert_eq!(cpu("a", 20, &cgroup(1, 170, 0, 0)), 20);
    assert_eq!(cpu("a", 20, &cgroup(1, 170, 0, 0)), 0);
    assert_eq!(cpu("a", 15, &cgroup(1, 160, 0, 0)), 0);
    // The next provision, and a boot whose cgroup has the same number.
    assert_eq!(cpu("a", 30, &cgroup(2, 30, 0, 0)), 30);
    assert_eq!(cpu("b", 40, &cgroup(2, 20, 0, 0)), 20);
    // The last counters of the one before.
    assert_eq!(cpu("a", 35, &cgroup(2, 31, 0, 0)), 1);
}

/// As between two supervisors of a unit, whose counters begin again in the same cgroup.
#[test]
fn a_controller_that_is_enabled_again_counts_from_zero() {
    let with = |cpu: u64, io: u64, memory: u64, times: u32| {
        let mut counters = cgroup(1, cpu, memory, memory);
        let counted = counters.cgroup.as_mut().unwrap();
        counted.io_written = Some(io);
        counted.beginnings = Beginnings {
            memory: times,
            io: times,
            ..Beginnings::default()
        };
        counters
    };
    let mut seen = Seen::default();
    let mut read = |time, counters: &Counters| {
        let used = read(&mut seen, "a", time, counters);
        (used.cpu_usec, used.io_written)
    };
    assert_eq!(read(0, &with(10, 100, 50, 0)), (Some(10), Some(100)));
    let last = with(12, 130, 50, 0);
    // Equal, less and more than before; the last reading from before it comes late.
    assert_eq!(read(1000, &with(15, 100, 5, 1)), (Some(5), Some(100)));
    assert_eq!(read(500, &last), (Some(0), Some(30)));
    assert_eq!(read(2000, &with(15, 140, 5, 1)), (Some(0), Some(40)));
    assert_eq!(read(3000, &with(16, 7, 5, 2)), (Some(1), Some(7)));
    assert_eq!(read(4000, &with(16, 7, 5, 2)), (Some(0), Some(0)));
}

#[test]
fn a_link_counts_apart_from_the_cgroup() {
    let mut seen = Seen::default();
    assert_eq!(read(&mut seen, "a", 0, &link(7, 1000)).in_bytes, Some(1000));
    assert_eq!(read(&mut seen, "a", 1, &link(7, 1500)).in_bytes, Some(500));
    assert_eq!(read(&mut seen, "a", 2, &link(8, 10)).in_bytes, Some(10));
    assert_eq!(read(&mut seen, "a", 3, &link(8, 10)).cpu_usec, None);
}

#[test]
fn what_was_there_before_the_meter_counts_from_now_on() {
    let mut seen = Seen::default();
    let mut used = |time_ms, cpu| {
        let counters = cgroup(1, cpu, 5, 9);
        let used = seen.read(Reading {
            boot: "a",
            time_ms,
            counters: &counters,
            is_old: true,
        });
        used[0].amounts
    };
    assert_eq!(used(0, 1000).cpu_usec, Some(0));
    assert_eq!(used(1, 1001).cpu_usec, Some(1));
    assert_eq!(seen.restarted(5, 0, true).amounts.restarts, Some(0));
    assert_eq!(seen.restarted(7, 0, true).amounts.restarts, Some(2));
    assert_eq!(seen.restarted(1, 0, true).amounts.restarts, Some(1));
}

#[test]
fn memory_is_integrated_and_a_peak_belongs_to_its_time() {
    let mut seen = Seen::default();
    let first = read(&mut seen, "a", 0, &cgroup(1, 0, 100, 300));
    assert_eq!(
        (first.memory_byte_seconds, first.memory_peak),
        (Some(0), Some(300))
    );
    let second = read(&mut seen, "a", 10_000, &cgroup(1, 0, 200, 300));
    assert_eq!(
        (second.memory_byte_seconds, second.memory_peak),
        (Some(1500), Some(200))
    );
    let third = read(&mut seen, "a", 20_000, &cgroup(1, 0, 200, 900));
    assert_eq!(third.memory_peak, Some(900));
}

#[test]
fn a_period_counts_once() {
    let mut seen = Seen::default();
    let mut up = |since, until| seen.ran(since, until).amounts.up_ms.unwrap();
    assert_eq!(up(1000, 3000), 2000);
    assert_eq!(up(1000, 4000), 1000);
    assert_eq!(up(1000, 4000), 0);
    assert_eq!(up(1000, 3500), 0);
    assert_eq!(up(9000, 9500), 500);
}

#[test]
fn what_spans_midnight_is_of_both_days() {
    let used = Used {
        from_ms: DAY_MS - 1000,
        to_ms: DAY_MS + 2000,
        amounts: Amounts {
            cpu_usec: Some(10),
            memory_peak: Some(7),
            ..Amounts::default()
        },
    };
    let days = used.days();
    let numbers: Vec<_> = days
        .iter()
        .map(|(day, it)| (*day, it.cpu_usec.unwrap()))
        .collect();
    assert_eq!(numbers, [(0, 3), (1, 7)]);
    assert!(
        days.iter()
            .all(|(_, it)| it.memory_peak == Some(7) && it.io_read.is_none())
    );
    let none = Used {
        to_ms: used.from_ms,
        ..used
    };
    assert_eq!(none.days().len(), 1);
}

#[test]
fn objects_are_forgotten_when_their_last_counters_cannot_come_any_more() {
    let mut seen = Seen::default();
    read(&mut seen, "a", 0, &cgroup(1, 100, 0, 0));
    seen.forget(KEPT_MS - 1);
    assert_eq!(
        read(&mut seen, "a", 0, &cgroup(1, 100, 0, 0)).cpu_usec,
        Some(0)
    );
    seen.forget(KEPT_MS);
    assert!(seen.objects.is_empty());
    for id in 0..2 * OBJECTS_MAX {
        let id = u64::try_from(id).unwrap();
        read(&mut seen, "a", 0, &cgroup(id, 1, 0, 0));
    }
    assert_eq!(seen.objects.len(), OBJECTS_MAX);
}
