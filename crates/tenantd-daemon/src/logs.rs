//! The tenants' output: from their pipes, line by line, to the journal or to files.
//!
//! One loop reads all pipes, in iterations: one takes at most [`READ_MAX`] bytes from one pipe, hands
//! the lines on, and lets the rest of the daemon run. The pipe then goes to the end of the queue,
//! so that a tenant that floods waits for all others, and a quiet one costs nothing but its entry
//! here. Where the lines cannot be taken, they stay in the pipes.
//!
//! A line leaves its pipe only once it has been written on. So whoever dies loses nothing: the next
//! supervisor reads on, and what was written on but not consumed yet comes a second time, at most
//! one iteration's. See `docs/decisions/0013-logs-survive.md`.

pub mod files;
pub mod journal;
mod pipes;
mod sink;
pub mod split;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use rustix::event::epoll;
use rustix::io::Errno;
use tokio::io::unix::AsyncFd;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use files::Files;
use journal::Journal;
pub use pipes::{PAUSE_MAX, READ_MAX};
use pipes::{Pipe, Pipes};
use sink::Sink;
pub use split::Line;
use tenantd_api::wire::LogPlace;
use tenantd_core::name::{AppName, TenantName};
use tenantd_host::fifo::Outlets;

/// How many reports of the kernel are heard at once.
const EVENTS: usize = 64;

/// The most bytes taken from a pipe that is about to be given up: the largest pipe there is by
/// default (`/proc/sys/fs/pipe-max-size`), so that a program that still writes cannot go on for ever.
const DRAIN_MAX: usize = 1024 * 1024;

/// One of a tenant's two streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
        })
    }
}

/// Lines of one tenant and stream that were read together.
#[derive(Debug, Clone)]
pub struct Batch {
    /// Whose they are.
    pub tenant: TenantName,
    /// Where they came out.
    pub stream: Stream,
    /// The lines, in their order.
    pub lines: Vec<Line>,
}

/// Where the tenants' output goes: to the journal if our own does, else to files.
#[must_use]
pub fn place() -> LogPlace {
    if journal::is_ours() {
        LogPlace::Journal
    } else {
        LogPlace::Files
    }
}

/// The reading of all tenants' output. Ends when it is dropped; [`Logs::end`] loses nothing.
#[derive(Debug)]
pub struct Logs {
    reader: Rc<LogReader>,
    task: JoinHandle<()>,
}

/// What the loop and its owner share.
#[derive(Debug)]
struct LogReader {
    epoll: AsyncFd<OwnedFd>,
    pipes: RefCell<Pipes>,
    /// Fair (first come, first served), which keeps each tenant's lines in their order.
    sink: Mutex<Sink>,
}

impl Logs {
    /// Starts reading, as a task of the current `LocalSet`.
    ///
    /// # Errors
    /// What epoll_create1(2) or pthread_create(3) reports.
    ///
    /// # Panics
    /// Outside a `LocalSet`.
    pub fn start(app: &AppName, place: LogPlace) -> io::Result<Self> {
        let sink = match place {
            LogPlace::Journal => {
                let path = journal::SOCKET.as_ref();
                Sink::journal(Journal::new(app.clone(), path))
            }
            LogPlace::Files => Sink::files(Files::of(app), io::stdout())?,
        };
        let reader = Rc::new(LogReader::new(sink)?);
        let task = tokio::task::spawn_local(Rc::clone(&reader).read());
        Ok(Self { reader, task })
    }

    /// Reads a tenant's pipes from now on. Pipes that it had before are given up unread.
    ///
    /// # Errors
    /// What epoll_ctl(2) reports.
    pub fn add(&self, tenant: &TenantName, outlets: Outlets) -> io::Result<()> {
        self.reader.add(tenant, outlets)
    }

    /// Reads what is left in a tenant's pipes, hands on what has no line end too, and closes them.
    pub async fn remove(&self, tenant: &TenantName) {
        self.reader.remove(tenant).await;
    }

    /// Takes nothing more while the result lives; what was taken has been written on.
    pub(super) async fn pause(&self) -> impl Drop + '_ {
        let mut sink = self.reader.sink.lock().await;
        sink.flush().await;
        sink
    }

    /// Another descriptor of each pipe, to be handed down.
    ///
    /// # Errors
    /// Those of fcntl(2).
    pub(super) fn pipes(&self) -> io::Result<Vec<(TenantName, Stream, OwnedFd)>> {
        self.reader.pipes.borrow().copy()
    }

    /// Ends the reading, once what has been taken is written on. The rest stays in the pipes:
    /// tenants that go on running lose nothing, and the next supervisor reads on.
    pub async fn end(&self) {
        self.reader.end().await;
    }
}

