//! The pipes of the tenants. Reading copies their content; it stays in the pipe until it has been
//! written.
//!
//! tee(2) copies the content of a pipe into a scratch pipe, which is then read. Bytes are read from
//! the tenant's pipe itself only after their lines have been written. An incomplete line stays in
//! the pipe. So the death of this process loses no output.
//!
//! A pipe is *ready* (it may have lines), known to be empty, or *paused*: it contains only an
//! incomplete line. The kernel reports when an empty pipe is written to. It does not always report
//! a write to a pipe that is not empty (a write that fills the pipe waits for room without an
//! event, see pipe_write in `fs/pipe.c`), so a pause has a time limit.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::pipe::{PipeFlags, SpliceFlags, pipe_with, tee};
use tokio::time::Instant;

use crate::logs::split::{self, LINE_MAX};
use crate::logs::{Batch, Line, Stream};
use tenantd_core::name::TenantName;
use tenantd_host::fifo::ReadEnds;

/// The most bytes to read from a pipe at once: more than the longest line. It limits the memory
/// needed, the output that is repeated after a kill, and the time that other pipes wait.
pub const READ_MAX: usize = LINE_MAX + 4096;

/// How long an incomplete line waits for the rest before it is written as it is. It may be a
/// prompt, or the last output of a program that hangs.
pub const PAUSE_MAX: Duration = Duration::from_secs(1);

/// The pipes, by their keys in epoll(7).
#[derive(Debug)]
pub(super) struct Pipes {
    open: HashMap<u64, Pair>,
    of: HashMap<TenantName, u64>,
    next: u64,
    /// Each pipe at most once; those that were just read are last.
    ready: VecDeque<u64>,
    /// When each pause ends. Pauses that ended early are still in the list.
    pauses: VecDeque<(Instant, u64)>,
    scratch: Scratch,
}

#[derive(Debug)]
struct Pair {
    tenant: TenantName,
    pipes: [Option<Pipe>; 2],
}

#[derive(Debug)]
pub(super) struct Pipe {
    fd: OwnedFd,
    is_ready: bool,
    pause: Pause,
}

/// Whether the end of a pause is on the list, and how many bytes were in the pipe as it began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pause {
    None,
    Since(u32),
    Over(u32),
}

/// What was read from a pipe, and has to be consumed once it has been written.
#[derive(Debug)]
pub(super) struct Taken {
    key: u64,
    used: usize,
}

/// The scratch pipe.
#[derive(Debug)]
struct Scratch {
    out: OwnedFd,
    into: OwnedFd,
    buffer: Box<[u8]>,
}

impl Scratch {
    /// Copies the content of a pipe, as far as it fits. An empty pipe gives no bytes. An end of
    /// file is an error, because this process keeps the pipe open for writing.
    fn copy(&mut self, pipe: &OwnedFd) -> io::Result<&[u8]> {
        let count = match tee(pipe, &self.into, READ_MAX, SpliceFlags::NONBLOCK) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => count,
            Err(Errno::AGAIN | Errno::INTR) => 0,
            Err(errno) => return Err(errno.into()),
        };
        let mut read = 0;
        while read < count {
            read += rustix::io::read(&self.out, &mut self.buffer[read..count])?;
        }
        Ok(&self.buffer[..count])
    }

    /// Reads from a pipe what has been written, and discards it.
    fn consume(&mut self, pipe: &OwnedFd, mut count: usize) -> io::Result<()> {
        while count > 0 {
            let most = count.min(READ_MAX);
            match rustix::io::read(pipe, &mut self.buffer[..most]) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => count -= read,
                Err(Errno::INTR) => {}
                // The tenant has read from its own pipe.
                Err(Errno::AGAIN) => return Ok(()),
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }
}

impl Pipes {
    /// Another descriptor of each pipe.
    pub(super) fn copy(&self) -> io::Result<Vec<(TenantName, Stream, OwnedFd)>> {
        let mut copies = Vec::with_capacity(2 * self.open.len());
        for pair in self.open.values() {
            for (stream, pipe) in [Stream::Stdout, Stream::Stderr]
                .into_iter()
                .zip(&pair.pipes)
            {
                if let Some(pipe) = pipe {
                    copies.push((pair.tenant.clone(), stream, pipe.fd.try_clone()?));
                }
            }
        }
        Ok(copies)
    }

    /// # Errors
    /// What pipe2(2) reports.
    pub(super) fn new() -> io::Result<Self> {
        let (out, into) = pipe_with(PipeFlags::CLOEXEC)?;
        Ok(Self {
            open: HashMap::new(),
            of: HashMap::new(),
            next: 0,
            ready: VecDeque::new(),
            pauses: VecDeque::new(),
            scratch: Scratch {
                out,
                into,
                buffer: vec![0; READ_MAX].into_boxed_slice(),
            },
        })
    }

    /// Adds a tenant's pipes. `watch` registers each in epoll(7) with a key.
    pub(super) fn add(
        &mut self,
        tenant: &TenantName,
        read_ends: ReadEnds,
        watch: impl Fn(&OwnedFd, u64) -> io::Result<()>,
    ) -> io::Result<()> {
        drop(self.take_out(tenant));
        let number = self.next;
        self.next += 1;
        let fds = [read_ends.stdout, read_ends.stderr];
        for (fd, key) in fds.iter().zip(keys(number)) {
            watch(fd, key)?;
        }
        let pipe = |fd| {
            Some(Pipe {
                fd,
                is_ready: false,
                pause: Pause::None,
            })
        };
        let pair = Pair {
            tenant: tenant.clone(),
            pipes: fds.map(pipe),
        };
        self.open.insert(number, pair);
        self.of.insert(tenant.clone(), number);
        Ok(())
    }

