//! The tenants' output: from their pipes, line by line, to the journal or to files.
//!
//! One loop reads all pipes, in turns: a turn takes at most [`READ_MAX`] bytes from each of at most
//! [`PIPES_PER_TURN`] pipes, hands the lines on, and lets the rest of the daemon run. The kernel
//! keeps the pipes that have something in a queue (epoll(7)) and puts one that has been read to its
//! end, so that a tenant that floods waits for all others, and a quiet one costs nothing but its
//! entry here. Where the lines cannot be taken, they stay in the pipes.
//!
//! Whoever has died with lines read but not written on has lost them: at most one turn's. All else
//! is in the pipes, and the next supervisor reads on.

pub mod files;
pub mod journal;
mod sink;
pub mod split;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use rustix::event::epoll;
use rustix::io::Errno;
use tokio::io::unix::AsyncFd;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

use crate::host::fifo::Outlets;
use crate::name::{AppName, TenantName};
use crate::wire::LogPlace;
use files::Files;
use journal::Journal;
use sink::Sink;
pub use split::Line;
use split::Splitter;

/// The most bytes taken from one pipe in one turn: a quarter of a full one (pipe(7)).
pub const READ_MAX: usize = 16 * 1024;

/// The most pipes read in one turn. Together with [`READ_MAX`] it bounds what a turn holds in
/// memory and how long the rest of the daemon waits for it.
pub const PIPES_PER_TURN: usize = 8;

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
    desk: Rc<Desk>,
    task: JoinHandle<()>,
}

/// What the loop and its owner share.
#[derive(Debug)]
struct Desk {
    epoll: AsyncFd<OwnedFd>,
    pipes: RefCell<Pipes>,
    /// Fair (first come, first served), which keeps each tenant's lines in their order.
    sink: Mutex<Sink>,
}

#[derive(Debug)]
struct Pipes {
    open: HashMap<u64, Pipe>,
    of: HashMap<TenantName, [u64; 2]>,
    next_key: u64,
    /// Where all pipes are read into, one after the other.
    buffer: Box<[u8]>,
}

#[derive(Debug)]
struct Pipe {
    fd: OwnedFd,
    tenant: TenantName,
    stream: Stream,
    splitter: Splitter,
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
        let desk = Rc::new(Desk::new(sink)?);
        let task = tokio::task::spawn_local(Rc::clone(&desk).read());
        Ok(Self { desk, task })
    }

    /// Reads a tenant's pipes from now on. Pipes that it had before are given up unread.
    ///
    /// # Errors
    /// What epoll_ctl(2) reports.
    pub fn add(&self, tenant: &TenantName, outlets: Outlets) -> io::Result<()> {
        self.desk.add(tenant, outlets)
    }

    /// Reads what is left in a tenant's pipes, hands on what has no line end too, and closes them.
    pub async fn remove(&self, tenant: &TenantName) {
        self.desk.remove(tenant).await;
    }

    /// Ends the reading, and hands on what has been read. The rest stays in the pipes: tenants that
    /// go on running lose nothing, and the next supervisor reads on.
    pub async fn end(self) {
        self.desk.end().await;
    }
}

