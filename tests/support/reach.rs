//! What a process can do to another one of its user: a Python script tries each way.

use std::collections::BTreeSet;

/// Its argument is the number of the other process. It prints what it could do, a line for each.
pub const SCRIPT: &str = include_str!("reach.py");

/// Signals, which a domain confines from version 6 on.
pub const SIGNALS: [&str; 4] = ["kill", "pidfd_send_signal", "sigqueue", "killpg"];

/// What the right to trace is needed for.
pub const TRACING: [&str; 17] = [
    "process_vm_readv",
    "pidfd_getfd",
    "kcmp",
    "get_robust_list",
    "move_pages",
    "root",
    "cwd",
    "fd",
    "exe",
    "ns",
    "environ",
    "maps",
    "auxv",
    "mem",
    "io",
    "syscall",
    "ptrace",
];

/// What everybody reads in `/proc`, and its owner writes.
pub const SEEN: [&str; 7] = [
    "listed",
    "cmdline",
    "status",
    "mountinfo",
    "net/tcp",
    "oom_score_adj",
    "coredump_filter",
];

/// These ways.
pub fn of(parts: &[&[&str]]) -> BTreeSet<String> {
    let all = parts.iter().flat_map(|part| part.iter());
    all.map(|&name| name.to_owned()).collect()
}

/// The ways that the script has printed.
pub fn printed(text: &str) -> BTreeSet<String> {
    text.lines().map(str::to_owned).collect()
}