    /// The maximum number of pipes.
    pub(super) fn len(&self) -> usize {
        2 * self.open.len()
    }

    /// Removes and returns a tenant's pipes.
    pub(super) fn take_out(&mut self, tenant: &TenantName) -> impl Iterator<Item = (Stream, Pipe)> {
        let number = self.of.remove(tenant);
        let pair = number.and_then(|number| self.open.remove(&number));
        let pipes = pair.map(|pair| pair.pipes).into_iter().flatten();
        let streams = [Stream::Stdout, Stream::Stderr];
        let both = streams.into_iter().zip(pipes);
        both.filter_map(|(stream, pipe)| Some((stream, pipe?)))
    }

    /// Closes all pipes.
    pub(super) fn clear(&mut self) {
        self.open.clear();
        self.of.clear();
    }

    /// Marks a pipe ready, because it was written to.
    pub(super) fn mark_ready(&mut self, key: u64) {
        if let Some(pipe) = pipe(&mut self.open, key)
            && !pipe.is_ready
        {
            pipe.is_ready = true;
            self.ready.push_back(key);
        }
    }

    /// Marks the pipes ready whose pause is over. Returns the end of the next pause.
    pub(super) fn end_pauses(&mut self, now: Instant) -> Option<Instant> {
        while let Some(&(end, key)) = self.pauses.front() {
            if end > now {
                return Some(end);
            }
            self.pauses.pop_front();
            if let Some(pipe) = pipe(&mut self.open, key)
                && let Pause::Since(bytes) = pipe.pause
            {
                pipe.pause = Pause::Over(bytes);
                self.mark_ready(key);
            }
        }
        None
    }

    pub(super) fn any_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Reads the lines of the first ready pipe.
    pub(super) fn take(&mut self) -> Option<(Batch, Taken)> {
        let key = self.ready.pop_front()?;
        let mut lines = Vec::new();
        match self.look(key, &mut lines) {
            Ok(0) => None,
            Ok(used) => Some((self.batch(key, lines)?, Taken { key, used })),
            Err(error) => {
                self.give_up(key, &error);
                None
            }
        }
    }

    /// Consumes what was read. The pipe becomes ready again, behind all others.
    pub(super) fn consume(&mut self, taken: &Taken) {
        let &Taken { key, used } = taken;
        let Some(pipe) = pipe(&mut self.open, key) else {
            return;
        };
        match self.scratch.consume(&pipe.fd, used) {
            Ok(()) => self.ready.push_back(key),
            Err(error) => self.give_up(key, &error),
        }
    }

    /// Reads the lines of one pipe, and returns their length in bytes. If there are none, the pipe
    /// is not ready any more.
    fn look(&mut self, key: u64, lines: &mut Vec<Line>) -> io::Result<usize> {
        let Some(pipe) = pipe(&mut self.open, key) else {
            return Ok(0);
        };
        let bytes = self.scratch.copy(&pipe.fd)?;
        let mut used = split::whole_lines(bytes, lines);
        let count = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        match pipe.pause {
            Pause::Over(before) if used == 0 && count == before => {
                used = split::beginning(bytes, lines);
                pipe.pause = Pause::None;
            }
            Pause::Over(_) | Pause::None if used == 0 && count > 0 => {
                pipe.pause = Pause::Since(count);
                self.pauses.push_back((Instant::now() + PAUSE_MAX, key));
            }
            Pause::Over(_) => pipe.pause = Pause::None,
            Pause::Since(_) | Pause::None => {}
        }
        pipe.is_ready = used > 0;
        Ok(used)
    }

    /// Reads the next lines of a pipe without a writer, and at the end an incomplete line.
    pub(super) fn drain(&mut self, pipe: &Pipe, lines: &mut Vec<Line>) -> io::Result<usize> {
        let bytes = self.scratch.copy(&pipe.fd)?;
        match split::whole_lines(bytes, lines) {
            0 => Ok(split::end(bytes, lines)),
            used => Ok(used),
        }
    }

    /// Consumes what was drained.
    pub(super) fn drained(&mut self, pipe: &Pipe, used: usize) -> io::Result<()> {
        self.scratch.consume(&pipe.fd, used)
    }

    fn batch(&self, key: u64, lines: Vec<Line>) -> Option<Batch> {
        let pair = self.open.get(&(key / 2))?;
        Some(Batch {
            tenant: pair.tenant.clone(),
            stream: stream(key),
            lines,
        })
    }

    /// Removes a pipe that cannot be read, so that it is not read again and again.
    fn give_up(&mut self, key: u64, error: &io::Error) {
        if let Some(pair) = self.open.get_mut(&(key / 2)) {
            pair.pipes[usize::from(key % 2 == 1)] = None;
            let (tenant, stream) = (&pair.tenant, stream(key));
            tracing::error!(%tenant, %error, "{tenant}: cannot read its {stream} any longer");
        }
    }
}

fn keys(number: u64) -> [u64; 2] {
    [2 * number, 2 * number + 1]
}

fn stream(key: u64) -> Stream {
    match key % 2 {
        0 => Stream::Stdout,
        _ => Stream::Stderr,
    }
}

fn pipe(open: &mut HashMap<u64, Pair>, key: u64) -> Option<&mut Pipe> {
    let pair = open.get_mut(&(key / 2))?;
    pair.pipes[usize::from(key % 2 == 1)].as_mut()
}
