//! Forced kills: processes that were still alive when their grace was over.
//!
//! Such a program may have lost data, so the kill is said: in the log, as an event, and in the state of
//! the tenant until its next launch ends. The host names the processes before it kills them.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::time::Moment;

/// How many processes a forced kill names at most.
pub const NAMED: usize = 4;

/// Processes that were killed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Processes {
    /// Their number.
    pub count: u64,
    /// The first of them, at most [`NAMED`].
    pub named: Vec<NamedProcess>,
}

/// A process with its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedProcess {
    /// The process ID.
    pub pid: i32,
    /// The name of its program, see comm in proc(5). The program can set any name.
    pub name: String,
}

/// SIGKILL for what was left of a launch when its grace was over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForcedKill {
    /// When.
    pub at: Moment,
    /// The grace that was over; `None` if the supervisor was told not to wait for it.
    pub grace: Option<Duration>,
    /// What was killed; `None` as long as the host has not said it.
    pub processes: Option<Processes>,
}

impl fmt::Display for ForcedKill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&text(self.grace, self.processes.as_ref()))
    }
}

/// What is said of a forced kill: `killed after a grace of 10s (2 processes: 4711 postgres, 4712
/// postgres)`.
#[must_use]
pub fn text(grace: Option<Duration>, processes: Option<&Processes>) -> String {
    let printer = jiff::fmt::friendly::SpanPrinter::new();
    let grace = match grace {
        Some(grace) => {
            let grace = printer.unsigned_duration_to_string(&grace);
            format!("killed after a grace of {grace}")
        }
        None => "killed before its grace was over".to_owned(),
    };
    let Some(Processes { count, named }) = processes else {
        return grace;
    };
    let each: Vec<String> = named
        .iter()
        .map(|NamedProcess { pid, name }| format!("{pid} {name}"))
        .collect();
    let more = match u64::try_from(each.len()).is_ok_and(|shown| shown < *count) {
        true => ", ...",
        false => "",
    };
    let noun = match count {
        1 => "process",
        _ => "processes",
    };
    format!("{grace} ({count} {noun}: {}{more})", each.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forced_kill_names_its_first_processes() {
        let named = |count, pids: &[i32]| {
            let named = pids.iter().map(|&pid| NamedProcess {
                pid,
                name: "postgres".to_owned(),
            });
            let named = named.collect();
            text(
                Some(Duration::from_secs(10)),
                Some(&Processes { count, named }),
            )
        };
        assert_eq!(
            named(1, &[4711]),
            "killed after a grace of 10s (1 process: 4711 postgres)"
        );
        assert_eq!(
            named(12, &[4711, 4712]),
            "killed after a grace of 10s (12 processes: 4711 postgres, 4712 postgres, ...)"
        );
        assert_eq!(text(None, None), "killed before its grace was over");
    }
}
