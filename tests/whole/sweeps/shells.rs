//! A shell with job control, on the terminal of `exec`.

use std::fs;

use super::{is_up_with, leaf, processes};
use crate::guestbook::three;
use crate::support::daemon::{Daemon, LIMIT, ends, pidfd, until};
use crate::terminal::Terminal;

/// A field of `/proc/PID/stat` after the name, see proc_pid_stat(5); the state is the first.
fn field(pid: u32, number: usize) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(") ")?;
    fields.split(' ').nth(number).map(str::to_owned)
}

/// The process of a command in the tenant, once it is so.
#[track_caller]
fn sleeper(daemon: &Daemon, seconds: &str, is_so: impl Fn(u32) -> Option<bool>) -> u32 {
    until(seconds, || {
        let mut pids = processes(&leaf(daemon)).into_iter();
        pids.find(|pid| {
            let command = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            command == format!("sleep\0{seconds}\0") && is_so(*pid) == Some(true)
        })
    })
}

/// It is the foreground of its terminal.
fn is_in_front(pid: u32) -> Option<bool> {
    let (group, foreground) = (field(pid, 2)?, field(pid, 5)?);
    Some(group == foreground && field(pid, 0)? != "T")
}

fn is_stopped(pid: u32) -> Option<bool> {
    Some(field(pid, 0)? == "T")
}

fn is_behind(pid: u32) -> Option<bool> {
    Some(!is_in_front(pid)? && !is_stopped(pid)?)
}

#[test]
fn jobs_are_stopped_continued_and_ended() {
    let daemon = three();
    let before = processes(&leaf(&daemon)).len();
    let script = "TENANTD exec acme -- bash --norc --noprofile -i; echo code:$?";
    let mut terminal = Terminal::run(&daemon, script);
    terminal.types("sleep 1001\n");
    let first = sleeper(&daemon, "1001", is_in_front);
    terminal.types("\x1a");
    sleeper(&daemon, "1001", is_stopped);
    terminal.types("bg\n");
    sleeper(&daemon, "1001", is_behind);
    terminal.types("fg\n");
    sleeper(&daemon, "1001", is_in_front);
    let process = pidfd(first);
    terminal.types("\x03");
    assert!(ends(&process, LIMIT));
    terminal.types("echo status:$?\n");
    terminal.shows("status:130");

    // It leaves a stopped job and one in the background.
    terminal.types("sleep 1002\n");
    let stopped = pidfd(sleeper(&daemon, "1002", is_in_front));
    terminal.types("\x1a");
    sleeper(&daemon, "1002", is_stopped);
    terminal.types("nohup sleep 1003 >/dev/null 2>&1 &\n");
    let behind = pidfd(sleeper(&daemon, "1003", is_behind));
    terminal.types("exit\n");
    terminal.shows("There are stopped jobs");
    terminal.types("exit\n");
    terminal.shows("code:");
    assert_eq!(terminal.code(), Some(0));
    assert!(ends(&stopped, LIMIT) && ends(&behind, LIMIT));
    is_up_with(&daemon, before);
    daemon.end();
}
