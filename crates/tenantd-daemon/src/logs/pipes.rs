//! The pipes that are read: taken from without being emptied, so that what is in a pipe stays in
//! it until it has been written on.
//!
//! tee(2) copies what is in a pipe into a scratch pipe of our own, which is then read; only what
//! has been written on is read out of the pipe itself. A line without an end stays where it is.
//! So the memory of this process holds nothing that its death could lose.
//!
//! A pipe is either *ready* (to be looked at), or known to be empty, or *paused*: it holds the
//! beginning of a line and nothing else. The kernel says when an empty pipe is written to. It does
//! not always say so of one that is not empty (a write that fills it waits for room without a
//! word, pipe_write in `fs/pipe.c`), so that a pause has a limit of its own.

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
use tenantd_host::fifo::Outlets;

/// The most bytes taken from a pipe at once: more than the longest line. It bounds what is held in
/// memory, what comes twice after a kill, and how long all other pipes wait.
pub const READ_MAX: usize = LINE_MAX + 4096;

/// How long the beginning of a line waits for the rest of it before it is handed on as it is: it
/// may be a question, or the last words of a program that hangs.
pub const PAUSE_MAX: Duration = Duration::from_secs(1);

/// The pipes, by the keys that epoll(7) knows them by.
#[derive(Debug)]
pub(super) struct Pipes {
    open: HashMap<u64, Pair>,
    of: HashMap<TenantName, u64>,
    next: u64,
    /// Each at most once, and those that were just read behind all others.
    ready: VecDeque<u64>,
    /// When which pause is over. One that ended by itself is still in here.
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

/// What was taken from a pipe, and has to be consumed once it has been written on.
#[derive(Debug)]
pub(super) struct Taken {
    key: u64,
    used: usize,
}

/// Where pipes are copied into, one after the other.
#[derive(Debug)]
struct Scratch {
    out: OwnedFd,
    into: OwnedFd,
    buffer: Box<[u8]>,
}

impl Scratch {
    /// Copies what is in a pipe, as far as it fits. Nothing is 0; an end of file is an error,
    /// because our own end keeps the pipe open for writing.
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

    /// Takes what was written on out of a pipe.
    fn consume(&mut self, pipe: &OwnedFd, mut count: usize) -> io::Result<()> {
        while count > 0 {
            let most = count.min(READ_MAX);
            match rustix::io::read(pipe, &mut self.buffer[..most]) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => count -= read,
                Err(Errno::INTR) => {}
                // A tenant may read from its own pipe, and then it lost that itself.
                Err(Errno::AGAIN) => return Ok(()),
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }
}

impl Pipes {
    /// Another descriptor of each.
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

    /// Takes up a tenant's pipes. `watch` tells the kernel to report them by a key.
    pub(super) fn add(
        &mut self,
        tenant: &TenantName,
        outlets: Outlets,
        watch: impl Fn(&OwnedFd, u64) -> io::Result<()>,
    ) -> io::Result<()> {
        drop(self.take_out(tenant));
        let number = self.next;
        self.next += 1;
        let fds = [outlets.stdout, outlets.stderr];
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

    /// How many pipes there are at most.
    pub(super) fn len(&self) -> usize {
        2 * self.open.len()
    }

    /// Gives a tenant's pipes out, and forgets them.
    pub(super) fn take_out(&mut self, tenant: &TenantName) -> impl Iterator<Item = (Stream, Pipe)> {
        let number = self.of.remove(tenant);
        let pair = number.and_then(|number| self.open.remove(&number));
        let pipes = pair.map(|pair| pair.pipes).into_iter().flatten();
        let streams = [Stream::Stdout, Stream::Stderr];
        let both = streams.into_iter().zip(pipes);
        both.filter_map(|(stream, pipe)| Some((stream, pipe?)))
    }

    /// Closes all.
    pub(super) fn clear(&mut self) {
        self.open.clear();
        self.of.clear();
    }

    /// Something was written to a pipe.
    pub(super) fn mark_ready(&mut self, key: u64) {
        if let Some(pipe) = pipe(&mut self.open, key)
            && !pipe.is_ready
        {
            pipe.is_ready = true;
            self.ready.push_back(key);
        }
    }

    /// Makes those ready whose pause is over, and says when the next one will be.
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

    /// Looks at the first of those that are ready, and takes its lines.
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

    /// Consumes what was taken. What is behind it is looked at again, after all others.
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

    /// Takes the lines of one pipe, and says how many bytes they are. None, and the pipe is no
    /// longer ready.
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

    /// Takes the next lines of a pipe that nobody will write to, at last what has no end.
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

    /// The pipe is gone with its entry, or it would be looked at for ever.
    fn give_up(&mut self, key: u64, error: &io::Error) {
        if let Some(pair) = self.open.get_mut(&(key / 2)) {
            pair.pipes[usize::from(key % 2 == 1)] = None;
            let (tenant, stream) = (&pair.tenant, stream(key));
            tracing::error!(%tenant, %error, "{tenant}: its {stream} is no longer read");
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
