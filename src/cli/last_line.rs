//! The last lines that a tenant's program wrote to its standard error: often the reason why it ended.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::logs::FOLDER;
use super::plain::plain;
use jiff::Timestamp;

use tenantd_api::wire::LogPlace;
use tenantd_core::name::{AppName, TenantName};

/// How much of the end of a log file is searched, in bytes.
const SEARCHED: u64 = 64 * 1024;

/// How long the supervisor may take to write the last lines of a program that has ended.
const WRITTEN: Duration = Duration::from_millis(500);

/// How often to look for them.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// The longest line that is returned, in characters.
const LENGTH_MAX: usize = 300;

/// The last line, if there is one and the caller may read the log. It has no control characters.
pub(super) fn last_line(app: &AppName, tenant: &TenantName, place: LogPlace) -> Option<String> {
    last_lines(app, tenant, place, 1).pop()
}

/// At most this many last lines, of the last launch if the log tells, under the same conditions.
pub(super) fn last_lines(
    app: &AppName,
    tenant: &TenantName,
    place: LogPlace,
    most: usize,
) -> Vec<String> {
    let lines = match place {
        LogPlace::Journal => in_journal(app, tenant, most),
        LogPlace::Files => {
            let folder = Path::new(FOLDER).join(app.as_str());
            await_end(&folder, tenant);
            in_files(&folder, tenant, most)
        }
    };
    lines.iter().map(|line| printable(line)).collect()
}

/// At most this many last lines of the launch that failed at a time, if the tenant was started again since. Under the
/// same conditions.
pub(super) fn last_lines_before(
    app: &AppName,
    tenant: &TenantName,
    place: LogPlace,
    (most, time): (usize, Timestamp),
) -> Vec<String> {
    let lines = match place {
        LogPlace::Journal => journal(app, tenant, most, Some(time)),
        LogPlace::Files => {
            let path = Path::new(FOLDER).join(app.as_str());
            let text = end_of(&path.join(format!("{tenant}.log"))).unwrap_or_default();
            last_of(&before_last_launch(&text), most)
        }
    };
    lines.iter().map(|line| printable(line)).collect()
}

fn in_journal(app: &AppName, tenant: &TenantName, most: usize) -> Vec<String> {
    journal(app, tenant, most, None)
}

