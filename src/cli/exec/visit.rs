//! The side of `exec` that stays outside the tenant: it starts the command, copies what a terminal shows,
//! passes signals on, and ends all that is left of the command.

use std::io::{self, Write, stdin};
use std::os::fd::{AsFd, BorrowedFd, IntoRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::running::Running;
use super::terminal::{Raw, Terminal};
use tenantd_host::inbox;

/// The time from SIGHUP to SIGKILL for what is left of a command.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long processes may take to end after SIGKILL.
const KILL_LIMIT: Duration = Duration::from_secs(5);

/// How often to look for processes that are left.
const LOOK_AGAIN: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 10_000_000,
};

/// The signals that this process handles. They are blocked from then on, in the command too until it
/// unblocks them.
const HANDLED: [Signal; 8] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGWINCH,
    Signal::SIGCONT,
];

/// Those that a deputy takes from its client.
const PASSED: [Signal; 6] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
];

/// Leaves descriptors of a client open: to close one may take as long as the client likes, but not when this process
/// ends.
pub(super) fn leave_open(descriptors: Vec<OwnedFd>) {
    for descriptor in descriptors {
        let _number = descriptor.into_raw_fd();
    }
}

/// The signals for this process, as a descriptor.
///
/// # Errors
/// Those of signalfd(2).
pub(super) fn signals() -> io::Result<SignalFd> {
    let set: SigSet = HANDLED.into_iter().collect();
    set.thread_block()?;
    let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
    Ok(SignalFd::with_flags(&set, flags)?)
}

/// A command that runs in the tenant.
pub(super) struct Visit {
    running: Running,
    signals: SignalFd,
    terminal: Option<Terminal>,
    raw: Option<Raw>,
    /// The client of this deputy, with which the command ends.
    client: Option<BorrowedFd<'static>>,
    /// What was typed and is not yet taken.
    typed: Vec<u8>,
    /// Whether the operator's terminal can still be read.
    reads: bool,
    /// The exit code of the command.
    ended: Option<i32>,
    /// The signal that ended this process.
    ended_by: Option<Signal>,
    /// When the rest was told to go, and whether it was killed.
    told: Option<(Instant, bool)>,
}

impl Visit {
    pub(super) fn begin(
        running: Running,
        signals: SignalFd,
        terminal: Option<Terminal>,
        raw: Option<Raw>,
    ) -> Self {
        Self {
            reads: raw.is_some(),
            running,
            signals,
            terminal,
            raw,
            client: None,
            typed: Vec::new(),
            ended: None,
            ended_by: None,
            told: None,
        }
    }

    /// In a deputy: takes signals from its client, at the other end of this socket, and ends with it.
    pub(super) fn of(mut self, client: BorrowedFd<'static>) -> Self {
        self.client = Some(client);
        self
    }

    /// Waits until the command and all that it has left have ended. Returns its exit code.
    ///
    /// # Errors
    /// If the terminals or the group cannot be read, or processes survive SIGKILL.
    pub(super) fn wait(mut self) -> anyhow::Result<u8> {
        while !self.is_over()? {
            self.turn()?;
        }
        self.show()?;
        self.running.remove()?;
        let by_signal = self.ended_by.map(|signal| 128 + signal as i32);
        let code = by_signal.or(self.ended).unwrap_or_default();
        Ok(u8::try_from(code).unwrap_or(u8::MAX))
    }

    /// Whether nothing is left. Tells what is left to go, and ends it.
    fn is_over(&mut self) -> anyhow::Result<bool> {
        let is_left = self.ended.is_none() || self.running.is_left()?;
        let must_go = self.ended.is_some() || self.ended_by.is_some();
        if !must_go || !is_left {
            return Ok(!is_left);
        }
        match self.told {
            None => {
                self.running.hang_up()?;
                self.told = Some((Instant::now(), false));
            }
            Some((told, false)) if told.elapsed() >= PATIENCE => {
                self.running.kill()?;
                self.told = Some((told, true));
            }
            Some((told, true)) if told.elapsed() >= PATIENCE + KILL_LIMIT => {
                anyhow::bail!("processes of the command survived SIGKILL");
            }
            Some(_) => {}
        }
        Ok(false)
    }

