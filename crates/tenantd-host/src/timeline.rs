//! The timeline: what each thread of the supervisor and each child does when, in microseconds, to
//! find where time goes.
//!
//! The variable `TENANTD_TIMELINE` names the file. Its format is that of Chrome's trace events (an array in
//! JSON, of which the end may be missing), which Perfetto and `chrome://tracing` show. Without the variable,
//! each place costs one read of memory.
//!
//! A [`span`] is a piece of work of one thread, a [`wait`] something that begins and ends on different
//! threads or between other work, and a [`mark`] a moment; each [crash point](crate::crash) is a mark. Each
//! is one write(2) at the end of the file, so several processes write the same one: the log collector, and
//! the supervisor after an upgrade or after one that was killed. The clock is that of all processes
//! (`CLOCK_MONOTONIC`).
//!
//! What a child does between clone and exec is in [`steps`](crate::launch).

use std::cell::Cell;
use std::fmt::Write as _;
use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::process::{Pid, getpid};
use rustix::thread::gettid;
use rustix::time::{ClockId, clock_gettime};

/// The variable with the path of the file.
pub const VARIABLE: &str = "TENANTD_TIMELINE";

static FILE: LazyLock<Option<File>> = LazyLock::new(open);

/// The number of the next wait.
static WAITS: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// Whether the file has the name of this thread.
    static NAMED: Cell<bool> = const { Cell::new(false) };
}

/// Whether a timeline is written.
#[must_use]
pub fn is_on() -> bool {
    FILE.is_some()
}

/// The time in nanoseconds.
pub(crate) fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    let [seconds, rest] = [time.tv_sec, time.tv_nsec].map(i64::unsigned_abs);
    seconds * 1_000_000_000 + rest
}

/// A piece of work of this thread, from now until this is dropped.
#[derive(Debug)]
#[must_use = "it ends when it is dropped"]
pub struct Span(Option<Begun>);

/// Something that ends when this is dropped, on any thread.
#[derive(Debug)]
#[must_use = "it ends when it is dropped"]
pub struct Wait(Option<Begun>);

#[derive(Debug)]
struct Begun {
    name: &'static str,
    of: String,
    at: u64,
}

impl Begun {
    fn now(name: &'static str, of: &(impl AsRef<Path> + ?Sized)) -> Option<Self> {
        is_on().then(|| Self {
            name,
            of: of.as_ref().display().to_string(),
            at: now(),
        })
    }
}

/// Begins a piece of work of this thread. `of` is what it concerns, such as the name of a tenant, or empty.
#[inline]
pub fn span(name: &'static str, of: &(impl AsRef<Path> + ?Sized)) -> Span {
    Span(Begun::now(name, of))
}

/// Begins something that other work of the same thread may interrupt.
#[inline]
pub fn wait(name: &'static str, of: &(impl AsRef<Path> + ?Sized)) -> Wait {
    Wait(Begun::now(name, of))
}

/// Notes a moment.
#[inline]
pub fn mark(name: &'static str, of: &(impl AsRef<Path> + ?Sized)) {
    if is_on() {
        let of = of.as_ref().display().to_string();
        Event::here("i", name, &of, now())
            .and("\"s\":\"t\"")
            .write();
    }
}

/// Notes a piece of work of a child.
pub(crate) fn step_of(pid: i32, name: &str, of: &str, [begin, end]: [u64; 2]) {
    let event = Event::new("X", name, of, (begin, pid, pid));
    event.lasts(begin, end).write();
}

impl Drop for Span {
    fn drop(&mut self) {
        if let Some(Begun { name, of, at }) = self.0.take() {
            let end = now();
            Event::here("X", name, &of, at).lasts(at, end).write();
        }
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        if let Some(Begun { name, of, at }) = self.0.take() {
            let end = now();
            let number = WAITS.fetch_add(1, Ordering::Relaxed);
            let id = format!("\"id\":\"{}-{number}\"", getpid().as_raw_pid());
            Event::here("b", name, &of, at).and(&id).write();
            Event::here("e", name, &of, end).and(&id).write();
        }
    }
}

/// One event, as a line of the file.
struct Event(String);

impl Event {
    /// An event of this thread.
    fn here(phase: &str, name: &str, of: &str, at: u64) -> Self {
        let [pid, tid] = [getpid(), gettid()].map(Pid::as_raw_pid);
        if !NAMED.replace(true) {
            let thread = std::thread::current();
            let thread = text(thread.name().unwrap_or("blocking"));
            let named = Self(format!(
                "{{\"ph\":\"M\",\"name\":\"thread_name\",\"pid\":{pid},\"tid\":{tid},\"args\":{{\"name\":{thread}}}"
            ));
            named.write();
        }
        Self::new(phase, name, of, (at, pid, tid))
    }

    fn new(phase: &str, name: &str, of: &str, (at, pid, tid): (u64, i32, i32)) -> Self {
        let (name, of) = (text(name), text(of));
        Self(format!(
            "{{\"ph\":\"{phase}\",\"cat\":\"tenantd\",\"name\":{name},\"ts\":{},\"pid\":{pid},\"tid\":{tid},\
             \"args\":{{\"of\":{of}}}",
            microseconds(at)
        ))
    }

    fn lasts(self, begin: u64, end: u64) -> Self {
        let lasts = format!("\"dur\":{}", microseconds(end.saturating_sub(begin)));
        self.and(&lasts)
    }

    fn and(mut self, member: &str) -> Self {
        self.0.push(',');
        self.0.push_str(member);
        self
    }

    fn write(mut self) {
        self.0.push_str("},\n");
        if let Some(file) = &*FILE {
            // The timeline then has a gap. Nothing else depends on it.
            let _gap = rustix::io::write(file, self.0.as_bytes());
        }
    }
}

fn microseconds(nanoseconds: u64) -> String {
    format!("{}.{:03}", nanoseconds / 1000, nanoseconds % 1000)
}

/// A string of JSON.
fn text(of: &str) -> String {
    let mut quoted = String::from('"');
    for letter in of.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            letter if letter.is_control() => {
                // Writing to a string does not fail.
                let _written = write!(quoted, "\\u{:04x}", u32::from(letter));
            }
            letter => quoted.push(letter),
        }
    }
    quoted.push('"');
    quoted
}

/// Opens the file. The process that makes it begins the array.
fn open() -> Option<File> {
    let path = std::env::var_os(VARIABLE).filter(|path| !path.is_empty())?;
    let mut options = File::options();
    options.append(true).mode(0o600);
    let opened = match options.clone().create_new(true).open(&path) {
        Ok(file) => rustix::io::write(&file, b"[\n")
            .map(|_| file)
            .map_err(Into::into),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => options.open(&path),
        Err(error) => Err(error),
    };
    opened
        .inspect_err(|error| {
            let path = path.display();
            tracing::warn!("cannot write the timeline to {path}: {error}: check {VARIABLE}");
        })
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_an_event_in_json() {
        assert_eq!(text("a\"b\\c\nd"), r#""a\"b\\c\u000ad""#);
        let event = Event::new("X", "launch", "wiki/acme", (1_234_567, 7, 8));
        assert_eq!(
            event.lasts(1_234_567, 1_236_000).0,
            r#"{"ph":"X","cat":"tenantd","name":"launch","ts":1234.567,"pid":7,"tid":8,"args":{"of":"wiki/acme"},"dur":1.433"#
        );
    }
}
