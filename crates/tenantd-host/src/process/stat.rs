//! What proc_pid_stat(5) says of a process.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use rustix::io::Errno;

use super::signal;
use crate::launch::ready_fd::ReadyFd;
use crate::one_record;

/// The process was forked, and has not executed a program since: `PF_FORKNOEXEC` in linux/sched.h.
const NOT_EXECUTED: u32 = 0x40;

/// The wait(2) status of a zombie: field 52 of proc_pid_stat(5). Reading it needs the same
/// permission as opening its network namespace. `None` if the process is not a zombie, or was
/// reaped.
pub(super) fn zombie_status(pidfd: BorrowedFd<'_>) -> Option<i32> {
    let fd = pidfd.as_raw_fd();
    let about = std::fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).ok()?;
    let mut lines = about.lines();
    let pid: i32 = lines
        .find_map(|line| line.strip_prefix("Pid:"))?
        .trim()
        .parse()
        .ok()?;
    let stat = one_record::read(format!("/proc/{pid}/stat")).ok()?;
    // If it was not reaped, its process ID was not reused.
    signal(pidfd, 0).ok()?;
    let is_zombie = field(&stat, 3)? == "Z";
    field(&stat, 52)?.parse().ok().filter(|_| is_zombie)
}

/// Whether a process, which has this number as long as it is not reaped, has ended, also if that makes
/// its pidfd not readable: while another process traces a thread of it, it remains a zombie.
#[must_use]
pub fn is_dead(pid: i32, pidfd: &ReadyFd) -> bool {
    let stat = one_record::read(format!("/proc/{pid}/stat"));
    if signal(pidfd.as_fd(), 0) == Err(Errno::SRCH) {
        return true;
    }
    stat.is_ok_and(|stat| matches!(field(&stat, 3), Some("Z" | "X")))
}

/// Whether a process has executed a program since it was forked. True if there is no such process.
#[must_use]
pub fn has_executed(pid: i32) -> bool {
    let stat = one_record::read(format!("/proc/{pid}/stat")).unwrap_or_default();
    let flags: Option<u32> = field(&stat, 9).and_then(|flags| flags.parse().ok());
    flags.is_none_or(|flags| flags & NOT_EXECUTED == 0)
}

/// The name of a process, see comm in proc(5), without control characters. `None` if there is no
/// such process.
#[must_use]
pub fn name(pid: i32) -> Option<String> {
    let name = std::fs::read(format!("/proc/{pid}/comm")).ok()?;
    let name = String::from_utf8_lossy(&name);
    let shown = |c: char| if c.is_control() { '?' } else { c };
    Some(name.trim_end_matches('\n').chars().map(shown).collect())
}

/// When a process started, in clock ticks since boot: with its number, the name of a process
/// that no later one shares. `None` if there is no such process.
#[must_use]
pub fn start_ticks(pid: i32) -> Option<u64> {
    parse_start_ticks(&one_record::read(format!("/proc/{pid}/stat")).ok()?)
}

/// Whether a process is stopped, as by SIGSTOP, or will be as soon as it runs: one that was frozen when the signal
/// was sent has not stopped yet. Not if a tracer has stopped it.
pub(crate) fn is_stopped(pid: i32) -> bool {
    let status = one_record::read(format!("/proc/{pid}/status"));
    status.is_ok_and(|status| says_stopped(&status))
}

/// What proc_pid_status(5) says of it. No process can catch, block or ignore SIGSTOP.
fn says_stopped(status: &str) -> bool {
    const STOP: u64 = 1 << (libc::SIGSTOP - 1);
    status.lines().any(|line| match line.split_once(':') {
        Some(("State", state)) => state.trim_start().starts_with('T'),
        Some(("SigPnd" | "ShdPnd", pending)) => {
            u64::from_str_radix(pending.trim(), 16).is_ok_and(|pending| pending & STOP != 0)
        }
        _ => false,
    })
}

/// Whether the process with this number and start lives. A zombie does not, unless `threads` asks
/// also for other threads of it.
pub(crate) fn lives(pid: i32, start_ticks: u64, threads: bool) -> bool {
    let Ok(stat) = one_record::read(format!("/proc/{pid}/stat")) else {
        return false;
    };
    let is_over = matches!(field(&stat, 3), Some("Z" | "X"));
    let more: Option<u32> = field(&stat, 20).and_then(|count| count.parse().ok());
    let has_more = threads && more.is_some_and(|count| count > 1);
    parse_start_ticks(&stat) == Some(start_ticks) && (!is_over || has_more)
}

/// The parent of a process; `None` if there is no such process, or it has ended.
pub(crate) fn parent(pid: i32) -> Option<i32> {
    let stat = one_record::read(format!("/proc/{pid}/stat")).ok()?;
    let has_ended = matches!(field(&stat, 3)?, "Z" | "X");
    field(&stat, 4)?.parse().ok().filter(|_| !has_ended)
}

fn parse_start_ticks(stat: &str) -> Option<u64> {
    field(stat, 22)?.parse().ok()
}

/// A field of proc_pid_stat(5) from the third on. The second is the program's name, which may hold
/// anything.
fn field(stat: &str, number: usize) -> Option<&str> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_ascii_whitespace().nth(number.checked_sub(3)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_ticks_are_read_despite_parentheses_in_the_name() {
        let tail = "S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20";
        assert_eq!(parse_start_ticks(&format!("7 (sh) {tail}")), Some(4711));
        assert_eq!(
            parse_start_ticks(&format!("7 (a) R 1 (b) {tail}")),
            Some(4711)
        );
        assert_eq!(parse_start_ticks("7 (sh) S 1"), None);
        assert_eq!(parse_start_ticks(""), None);
    }

    #[test]
    fn a_signal_that_waits_will_stop_a_process() {
        let status = |state, own, shared| {
            format!(
                "Name:\tT (stopped)\nState:\t{state}\nSigPnd:\t{own}\nShdPnd:\t{shared}\nSigCgt:\t0000000000040000\n"
            )
        };
        let (none, stop) = ("0000000000000000", "0000000000040000");
        assert!(!says_stopped(&status("S (sleeping)", none, none)));
        assert!(!says_stopped(&status("t (tracing stop)", none, none)));
        assert!(says_stopped(&status("T (stopped)", none, none)));
        assert!(says_stopped(&status("D (disk sleep)", stop, none)));
        assert!(says_stopped(&status("S (sleeping)", none, stop)));
        assert!(!says_stopped(&status(
            "S (sleeping)",
            none,
            "0000000000020000"
        )));
        assert!(!says_stopped(""));
    }

    #[test]
    fn our_own_start_is_in_the_past() {
        let pid = i32::try_from(std::process::id()).unwrap();
        assert!(start_ticks(pid).unwrap() > 0);
        assert_eq!(start_ticks(-1), None);
    }

    #[test]
    fn this_program_was_executed() {
        assert!(has_executed(i32::try_from(std::process::id()).unwrap()));
    }
}