    /// Waits for the next thing to happen, and does what it asks for.
    fn turn(&mut self) -> anyhow::Result<()> {
        let mut fds = vec![PollFd::new(&self.signals, PollFlags::IN)];
        if self.ended.is_none() {
            fds.push(PollFd::from_borrowed_fd(
                self.running.end_fd(),
                PollFlags::IN,
            ));
        }
        if let Some(client) = self.client {
            fds.push(PollFd::from_borrowed_fd(client, PollFlags::IN));
        }
        let input = stdin();
        if self.reads && self.typed.is_empty() {
            fds.push(PollFd::new(&input, PollFlags::IN));
        }
        if let Some(terminal) = &self.terminal {
            let writes = match self.typed.is_empty() {
                true => PollFlags::empty(),
                false => PollFlags::OUT,
            };
            fds.push(PollFd::new(&terminal.master, PollFlags::IN | writes));
        }
        let limit = (self.ended.is_some() || self.ended_by.is_some()).then_some(&LOOK_AGAIN);
        match poll(&mut fds, limit) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(io::Error::from(errno).into()),
        }
        let typed = has_input(&fds, input.as_fd());
        drop(fds);
        while let Some(signal) = self.signals.read_signal()? {
            self.on_signal(signal.ssi_signo)?;
        }
        if typed {
            self.read_typed();
        }
        self.write_typed()?;
        self.show()?;
        if self.client.is_some() {
            self.hear()?;
        }
        if self.ended.is_none() {
            self.ended = self.running.ended()?;
        }
        Ok(())
    }

    /// Takes a signal from the client of this deputy.
    fn hear(&mut self) -> io::Result<()> {
        let Some(client) = self.client else {
            return Ok(());
        };
        let mut bytes = [0; 2];
        let told = match inbox::receive(client, &mut bytes) {
            Ok(None) => return Ok(()),
            Ok(Some(told)) => told,
            Err(_) => return self.leave(),
        };
        let signal = Signal::try_from(i32::from(bytes[0])).ok();
        let signal = signal.filter(|it| told.len == 1 && PASSED.contains(it));
        match (signal, told.descriptors.is_empty()) {
            (Some(signal), true) => self.running.pass(signal),
            // It has gone, or sent what no client sends.
            (_, false) | (None, true) => {
                leave_open(told.descriptors);
                self.leave()
            }
        }
    }

    fn leave(&mut self) -> io::Result<()> {
        self.client = None;
        self.ended_by.get_or_insert(Signal::SIGHUP);
        Ok(())
    }

    fn on_signal(&mut self, number: u32) -> io::Result<()> {
        let number = i32::try_from(number).unwrap_or_default();
        match Signal::try_from(number)? {
            Signal::SIGWINCH => self.resize(),
            Signal::SIGCONT => {
                if let Some(raw) = &self.raw {
                    raw.again()?;
                }
                self.resize()
            }
            // The operator's terminal is gone, or he wants an end: what runs on a terminal ends with it.
            signal @ (Signal::SIGHUP | Signal::SIGTERM)
                if self.raw.is_some() || self.client.is_some() =>
            {
                self.raw = None;
                self.reads = false;
                self.ended_by.get_or_insert(signal);
                Ok(())
            }
            signal => self.running.pass(signal),
        }
    }

    fn resize(&self) -> io::Result<()> {
        match &self.terminal {
            Some(terminal) => terminal.resize(),
            None => Ok(()),
        }
    }

    fn read_typed(&mut self) {
        let mut bytes = [0; 4096];
        match rustix::io::read(stdin(), &mut bytes) {
            Ok(0) | Err(Errno::IO) => {
                self.reads = false;
                self.ended_by.get_or_insert(Signal::SIGHUP);
            }
            Ok(length) => self
                .typed
                .extend_from_slice(bytes.get(..length).unwrap_or_default()),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => self.reads = false,
        }
    }

    fn write_typed(&mut self) -> io::Result<()> {
        let (Some(terminal), false) = (&self.terminal, self.typed.is_empty()) else {
            return Ok(());
        };
        match rustix::io::write(&terminal.master, &self.typed) {
            Ok(length) => drop(self.typed.drain(..length)),
            Err(Errno::AGAIN | Errno::INTR) => {}
            // Nobody has the terminal open any more.
            Err(Errno::IO) => self.typed.clear(),
            Err(errno) => return Err(errno.into()),
        }
        Ok(())
    }

    /// Shows what the command has written to its terminal.
    fn show(&mut self) -> io::Result<()> {
        let mut bytes = [0; 16 * 1024];
        while let Some(terminal) = &self.terminal {
            match rustix::io::read(&terminal.master, &mut bytes) {
                // Nobody has the terminal open any more.
                Ok(0) | Err(Errno::IO) => self.terminal = None,
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
                Ok(length) => {
                    let written = write_all(
                        terminal.operators(),
                        bytes.get(..length).unwrap_or_default(),
                    );
                    if written.is_err() {
                        // The operator's terminal is gone.
                        self.ended_by.get_or_insert(Signal::SIGHUP);
                        self.reads = false;
                        self.terminal = None;
                    }
                }
            }
        }
        Ok(())
    }
}

fn has_input(fds: &[PollFd<'_>], input: BorrowedFd<'_>) -> bool {
    use std::os::fd::AsRawFd;
    let ours = |fd: &&PollFd<'_>| fd.as_fd().as_raw_fd() == input.as_raw_fd();
    fds.iter()
        .find(ours)
        .is_some_and(|fd| !fd.revents().is_empty())
}

fn write_all(fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<()> {
    let mut left = bytes;
    while !left.is_empty() {
        match rustix::io::write(fd, left) {
            Ok(length) => left = left.get(length..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    io::stdout().flush()
}
