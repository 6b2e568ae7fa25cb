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

mod held;
mod paced;
mod rest;

use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use tokio::time::Instant;

use crate::logs::scratch::Scratch;
use crate::logs::split::{self, LINE_MAX};
use crate::logs::{Batch, Line, Stream};
use tenantd_core::name::{AppName, TenantName};
use tenantd_host::fifo::ReadEnds;
use tenantd_host::want;

pub(crate) use held::{BOTH, Ends, Held};
pub(crate) use paced::HeldBack;
use paced::{Paced, Waiting};

/// The most bytes to read from a pipe at once: more than the longest line. It limits the memory
/// needed, the output that is repeated after a kill, and the time that other pipes wait.
pub const READ_MAX: usize = LINE_MAX + 4096;

/// How long an incomplete line waits for the rest before it is written as it is. It may be a
/// prompt, or the last output of a program that hangs.
pub const PAUSE_MAX: Duration = Duration::from_secs(1);

/// The pipes, by their keys in epoll(7).
#[derive(Debug)]
pub(super) struct Pipes {
    app: AppName,
    open: HashMap<u64, Pair>,
    of: HashMap<TenantName, u64>,
    next: u64,
    /// Each pipe at most once; those that were just read are last.
    ready: VecDeque<u64>,
    /// Those of held tenants that were ready.
    held: Vec<u64>,
    /// When each pause ends. Pauses that ended early are still in the list.
    pauses: VecDeque<(Instant, u64)>,
    waiting: Waiting,
    scratch: Scratch,
}

#[derive(Debug)]
struct Pair {
    tenant: TenantName,
    pipes: [Option<Pipe>; 2],
    /// Whether it is not read at present.
    is_held: bool,
    paced: Paced,
}

#[derive(Debug)]
pub(super) struct Pipe {
    /// None if the log collector holds it: then it is opened for each read.
    fd: Option<OwnedFd>,
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
    lines: usize,
    fd: OwnedFd,
}

impl Pipes {
    /// # Errors
    /// What pipe2(2) reports.
    pub(super) fn new(app: AppName) -> io::Result<Self> {
        Ok(Self {
            app,
            open: HashMap::new(),
            of: HashMap::new(),
            next: 0,
            ready: VecDeque::new(),
            held: Vec::new(),
            pauses: VecDeque::new(),
            waiting: Waiting::default(),
            scratch: Scratch::new()?,
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
                fd: Some(fd),
                is_ready: false,
                pause: Pause::None,
            })
        };
        let pair = Pair {
            tenant: tenant.clone(),
            pipes: fds.map(pipe),
            is_held: false,
            paced: Paced::new(),
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
        self.held.retain(|key| Some(key / 2) != number);
        let pair = number.and_then(|number| self.open.remove(&number));
        let pipes = pair.map(|pair| pair.pipes).into_iter().flatten();
        let streams = [Stream::Stdout, Stream::Stderr];
        let both = streams.into_iter().zip(pipes);
        both.filter_map(|(stream, pipe)| Some((stream, pipe?)))
    }

    /// Does not read a tenant's pipes until [`Pipes::release`].
    pub(super) fn hold(&mut self, tenant: &TenantName) {
        if let Some(pair) = self.pair(tenant) {
            pair.is_held = true;
        }
    }

    /// Reads a tenant's pipes again.
    pub(super) fn release(&mut self, tenant: &TenantName) {
        let Some(pair) = self.pair(tenant) else {
            return;
        };
        pair.is_held = false;
        let number = self.of.get(tenant).copied();
        let is_its = |key: &mut u64| Some(*key / 2) == number;
        self.ready.extend(self.held.extract_if(.., is_its));
    }

    fn pair(&mut self, tenant: &TenantName) -> Option<&mut Pair> {
        self.open.get_mut(self.of.get(tenant)?)
    }

    /// Closes all pipes.
    pub(super) fn clear(&mut self) {
        self.held.clear();
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
        let waits = self.end_waiting(now.into()).map(Instant::from);
        while let Some(&(end, key)) = self.pauses.front() {
            if end > now {
                return Some(waits.map_or(end, |at| at.min(end)));
            }
            self.pauses.pop_front();
            if let Some(pipe) = pipe(&mut self.open, key)
                && let Pause::Since(bytes) = pipe.pause
            {
                pipe.pause = Pause::Over(bytes);
                self.mark_ready(key);
            }
        }
        waits
    }

    pub(super) fn any_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Reads the lines of the first ready pipe that is not held.
    pub(super) fn take(&mut self) -> Option<(Batch, Taken)> {
        let key = loop {
            let key = self.ready.pop_front()?;
            match self.open.get(&(key / 2)) {
                Some(pair) if pair.is_held => self.held.push(key),
                Some(_) | None => break key,
            }
        };
        let mut lines = Vec::new();
        match self.look(key, &mut lines) {
            Ok(None) => None,
            Ok(Some(taken)) => Some((self.batch(key, lines)?, taken)),
            Err(error) if want::error_passes(&error) => {
                self.postpone(key, &error);
                None
            }
            Err(error) => {
                self.give_up(key, &error);
                None
            }
        }
    }

    /// Consumes what was read. The pipe becomes ready again, behind all others, at once or when its pace permits it.
    pub(super) fn consume(&mut self, taken: &Taken) {
        let &Taken {
            key,
            used,
            lines,
            ref fd,
        } = taken;
        if pipe(&mut self.open, key).is_none() {
            return;
        }
        match self.scratch.consume(fd, used) {
            Ok(()) => self.read_on(key, (used, lines)),
            Err(error) => self.give_up(key, &error),
        }
    }

    /// Reads the lines of one pipe. If there are none, the pipe is not ready any more.
    fn look(&mut self, key: u64, lines: &mut Vec<Line>) -> io::Result<Option<Taken>> {
        let Some(pair) = self.open.get_mut(&(key / 2)) else {
            return Ok(None);
        };
        let Some(pipe) = &mut pair.pipes[usize::from(key % 2 == 1)] else {
            return Ok(None);
        };
        let fd = pipe.descriptor((&self.app, &pair.tenant), stream(key))?;
        let bytes = self.scratch.copy(&fd)?;
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
        let lines = lines.len();
        Ok((used > 0).then_some(Taken {
            key,
            used,
            lines,
            fd,
        }))
    }

    /// A pipe cannot be opened for now: it is read later.
    fn postpone(&mut self, key: u64, error: &io::Error) {
        let Some(pair) = self.open.get_mut(&(key / 2)) else {
            return;
        };
        let (tenant, stream) = (&pair.tenant, stream(key));
        let Some(pipe) = pair.pipes[usize::from(key % 2 == 1)].as_mut() else {
            return;
        };
        // No beginning of a line has this length.
        let postponed = [Pause::Since(u32::MAX), Pause::Over(u32::MAX)];
        if !postponed.contains(&pipe.pause) {
            tracing::warn!(%tenant, %error, "{tenant}: cannot read its {stream} for now, trying again every second");
        }
        pipe.is_ready = false;
        pipe.pause = Pause::Since(u32::MAX);
        self.pauses.push_back((Instant::now() + PAUSE_MAX, key));
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
