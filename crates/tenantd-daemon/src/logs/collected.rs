//! The FIFOs of the log collectors: lines of the tenants of each, in the order in which they arrived.

use std::io;
use std::os::fd::OwnedFd;

use crate::collect::frame::{self, Entry, Source};
use crate::logs::scratch::Scratch;
use rustix::event::epoll;

use crate::logs::{Batch, Ends, Origin, Stream};
use tenantd_core::layout::COLLECTORS_MAX;
use tenantd_core::name::AppName;
use tenantd_host::fifo;

/// The key in epoll(7) of the FIFO of a collector, which no pipe has.
fn key(number: u16) -> u64 {
    u64::MAX - u64::from(number)
}

/// The number of the collector whose FIFO has this key.
pub(super) fn index(key: u64) -> Option<usize> {
    let index = u64::MAX - key;
    usize::try_from(index)
        .ok()
        .filter(|_| index < u64::from(COLLECTORS_MAX))
}

impl Ends {
    /// Reads the FIFO of the next log collector from now on, see [`collect`](crate::collect). It has this number.
    ///
    /// # Errors
    /// What mknod(2), open(2), epoll_ctl(2) or pipe2(2) reports.
    pub(crate) fn collect(&self, app: &AppName, number: u16) -> io::Result<()> {
        let fifo = fifo::make_collected(app, number)?;
        let how = epoll::EventFlags::IN | epoll::EventFlags::ET;
        let data = epoll::EventData::new_u64(key(number));
        // What is already in it is reported at once.
        epoll::add(&self.0.epoll, &fifo, data, how)?;
        self.0.collected.borrow_mut().push(Collected::new(fifo)?);
        Ok(())
    }
}

/// The FIFO of one collector, as long as it can be read.
#[derive(Debug)]
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
