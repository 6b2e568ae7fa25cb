//! The terminals of `exec`: the operator's, and the one that the command gets instead.
//!
//! The operator's terminal never enters the tenant. A process that has it open can read what the
//! operator types next, and can type for him (`TIOCSTI`, see `ioctl_tty(2)`). The command gets the slave
//! of a pseudo-terminal, and this process copies between its master and the operator's terminal.

use std::fs::File;
use std::io::{self, stderr, stdin, stdout};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::panic;
use std::sync::Arc;

use nix::sys::signal::{SigSet, Signal};
use rustix::io::{FdFlags, fcntl_setfd, ioctl_fionbio};
use rustix::termios::{
    OptionalActions, OutputModes, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize,
};

/// What the command gets as its standard input, output and error.
pub(super) struct Streams {
    pub(super) stdio: [Stream; 3],
    /// The number of one that is the pseudo-terminal.
    pub(super) terminal: Option<usize>,
}

/// One of them.
pub(super) enum Stream {
    /// That of this process.
    Own,
    /// Nothing to read.
    Nothing,
    /// The slave of the pseudo-terminal.
    Terminal(OwnedFd),
}

/// The descriptors that they stand for.
///
/// # Errors
/// Those of fcntl(2), and of opening `/dev/null`.
pub(super) fn owned(stdio: [Stream; 3]) -> io::Result<[OwnedFd; 3]> {
    let [input, output, error] = stdio;
    Ok([
        owned_or(input, stdin().as_fd())?,
        owned_or(output, stdout().as_fd())?,
        owned_or(error, stderr().as_fd())?,
    ])
}

fn owned_or(stream: Stream, own: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    match stream {
        Stream::Own => own.try_clone_to_owned(),
        Stream::Nothing => Ok(File::open("/dev/null")?.into()),
        Stream::Terminal(slave) => Ok(slave),
    }
}

/// The pseudo-terminal of a command, as this process has it.
pub(super) struct Terminal {
    pub(super) master: OwnedFd,
    /// Whether the operator types into it.
    pub(super) is_interactive: bool,
    /// Whether its output goes to standard output; else to standard error.
    to_stdout: bool,
}

/// Chooses what a command gets. What is no terminal, it gets as it is. It reads a terminal only if it
/// also writes to one: with `exec NAME cat | less`, both would read what is typed.
///
/// # Errors
/// Those of openpty(3).
pub(super) fn prepare() -> io::Result<(Streams, Option<Terminal>)> {
    let is_terminal = [isatty(stdin()), isatty(stdout()), isatty(stderr())];
    let [typed, shown, told] = is_terminal;
    let mut stdio = [Stream::Own, Stream::Own, Stream::Own];
    if typed {
        stdio[0] = Stream::Nothing;
    }
    if !shown && !told {
        let terminal = None;
        return Ok((Streams { stdio, terminal }, None));
    }
    let pair = nix::pty::openpty(None, None)?;
    for fd in [&pair.master, &pair.slave] {
        fcntl_setfd(fd, FdFlags::CLOEXEC)?;
    }
    // A write to a terminal whose reader waits would wait too.
    ioctl_fionbio(&pair.master, true)?;
    let terminal = Terminal {
        master: pair.master,
        is_interactive: typed && shown,
        to_stdout: shown,
    };
    let mut settings = tcgetattr(terminal.operators())?;
    if !terminal.is_interactive {
        // The operator's terminal stays as it is, and so translates the output itself.
        settings.output_modes.remove(OutputModes::OPOST);
    }
    tcsetattr(&pair.slave, OptionalActions::Now, &settings)?;
    terminal.resize()?;
    let replaced = [terminal.is_interactive, shown, told];
    for (stream, _) in stdio.iter_mut().zip(replaced).filter(|(_, it)| *it) {
        *stream = Stream::Terminal(pair.slave.try_clone()?);
    }
    let number = replaced.iter().position(|it| *it);
    let streams = Streams {
        stdio,
        terminal: number,
    };
    Ok((streams, Some(terminal)))
}

impl Terminal {
    /// The operator's terminal, as far as it is written to.
    pub(super) fn operators(&self) -> BorrowedFd<'static> {
        match self.to_stdout {
            true => rustix::stdio::stdout(),
            false => rustix::stdio::stderr(),
        }
    }

    /// Gives the pseudo-terminal the size of the operator's terminal. The kernel sends SIGWINCH to the
    /// command if it changes.
    ///
    /// # Errors
    /// Those of `ioctl_tty(2)`.
    pub(super) fn resize(&self) -> io::Result<()> {
        tcsetwinsize(&self.master, tcgetwinsize(self.operators())?)?;
        Ok(())
    }
}

/// The operator's terminal in raw mode: each key goes to the command, also Ctrl-C. Dropping this
/// restores the settings, and a panic does, which does not drop anything.
pub(super) struct Raw {
    saved: Arc<Termios>,
    raw: Termios,
}

impl Raw {
    /// # Errors
    /// Those of tcsetattr(3).
    pub(super) fn enter() -> io::Result<Self> {
        let saved = Arc::new(tcgetattr(stdin())?);
        let mut raw = Termios::clone(&saved);
        raw.make_raw();
        let entered = Self { saved, raw };
        entered.again()?;
        let (saved, before) = (Arc::clone(&entered.saved), panic::take_hook());
        panic::set_hook(Box::new(move |info| {
            restore(&saved);
            before(info);
        }));
        Ok(entered)
    }

    /// Enters raw mode again: a shell in which this process was stopped has changed it.
    ///
    /// # Errors
    /// Those of tcsetattr(3).
    pub(super) fn again(&self) -> io::Result<()> {
        tcsetattr(stdin(), OptionalActions::Drain, &self.raw)?;
        Ok(())
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        restore(&self.saved);
    }
}

/// Restores the settings also from the background, where the kernel would stop this process.
pub(in crate::cli) fn restore(saved: &Termios) {
    let mut background = SigSet::empty();
    background.add(Signal::SIGTTOU);
    let blocked = background.thread_block();
    // A terminal that was hung up has no settings to restore, and nothing else can be done.
    let _ = tcsetattr(stdin().as_fd(), OptionalActions::Now, saved);
    if blocked.is_ok() {
        let _ = background.thread_unblock();
    }
}
