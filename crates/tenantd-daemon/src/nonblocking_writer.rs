//! A writer that never blocks its callers: a thread writes the supervisor's own output. So the loop
//! does not block if the reader stops reading (a terminal on hold, a full pipe).
//!
//! The queue is bounded. Lines that do not fit are counted, and a notice with their number is
//! written later. The thread sleeps while there is nothing to write.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tenantd_host::launch::memory::keep_stack_from_children;

/// How many bytes may wait in the queue: four full pipes.
const WAITING_MAX: usize = 256 * 1024;

/// A writer that never blocks. Clones share one queue.
#[derive(Debug, Clone)]
pub(super) struct NonblockingWriter {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Vec<u8>,
    /// The number of lines of each source that did not fit, and where else they can be read.
    missed: BTreeMap<String, (u64, String)>,
    writing: bool,
}

impl NonblockingWriter {
    /// Starts the thread that writes to `out`.
    ///
    /// # Errors
    /// What pthread_create(3) reports.
    pub(super) fn start(name: &str, out: impl Write + Send + 'static) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                keep_stack_from_children();
                theirs.write_all_to(out);
            })?;
        Ok(Self { shared })
    }

    /// Puts `lines` lines into the queue, or counts them as missed if they do not fit. A later
    /// notice names their `source`, and `elsewhere` as the place where they can be read.
    pub(super) fn push(&self, bytes: &[u8], lines: u64, source: &str, elsewhere: &str) {
        let mut queue = self.shared.lock();
        if queue.waiting.len() + bytes.len() <= WAITING_MAX {
            queue.waiting.extend_from_slice(bytes);
        } else if let Some((count, _)) = queue.missed.get_mut(source) {
            *count += lines;
        } else {
            let missed = (lines, elsewhere.to_owned());
            queue.missed.insert(source.to_owned(), missed);
        }
        self.shared.changed.notify_all();
    }

    /// Waits until everything has been written, at most `limit`, before an exit. Blocks the thread.
    pub(super) fn flush(&self, limit: Duration) {
        let queue = self.shared.lock();
        let is_busy = |queue: &mut Queue| queue.writing || !queue.is_empty();
        drop(
            self.shared
                .changed
                .wait_timeout_while(queue, limit, is_busy),
        );
    }
}

impl Queue {
    fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.missed.is_empty()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_all_to(&self, mut out: impl Write) {
        let mut queue = self.lock();
        loop {
            queue.writing = false;
            self.changed.notify_all();
            queue = self
                .changed
                .wait_while(queue, |queue| queue.is_empty())
                .unwrap_or_else(PoisonError::into_inner);
            queue.writing = true;
            let mut bytes = std::mem::take(&mut queue.waiting);
            let missed = std::mem::take(&mut queue.missed);
            drop(queue);
            bytes.extend(notice(&missed).into_bytes());
            // The reader may have closed the pipe. There is no other place to report that.
            let _ = out.write_all(&bytes).and_then(|()| out.flush());
            queue = self.lock();
        }
    }
}

fn notice(missed: &BTreeMap<String, (u64, String)>) -> String {
    let mut text = String::new();
    for (source, (count, elsewhere)) in missed {
        // Writing into a String cannot fail.
        let _ = writeln!(
            text,
            "{count} lines of {source} are not shown here{elsewhere}"
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use rustix::event::{PollFd, PollFlags, poll};

    use super::*;

    /// The number of lines that the reader has, plus those reported as missed.
    fn counted(text: &[u8]) -> usize {
        let lines = text.split_inclusive(|&byte| byte == b'\n');
        lines
            .filter(|line| line.ends_with(b"\n"))
            .map(|line| match line.first() {
                Some(b'x') => 1,
                _ => {
                    let line = std::str::from_utf8(line).unwrap();
                    line.split(' ').next().unwrap().parse().unwrap()
                }
            })
            .sum()
    }

    #[test]
    fn a_stalled_reader_blocks_nothing_and_learns_how_many_lines_it_missed() {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let out = NonblockingWriter::start("test", writer).unwrap();
        let line = [[b'x'; 1023].as_slice(), b"\n"].concat();
        // The pipe holds 64 KiB, the queue and the piece being written 256 KiB each.
        let pushed = 2_000;
        for _ in 0..pushed {
            out.push(&line, 1, "acme", "; they are in acme.log");
        }
        let mut text = Vec::new();
        while counted(&text) < pushed {
            let limit = rustix::event::Timespec::try_from(Duration::from_secs(10)).unwrap();
            let mut fds = [PollFd::new(&reader, PollFlags::IN)];
            assert!(
                poll(&mut fds, Some(&limit)).unwrap() > 0,
                "{}",
                counted(&text)
            );
            let mut piece = [0; 4096];
            let count = reader.read(&mut piece).unwrap();
            text.extend_from_slice(&piece[..count]);
        }
        assert_eq!(counted(&text), pushed);
        // If the thread started late, lines that fitted come after the notice.
        let text = String::from_utf8(text).unwrap();
        let mut notices = text
            .lines()
            .filter(|line| !line.starts_with('x'))
            .peekable();
        assert!(notices.peek().is_some());
        assert!(
            notices.all(|notice| notice.ends_with(" are not shown here; they are in acme.log"))
        );
        out.flush(Duration::from_secs(10));
    }
}
