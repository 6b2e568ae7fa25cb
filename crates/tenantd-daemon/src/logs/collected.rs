//! The FIFO of the log collector: lines of all tenants, in the order in which they arrived.

use std::io;
use std::os::fd::OwnedFd;

use crate::collect::frame::{self, Entry, Source};
use crate::logs::scratch::Scratch;
use crate::logs::{Batch, Origin, Stream};

/// Its key in epoll(7), which no pipe has.
pub(super) const KEY: u64 = u64::MAX;

/// The FIFO, unless this supervisor has no collector.
#[derive(Debug, Default)]
pub(super) struct Collected(Option<Open>);

#[derive(Debug)]
struct Open {
    fifo: OwnedFd,
    scratch: Scratch,
    is_ready: bool,
}

impl Collected {
    /// # Errors
    /// What pipe2(2) reports.
    pub(super) fn new(fifo: OwnedFd) -> io::Result<Self> {
        let scratch = Scratch::new()?;
        Ok(Self(Some(Open {
            fifo,
            scratch,
            is_ready: false,
        })))
    }

    pub(super) fn mark_ready(&mut self) {
        if let Some(open) = &mut self.0 {
            open.is_ready = true;
        }
    }

    pub(super) fn is_ready(&self) -> bool {
        self.0.as_ref().is_some_and(|open| open.is_ready)
    }

    /// Reads some lines. Returns also how many bytes they are, which have to be consumed once the lines
    /// are written.
    pub(super) fn take(&mut self) -> (Vec<Batch>, usize) {
        let Some(open) = &mut self.0 else {
            return (Vec::new(), 0);
        };
        let mut entries = Vec::new();
        let used = match open.scratch.copy(&open.fifo) {
            Ok(bytes) => frame::decode(bytes, &mut entries),
            Err(error) => {
                self.give_up(&error);
                return (Vec::new(), 0);
            }
        };
        open.is_ready = used > 0;
        (batches(entries), used)
    }

    pub(super) fn consume(&mut self, used: usize) {
        if let Some(open) = &mut self.0
            && let Err(error) = open.scratch.consume(&open.fifo, used)
        {
            self.give_up(&error);
        }
    }

    fn give_up(&mut self, error: &io::Error) {
        tracing::error!(%error, "cannot read the collected logs any longer");
        self.0 = None;
    }
}

fn batches(entries: Vec<Entry>) -> Vec<Batch> {
    let mut batches: Vec<Batch> = Vec::new();
    for Entry {
        tenant,
        source,
        mut line,
    } in entries
    {
        let stream = match source {
            Source::Origin(origin) => {
                let stream = match origin {
                    Origin::Syslog { .. } => Stream::Syslog,
                    Origin::File(_) => Stream::File,
                };
                line.origin = Some(Box::new(origin));
                stream
            }
            Source::Note => Stream::Mark,
        };
        match batches.last_mut() {
            Some(last) if last.tenant == tenant && last.stream == stream => last.lines.push(line),
            Some(_) | None => batches.push(Batch {
                tenant,
                stream,
                lines: vec![line],
            }),
        }
    }
    batches
}