/// See journalctl(1). A journal that cannot be read has no lines. What a program wrote last may be logged a moment
/// after its end.
fn journal(
    app: &AppName,
    tenant: &TenantName,
    most: usize,
    until: Option<Timestamp>,
) -> Vec<String> {
    let until = until.map(|time| time.as_millisecond() + 50);
    let until = until.map(|ms| format!("--until=@{}.{:03}", ms / 1000, ms % 1000));
    let output = Command::new("journalctl")
        .args(until)
        .arg(format!("TENANTD_APP={app}"))
        .arg(format!("TENANTD_TENANT={tenant}"))
        .arg("TENANTD_STREAM=stderr")
        .args(["--output=cat", "--no-pager", "--quiet", "--lines=10"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output();
    let Ok(output) = output else {
        return Vec::new();
    };
    let text = String::from_utf8_lossy(&output.stdout);
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    last(lines, most)
}

/// The last lines, in their order.
fn last<'a>(lines: impl DoubleEndedIterator<Item = &'a str>, most: usize) -> Vec<String> {
    let mut last: Vec<String> = lines.rev().take(most).map(str::to_owned).collect();
    last.reverse();
    last
}

/// Waits until the end of the program is in the log, which the supervisor writes after the last line.
/// It reports the end itself a moment earlier.
fn await_end(folder: &Path, tenant: &TenantName) {
    let path = folder.join(format!("{tenant}.log"));
    let begun = Instant::now();
    while begun.elapsed() < WRITTEN {
        match end_of(&path) {
            Ok(text) if !awaits_end(&text) => return,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(_) => return,
        }
        std::thread::sleep(LOOK_AGAIN);
    }
}

/// Whether the last mark in a log is not the end of the program.
fn awaits_end(log: &str) -> bool {
    let mut marks = log.lines().filter_map(|line| {
        let (_time, rest) = line.split_once(' ')?;
        rest.strip_prefix("tenantd ")
    });
    marks.next_back().is_none_or(is_start)
}

/// Whether a mark tells of the start of a program or of a command before it.
fn is_start(mark: &str) -> bool {
    let started = [
        "program started",
        "init command started",
        "before command started",
    ];
    let mark = mark.trim_start();
    started.iter().any(|started| mark.starts_with(started))
}

fn in_files(folder: &Path, tenant: &TenantName, most: usize) -> Vec<String> {
    let generations = [format!("{tenant}.log"), format!("{tenant}.log.1")];
    let found = generations.iter().find_map(|name| {
        // A file that is missing or may not be read has no lines.
        let text = end_of(&folder.join(name)).ok()?;
        Some(of_last_launch(&text, most)).filter(|lines| !lines.is_empty())
    });
    found.unwrap_or_default()
}

/// The last lines of standard error since the last start. If there are none, the very last one.
fn of_last_launch(log: &str, most: usize) -> Vec<String> {
    let lines = log.lines().filter_map(|line| line.split_once(' '));
    let lines: Vec<&str> = lines.map(|(_time, rest)| rest).collect();
    let is_mark = |rest: &&str| rest.strip_prefix("tenantd ").is_some_and(is_start);
    let begun = lines.iter().rposition(is_mark).unwrap_or_default();
    let written = |lines: &[&str], most| {
        let lines = lines.iter().filter_map(|rest| rest.strip_prefix("stderr "));
        last(lines.filter(|line| !line.trim().is_empty()), most)
    };
    match written(&lines[begun..], most) {
        none if none.is_empty() => written(&lines, 1),
        lines => lines,
    }
}

/// The lines of the launch before the last one.
fn before_last_launch(log: &str) -> Vec<&str> {
    let lines = log.lines().filter_map(|line| line.split_once(' '));
    let lines: Vec<&str> = lines.map(|(_time, rest)| rest).collect();
    let is_mark = |rest: &&str| rest.strip_prefix("tenantd ").is_some_and(is_start);
    let Some(end) = lines.iter().rposition(is_mark) else {
        return Vec::new();
    };
    let begun = lines[..end].iter().rposition(is_mark).unwrap_or_default();
    lines[begun..end].to_vec()
}

/// The last lines of standard error of these.
fn last_of(lines: &[&str], most: usize) -> Vec<String> {
    let lines = lines.iter().filter_map(|rest| rest.strip_prefix("stderr "));
    last(lines.filter(|line| !line.trim().is_empty()), most)
}

fn end_of(path: &PathBuf) -> io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(SEARCHED)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A program may write anything: a terminal must not obey it.
fn printable(line: &str) -> String {
    plain(line.trim_end(), LENGTH_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_of_standard_error_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let tenant = "acme".parse().unwrap();
        let last = || in_files(folder.path(), &tenant, 1).pop();
        assert_eq!(last(), None);
        let time = "2026-11-22T18:00:00.500000Z";
        let older = format!("{time} stderr of an earlier day\n");
        std::fs::write(folder.path().join("acme.log.1"), older).unwrap();
        let log = folder.path().join("acme.log");
        std::fs::write(&log, format!("{time} stdout ready\n")).unwrap();
        assert_eq!(last().as_deref(), Some("of an earlier day"));
        let text = format!(
            "{}{time} stderr no licence\n{time} stderr  \n{time} stdout stderr bye\n",
            format!("{time} stderr x\n").repeat(5000)
        );
        std::fs::write(&log, text).unwrap();
        assert_eq!(last().as_deref(), Some("no licence"));
    }

    #[test]
    fn the_last_lines_are_those_of_the_last_launch() {
        let started = "t tenantd program started, pid 5\n";
        let first = format!("{started}t stderr a\nt stderr b\nt tenantd program exited\n");
        let second = format!("{first}{started}t stderr c\nt stdout x\nt stderr d\nt stderr e\n");
        assert_eq!(of_last_launch(&second, 2), ["d", "e"]);
        assert_eq!(of_last_launch(&second, 10), ["c", "d", "e"]);
        // The last launch wrote nothing.
        assert_eq!(of_last_launch(&format!("{first}{started}"), 10), ["b"]);
        assert_eq!(of_last_launch("t stdout x\n", 10), [""; 0]);
        let before = |log: &str| last_of(&before_last_launch(log), 5);
        assert_eq!(before(&second), ["a", "b"]);
        assert_eq!(
            before(&format!("{second}{started}t stderr f\n")),
            ["c", "d", "e"]
        );
        assert_eq!(before("t stderr x\n"), [""; 0]);
    }

    #[test]
    fn the_last_mark_tells_whether_the_end_is_written() {
        assert!(awaits_end("t stderr x\n"));
        assert!(awaits_end("t tenantd program started, pid 5\nt stderr x\n"));
        assert!(awaits_end("t tenantd init command started, pid 5\n"));
        let ended = "t tenantd program started, pid 5\nt tenantd program exited with status 3\n";
        assert!(!awaits_end(ended));
    }

    #[test]
    fn a_terminal_does_not_obey_it() {
        assert_eq!(printable("a\x1b[2Jb\t\u{fc}\r\n"), "a\\u{1b}[2Jb\\t\u{fc}");
        assert_eq!(printable(&"x".repeat(1000)).len(), LENGTH_MAX);
    }
}
