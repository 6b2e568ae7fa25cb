//! Fixed values for what differs from day to day.

use regex::Regex;

/// Replaces what differs from day to day: process numbers, times and lengths of time. Lines of tenants
/// that settle at the same time are sorted. Lines about use and limits are left out, but for the processor time: which
/// there are depends on the controllers of the host.
pub(super) fn fixed(told: &str) -> String {
    let rules = [
        // A date as in a log line.
        (
            r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?([+-]\d\d:?\d\d|Z)?",
            "2026-11-26 10:00:00",
        ),
        (r"\bpid \d+", "pid 4711"),
        (r"--expect [0-9a-f]+", "--expect 0123456789ab"),
        // The processor time needs no controller.
        (r"^  CPU .*", "  CPU 0.010 s used"),
        (r"^  (MEMORY|PIDS|IO|HUGETLB) .*\n", ""),
        // A long line is divided on a terminal. What is waited for depends on what else runs.
        (r"^  (NOT COUNTED|PRESSURE|STARVED) .*\n(    .*\n)*", ""),
        (r"^  FAILED .* ago", "  FAILED 2s ago"),
        (r"the oldest counts for .*", "the oldest counts for 10m"),
    ];
    let mut text = told.to_owned();
    for (pattern, replacement) in rules {
        let pattern = Regex::new(&format!("(?m){pattern}")).unwrap();
        text = pattern.replace_all(&text, replacement).into_owned();
    }
    let settled = Regex::new("^[a-z0-9-]+(: (up|down|failed|starting)| +2026-)").unwrap();
    let lines = tables(&text);
    let blocks = lines.chunk_by(|a, b| settled.is_match(a) && settled.is_match(b));
    let sorted = blocks.map(|block| {
        let mut block = block.to_vec();
        block.sort_unstable();
        block.join("\n") + "\n"
    });
    sorted.collect()
}

/// The lines, with fixed values in the columns PID and SINCE of tables, whose columns are as wide as
/// their values.
fn tables(text: &str) -> Vec<String> {
    let gap = Regex::new(" {2,}").unwrap();
    let cells = |line: &str| -> Vec<String> { gap.split(line).map(str::to_owned).collect() };
    let mut done = Vec::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if !line.starts_with("NAME ") {
            done.push(line.to_owned());
            continue;
        }
        let header = cells(line);
        let mut rows = vec![header.clone()];
        let mut between = vec![Vec::new()];
        while let Some(line) = lines.next_if(|line| line.contains("  ")) {
            if line.starts_with(' ') {
                between.last_mut().unwrap().push(line.to_owned());
                continue;
            }
            let mut row = cells(line);
            for (cell, column) in row.iter_mut().zip(&header) {
                match column.as_str() {
                    "PID" if cell != "-" => "4711".clone_into(cell),
                    "SINCE" => "2s".clone_into(cell),
                    _ => {}
                }
            }
            rows.push(row);
            between.push(Vec::new());
        }
        for (row, notes) in aligned(&rows).into_iter().zip(between) {
            done.push(row);
            done.extend(notes);
        }
    }
    done
}

fn aligned(rows: &[Vec<String>]) -> Vec<String> {
    let width = |at: usize| rows.iter().map(|row| row[at].len()).max().unwrap();
    let header = &rows[0];
    let cell = |at: usize, cell: &String| match header[at].as_str() {
        "PID" | "RESTARTS" => format!("{cell:>0$}", width(at)),
        _ => format!("{cell:<0$}", width(at)),
    };
    let line = |row: &Vec<String>| -> String {
        let cells: Vec<String> = row
            .iter()
            .enumerate()
            .map(|(at, it)| cell(at, it))
            .collect();
        cells.join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}