impl Drop for Logs {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl LogReader {
    fn new(sink: Sink) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        #[expect(
            deprecated,
            reason = "its successor is unsafe for the sake of types that may change their \
                      descriptor; an OwnedFd keeps its own open until it is dropped"
        )]
        let epoll = AsyncFd::with_interest(epoll, tokio::io::Interest::READABLE)?;
        Ok(Self {
            epoll,
            pipes: RefCell::new(Pipes::new()?),
            sink: Mutex::new(sink),
        })
    }

    async fn read(self: Rc<Self>) {
        loop {
            if let Err(error) = self.iterate().await {
                // epoll(7) cannot fail on a descriptor that is ours and open.
                tracing::error!(%error, "the tenants' output is no longer read");
                return;
            }
            tokio::task::yield_now().await;
        }
    }

    /// Waits until a pipe is to be looked at, and takes one iteration.
    async fn iterate(&self) -> io::Result<()> {
        self.wait().await?;
        // Held from the look to the end: nobody else takes what was taken here.
        let mut sink = self.sink.lock().await;
        let taken = self.pipes.borrow_mut().take();
        if let Some((batch, taken)) = taken {
            sink.put(batch).await;
            self.pipes.borrow_mut().consume(&taken);
        }
        Ok(())
    }

    async fn wait(&self) -> io::Result<()> {
        loop {
            self.poll()?;
            let end = self.pipes.borrow_mut().end_pauses(Instant::now());
            if self.pipes.borrow().any_ready() {
                return Ok(());
            }
            tokio::select! {
                guard = self.epoll.readable() => {
                    let mut guard = guard?;
                    if self.poll()? == 0 {
                        guard.clear_ready();
                    }
                }
                () = reach(end) => {}
            }
        }
    }

    /// Makes those pipes ready that were written to, and says how often the kernel reported one.
    fn poll(&self) -> io::Result<usize> {
        let mut pipes = self.pipes.borrow_mut();
        let mut events: Vec<epoll::Event> = Vec::with_capacity(EVENTS);
        let at_once = Some(&rustix::event::Timespec::default());
        let mut reported = 0;
        // All of them, so that none is passed over; but pipes that are written to all the time are
        // reported again and again.
        while reported <= pipes.len() {
            events.clear();
            let spare = rustix::buffer::spare_capacity(&mut events);
            match epoll::wait(self.epoll.get_ref(), spare, at_once) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
            for event in &events {
                pipes.mark_ready(event.data.u64());
            }
            reported += events.len();
            if events.len() < EVENTS {
                break;
            }
        }
        Ok(reported)
    }

    fn add(&self, tenant: &TenantName, outlets: Outlets) -> io::Result<()> {
        // By the edge: a pipe that holds the beginning of a line would be reported without end.
        let how = epoll::EventFlags::IN | epoll::EventFlags::ET;
        let watch = |fd: &OwnedFd, key| {
            let data = epoll::EventData::new_u64(key);
            epoll::add(&self.epoll, fd, data, how).map_err(io::Error::from)
        };
        // What is in a pipe already is reported at once.
        self.pipes.borrow_mut().add(tenant, outlets, watch)
    }

    async fn remove(&self, tenant: &TenantName) {
        let mut sink = self.sink.lock().await;
        let pipes: Vec<_> = self.pipes.borrow_mut().take_out(tenant).collect();
        for (stream, pipe) in pipes {
            if let Err(error) = self.drain(tenant, stream, &pipe, &mut sink).await {
                tracing::error!(%tenant, %error, "{tenant}: the last of its {stream} cannot be read");
            }
        }
    }

    async fn drain(
        &self,
        tenant: &TenantName,
        stream: Stream,
        pipe: &Pipe,
        sink: &mut Sink,
    ) -> io::Result<()> {
        let mut left = DRAIN_MAX;
        while left > 0 {
            let mut lines = Vec::new();
            let used = self.pipes.borrow_mut().drain(pipe, &mut lines)?;
            if used == 0 {
                break;
            }
            let tenant = tenant.clone();
            let batch = Batch {
                tenant,
                stream,
                lines,
            };
            sink.put(batch).await;
            self.pipes.borrow_mut().drained(pipe, used)?;
            left = left.saturating_sub(used);
        }
        Ok(())
    }

    async fn end(&self) {
        let mut sink = self.sink.lock().await;
        self.pipes.borrow_mut().clear();
        sink.flush().await;
    }
}

async fn reach(end: Option<Instant>) {
    match end {
        Some(end) => sleep_until(end).await,
        None => std::future::pending().await,
    }
}