impl Drop for Logs {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Desk {
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
            pipes: RefCell::new(Pipes {
                open: HashMap::new(),
                of: HashMap::new(),
                next_key: 0,
                buffer: vec![0; READ_MAX].into_boxed_slice(),
            }),
            sink: Mutex::new(sink),
        })
    }

    async fn read(self: Rc<Self>) {
        loop {
            if let Err(error) = self.turn().await {
                // epoll(7) cannot fail on a descriptor that is ours and open.
                tracing::error!(%error, "the tenants' output is no longer read");
                return;
            }
            tokio::task::yield_now().await;
        }
    }

    /// Waits until a pipe has something, and takes one turn.
    async fn turn(&self) -> io::Result<()> {
        let mut ready = Vec::with_capacity(PIPES_PER_TURN);
        loop {
            let mut guard = self.epoll.readable().await?;
            let spare = rustix::buffer::spare_capacity(&mut ready);
            let at_once = Some(&rustix::event::Timespec::default());
            match epoll::wait(guard.get_inner(), spare, at_once) {
                Ok(0) => guard.clear_ready(),
                Ok(_) => break,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        let batches = self.pipes.borrow_mut().take(&ready);
        self.sink.lock().await.put(batches).await;
        Ok(())
    }

    fn add(&self, tenant: &TenantName, outlets: Outlets) -> io::Result<()> {
        let mut pipes = self.pipes.borrow_mut();
        drop(pipes.take_out(tenant));
        let keys = [pipes.next_key, pipes.next_key + 1];
        pipes.next_key += 2;
        let streams = [Stream::Stdout, Stream::Stderr];
        let fds = [outlets.stdout, outlets.stderr];
        for ((key, stream), fd) in keys.into_iter().zip(streams).zip(fds) {
            let data = epoll::EventData::new_u64(key);
            epoll::add(&self.epoll, &fd, data, epoll::EventFlags::IN)?;
            let pipe = Pipe {
                fd,
                tenant: tenant.clone(),
                stream,
                splitter: Splitter::default(),
            };
            pipes.open.insert(key, pipe);
        }
        pipes.of.insert(tenant.clone(), keys);
        Ok(())
    }

    async fn remove(&self, tenant: &TenantName) {
        let batches = self.pipes.borrow_mut().drain(tenant);
        self.sink.lock().await.put(batches).await;
    }

    async fn end(&self) {
        let batches = self.pipes.borrow_mut().interrupt();
        self.sink.lock().await.put(batches).await;
        self.sink.lock().await.flush().await;
    }
}

impl Pipes {
    /// Reads each pipe that is ready once.
    fn take(&mut self, ready: &[epoll::Event]) -> Vec<Batch> {
        let mut batches = Vec::new();
        for event in ready {
            let key = event.data.u64();
            let Some(pipe) = self.open.get_mut(&key) else {
                continue;
            };
            let mut lines = Vec::new();
            if pipe.read(&mut self.buffer, &mut lines).is_err() {
                // The pipe is gone with its entry, or its readiness would be reported for ever.
                pipe.splitter.finish(&mut lines);
                batches.push(pipe.batch(lines));
                self.open.remove(&key);
            } else if !lines.is_empty() {
                batches.push(pipe.batch(lines));
            }
        }
        batches
    }

    /// Takes all that is left in a tenant's pipes, and closes them.
    fn drain(&mut self, tenant: &TenantName) -> Vec<Batch> {
        let mut batches = Vec::new();
        for mut pipe in self.take_out(tenant) {
            let mut lines = Vec::new();
            let mut left = DRAIN_MAX;
            while let Ok(count @ 1..) = pipe.read(&mut self.buffer, &mut lines) {
                left = left.saturating_sub(count);
                if left == 0 {
                    break;
                }
            }
            pipe.splitter.finish(&mut lines);
            if !lines.is_empty() {
                batches.push(pipe.batch(lines));
            }
        }
        batches
    }

    /// Closes all pipes, and takes the beginnings of lines that were read from them.
    fn interrupt(&mut self) -> Vec<Batch> {
        self.of.clear();
        let mut batches = Vec::new();
        for (_, mut pipe) in self.open.drain() {
            let mut lines = Vec::new();
            pipe.splitter.interrupt(&mut lines);
            if !lines.is_empty() {
                batches.push(pipe.batch(lines));
            }
        }
        batches
    }

    fn take_out(&mut self, tenant: &TenantName) -> Vec<Pipe> {
        let keys = self.of.remove(tenant).into_iter().flatten();
        keys.filter_map(|key| self.open.remove(&key)).collect()
    }
}

impl Pipe {
    /// Reads once. Returns how many bytes there were, 0 being none now; an end of file is an error,
    /// because our own end keeps the pipe open for writing.
    fn read(&mut self, buffer: &mut [u8], lines: &mut Vec<Line>) -> io::Result<usize> {
        match rustix::io::read(&self.fd, &mut *buffer) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                self.splitter.feed(&buffer[..count], lines);
                Ok(count)
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(0),
            Err(errno) => Err(errno.into()),
        }
    }

    fn batch(&self, lines: Vec<Line>) -> Batch {
        Batch {
            tenant: self.tenant.clone(),
            stream: self.stream,
            lines,
        }
    }
}
