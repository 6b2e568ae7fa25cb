//! Usage as a table for people.

use super::units::{byte_hours, bytes, or_dash, time};
use crate::cli::status;
use tenantd_api::usage::Usage;

const HEADER: [&str; 14] = [
    "APP", "TENANT", "PERIOD", "CPU", "MEMORY", "PEAK", "READ", "WRITTEN", "IN", "OUT", "DATA",
    "UP", "RESTARTS", "OOM",
];

/// The table, without columns that are empty in every line.
pub(super) fn table(usage: &[Usage]) -> String {
    let rows: Vec<Vec<String>> = usage.iter().map(row).collect();
    let is_empty = |at: usize| rows.iter().all(|row| row[at] == "-");
    let shown: Vec<usize> = (0..HEADER.len()).filter(|at| !is_empty(*at)).collect();
    let of = |row: &[String]| shown.iter().map(|at| row[*at].clone()).collect::<Vec<_>>();
    let numbers: Vec<usize> = (3..shown.len()).collect();
    let header = of(&HEADER.map(str::to_owned));
    let table = status::table(header, rows.iter().map(|row| of(row)), &numbers);
    let lines = table.lines().map(|line| format!("{}\n", line.trim_end()));
    lines.collect()
}

fn row(one: &Usage) -> Vec<String> {
    let it = &one.amounts;
    vec![
        one.app.to_string(),
        one.tenant.to_string(),
        one.period.clone(),
        or_dash(it.cpu_usec, |usec| time(usec / 1000)),
        or_dash(it.memory_byte_seconds, byte_hours),
        or_dash(it.memory_peak, bytes),
        or_dash(it.io_read, bytes),
        or_dash(it.io_written, bytes),
        or_dash(it.in_bytes, bytes),
        or_dash(it.out_bytes, bytes),
        or_dash(it.datastore_bytes, bytes),
        or_dash(it.up_ms, time),
        or_dash(it.restarts, |it| it.to_string()),
        or_dash(it.oom_kills, |it| it.to_string()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_that_nothing_counts_are_left_out() {
        let text = table(&super::super::tests::sample());
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[0].split_whitespace().collect::<Vec<_>>(),
            [
                "APP", "TENANT", "PERIOD", "CPU", "MEMORY", "PEAK", "IN", "OUT", "UP", "RESTARTS"
            ]
        );
        assert!(lines[1].contains("1m 30s"), "{text}");
        assert!(
            lines[4].contains("2h 0m") && lines[4].contains("1.0 GiB h"),
            "{text}"
        );
    }
}
