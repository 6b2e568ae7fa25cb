//! The children of this process: who makes them, and who reaps them.
//!
//! A supervisor gets more children than it makes. It is a child subreaper (PR_SET_CHILD_SUBREAPER in
//! prctl(2)), so a process of a tenant whose parent has died becomes its child; a program can make
//! siblings of itself (`CLONE_PARENT`); and a thread that asks to be traced (`PTRACE_TRACEME`) makes
//! the supervisor its tracer. Zombies that nobody reaps use up process
//! numbers, and a program whose thread is traced never counts as ended.
//!
//! So one thread, the main thread of the process, does nothing but look after children. It makes
//! the child of each launch, because only the thread that made a process can release it from being
//! traced; what the kernel hands over, and what was there before an upgrade, belongs to the main
//! thread too. On SIGCHLD it releases each traced process that has stopped, and reaps each child that
//! has ended: the one that the signal tells of at once, others when it [looks through all](looks). A child that has an owner
//! is registered ([`Known`]), and its status kept.
//!
//! waitid(2) shows the same zombie until that is reaped, so none can be left for its owner to reap
//! later. Without such a thread (the command line, tests) owners reap their children themselves.

mod changes;
mod looks;

use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, ChildStderr, ChildStdout, Command};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, mpsc};
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, getpid, pidfd_open, set_child_subreaper};

use crate::launch::memory::for_child;
use crate::launch::ready_fd::ReadyFd;
use crate::process::{self, Ended};
use crate::timeline;
use looks::{LOOK_MAX, Looks};

/// What the thread of the children and all others share.
static SHARED: Mutex<Shared> = Mutex::new(Shared {
    work: VecDeque::new(),
    known: None,
    being_made: 0,
    is_served: false,
});

/// Wakes the thread of the children.
static WAKE: OnceLock<OwnedFd> = OnceLock::new();

pub(crate) type Work = Box<dyn FnOnce() + Send>;

/// How a child ended, once that is known.
type Status = Arc<OnceLock<Ended>>;

struct Shared {
    /// What the thread of the children is to do.
    work: VecDeque<Work>,
    /// The children that have an owner, by process number.
    known: Option<HashMap<i32, Status>>,
    /// How many threads are making a child that they have not registered yet.
    being_made: usize,
    /// Whether there is a thread of the children.
    is_served: bool,
}

fn shared() -> MutexGuard<'static, Shared> {
    // No code panics while the lock is held.
    SHARED.lock().unwrap_or_else(PoisonError::into_inner)
}

fn wake() {
    if let Some(wake) = WAKE.get() {
        // It fails if the count is at its maximum: then the thread is about to wake up.
        let _awake = rustix::io::write(wake, &1_u64.to_ne_bytes());
    }
}

/// A registered child. While this exists, the status of the child is kept for its owner.
#[derive(Debug)]
pub struct Known {
    pid: i32,
    status: Status,
}

impl Known {
    /// Registers a child that has not been reaped. The caller makes it on the thread of the children,
    /// or holds a [`Making`].
    #[must_use]
    pub fn register(pid: i32) -> Self {
        let status = Status::default();
        let mut shared = shared();
        let known = shared.known.get_or_insert_default();
        known.insert(pid, Arc::clone(&status));
        Self { pid, status }
    }

    /// Keeps its status, which its owner has just got from waitid(2).
    pub(crate) fn set(&self, ended: Ended) {
        let _first = self.status.set(ended);
    }

    /// How it ended, if it has been reaped.
    pub(crate) fn ended(&self) -> Option<Ended> {
        // The thread reaps a child and keeps its status under this lock.
        let _reaping = shared();
        self.status.get().copied()
    }
}

impl Drop for Known {
    fn drop(&mut self) {
        if let Some(known) = &mut shared().known
            // Its number may belong to another child already.
            && known.get(&self.pid).is_some_and(|it| Arc::ptr_eq(it, &self.status))
        {
            known.remove(&self.pid);
        }
    }
}

/// Children are being made by another thread: while this exists, no child is reaped that is not
/// registered.
#[derive(Debug)]
#[must_use = "children can be reaped once this is dropped"]
pub struct Making(());

impl Making {
    /// Begins to make children.
    pub fn begin() -> Self {
        shared().being_made += 1;
        Self(())
    }
}

impl Drop for Making {
    fn drop(&mut self) {
        shared().being_made -= 1;
        wake();
    }
}

/// A command that runs as a child. Dropping this does not end it.
#[derive(Debug)]
pub struct Spawned {
    child: Child,
    pidfd: OwnedFd,
    known: Known,
}

/// Starts a command, and registers its process. Blocks until the command was executed.
///
/// # Errors
/// Those of [`Command::spawn`] and of pidfd_open(2); the command was not started, or is killed.
pub fn spawn(command: &mut Command) -> io::Result<Spawned> {
    let _making = Making::begin();
    let mut child = command.spawn()?;
    let opened = i32::try_from(child.id())
        .map_err(|_| Errno::OVERFLOW)
        .and_then(|pid| {
            let pidfd = Pid::from_raw(pid).ok_or(Errno::SRCH)?;
            Ok((pid, pidfd_open(pidfd, PidfdFlags::empty())?))
        });
    match opened {
        Ok((pid, pidfd)) => Ok(Spawned {
            child,
            pidfd,
            known: Known::register(pid),
        }),
        Err(errno) => {
            // It may have ended already. It is reaped as a child that nobody waits for.
            let _ended = child.kill();
            Err(errno.into())
        }
    }
}

impl Spawned {
    /// Its process number.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its standard output, if that is a pipe and was not taken before.
    pub fn stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// Its standard error, if that is a pipe and was not taken before.
    pub fn stderr(&mut self) -> Option<ChildStderr> {
        self.child.stderr.take()
    }

    /// How it ended; `None` if it has not ended within a time. Blocks.
    ///
    /// # Errors
    /// Those of poll(2) and waitid(2).
    pub fn ends_within(&self, limit: Duration) -> Result<Option<Ended>, Errno> {
        process::reap_within(self.pidfd.as_fd(), &self.known, limit)
    }

    /// Waits for its end. Cancel-safe.
    ///
    /// # Errors
    /// Those of dup(2), epoll_ctl(2) and waitid(2).
    pub async fn ended(&self) -> io::Result<Ended> {
        let pidfd = ReadyFd::new(self.pidfd.try_clone()?)?;
        process::ended(&pidfd, &self.known).await
    }

    /// Asks it to end, with SIGTERM. Does not wait for its end.
    pub fn terminate(&self) {
        // It may have ended already.
        let _ended = process::signal(self.pidfd.as_fd(), libc::SIGTERM);
    }

    /// Kills it. Does not wait for its end.
    pub fn kill(&self) {
        // It may have ended already.
        let _ended = process::signal(self.pidfd.as_fd(), libc::SIGKILL);
    }
}

/// Calls `work` on the thread of the children; at once and on this thread, if there is none. Returns when
/// it has been called and dropped, also if it panicked.
pub(crate) fn run(work: Work) {
    let mut shared = shared();
    if !shared.is_served {
        drop(shared);
        return work();
    }
    let (reply, done) = mpsc::sync_channel::<()>(1);
    // Dropped after the work, whatever happens.
    let work: Work = for_child(|| {
        Box::new(move || {
            work();
            drop(reply);
        }) as _
    });
    shared.work.push_back(work);
    drop(shared);
    wake();
    let _dropped = done.recv();
}

/// The thread of the children, before it serves.
#[derive(Debug)]
pub struct Children {
    signals: SignalFd,
    wake: &'static OwnedFd,
}

/// Ends the thread of the children when it is dropped.
#[derive(Debug)]
pub struct Serving(());

impl Drop for Serving {
    fn drop(&mut self) {
        shared().is_served = false;
        wake();
    }
}

impl Children {
    /// Makes this process a child subreaper, and this thread that of its children. Call it on the main
    /// thread. SIGCHLD must be blocked in all threads. Nothing is reaped while the [`Making`] exists: the children
    /// of the program before an upgrade are to be registered first.
    ///
    /// # Errors
    /// Those of prctl(2), pthread_sigmask(3), signalfd(2) and eventfd(2).
    pub fn new() -> io::Result<(Self, Serving, Making)> {
        set_child_subreaper(Some(getpid()))?;
        let mut ended = SigSet::empty();
        ended.add(Signal::SIGCHLD);
        // A signal that is ignored by default is kept if it is blocked, here and in all other threads.
        ended.thread_block()?;
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        let signals = SignalFd::with_flags(&ended, flags)?;
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let wake = WAKE.get_or_init(|| wake);
        let making = Making::begin();
        shared().is_served = true;
        Ok((Self { signals, wake }, Serving(()), making))
    }

    /// Looks after the children until [`Serving`] is dropped.
    ///
    /// # Errors
    /// Those of poll(2) and waitid(2).
    pub fn serve(mut self) -> io::Result<()> {
        let served = self.serve_all();
        // From now on, each thread does its work itself.
        shared().is_served = false;
        while do_next() {}
        served
    }

    fn serve_all(&mut self) -> io::Result<()> {
        let mut looks = Looks::new(Instant::now());
        loop {
            self.wait(looks.pause(Instant::now()))?;
            if self.was_woken()? {
                looks.woken(Instant::now());
            }
            while do_next() {}
            if !shared().is_served {
                return Ok(());
            }
            while let Some(signal) = self.signals.read_signal()? {
                looks.signalled(Instant::now());
                changes::attend_to(signal.ssi_pid.cast_signed())?;
            }
            let begun = Instant::now();
            if looks.pause(begun) == Some(Duration::ZERO) {
                let look = changes::attend_to_all(begun + LOOK_MAX)?;
                looks.looked(look, [begun, Instant::now()]);
            }
        }
    }

    /// Waits for a signal, or until this thread is woken; not longer than a limit.
    fn wait(&self, limit: Option<Duration>) -> io::Result<()> {
        let limit = limit.map(Timespec::try_from).transpose();
        let limit = limit.map_err(io::Error::other)?;
        let mut ready = [
            PollFd::from_borrowed_fd(self.signals.as_fd(), PollFlags::IN),
            PollFd::new(self.wake, PollFlags::IN),
        ];
        match poll(&mut ready, limit.as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Whether another thread has woken this one. Asked before it looks: what comes meanwhile wakes it again.
    fn was_woken(&self) -> io::Result<bool> {
        let mut count = [0_u8; 8];
        match rustix::io::read(self.wake, &mut count) {
            Ok(_) => Ok(true),
            Err(Errno::AGAIN | Errno::INTR) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }
}

/// Does one piece of work, if there is any.
fn do_next() -> bool {
    let next = shared().work.pop_front();
    let is_some = next.is_some();
    if let Some(work) = next {
        let _span = timeline::span("children: work", "");
        work();
    }
    is_some
}
