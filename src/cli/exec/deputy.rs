//! `exec` for a client without root, in a deputy. The client's descriptors are standard input, output and error of
//! the command; this process neither reads nor writes them, and closes none of them while it runs.

use std::fs::File;
use std::io::{self, Read, Write, stdout};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use anyhow::Context;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, OFlags, fcntl_getfl, fstat, major};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::net::SendFlags;
use rustix::pipe::{PipeFlags, pipe_with};

use super::running::Running;
use super::visit::{self, Visit, leave_open};
use super::{NOT_RUN, NotRun, Order, begin_group, spawn};
use tenantd_api::wire::{CommandEnd, Streams};
use tenantd_daemon::deputy::Exec;
use tenantd_host::inbox;

/// How long a deputy waits for its client.
const CLIENT_LIMIT: Timespec = Timespec {
    tv_sec: 10,
    tv_nsec: 0,
};

/// The most bytes of the first message.
const FIRST_MAX: usize = 256;

/// The most bytes of a reason: less than a pipe holds, since it is read at the end.
const REPORT_MAX: u64 = 16 * 1024;

/// The most characters of a reason, which may contain the command.
const REASON_MAX: usize = 1024;

/// The reason of an error.
fn reason(error: &NotRun) -> String {
    let text = format!("{error:#}");
    match text.char_indices().nth(REASON_MAX) {
        None => text,
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
    }
}

/// The device numbers of slaves of pseudo-terminals: `UNIX98_PTY_SLAVE_MAJOR` and the seven after it.
const SLAVES: std::ops::RangeInclusive<u32> = 136..=143;

/// Runs a command, and tells the client how it ended.
pub(in crate::cli) fn carry_out(what: Exec) -> anyhow::Result<()> {
    let end = match run(what) {
        Ok(end) => end,
        Err(error) => {
            let error = NotRun(error);
            CommandEnd {
                code: error.code(),
                error: Some(reason(&error)),
            }
        }
    };
    let end = serde_json::to_vec(&end)?;
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    // The client may have gone.
    let _sent = rustix::net::send(stdout(), &end, flags);
    Ok(())
}

fn run(what: Exec) -> anyhow::Result<CommandEnd> {
    let Exec {
        tenant,
        mut target,
        command,
        term,
    } = what;
    let (stdio, terminal) = streams()?;
    let signals = visit::signals().context("cannot handle signals")?;
    let group = begin_group(&tenant, &mut target).with_context(|| tenant.to_string())?;
    let (why, report) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
    fcntl_setfd(&report, FdFlags::empty())?;
    let order = Order {
        tenant,
        target,
        command: command.into_iter().map(Into::into).collect(),
        may_signal: false,
        is_kept: false,
        parent: std::process::id(),
        terminal,
        report: Some(report.as_raw_fd()),
    };
    let copies = stdio.iter().map(OwnedFd::try_clone);
    let copies: Vec<OwnedFd> = copies.collect::<io::Result<_>>()?;
    let child = spawn(&order, stdio, None, term.map(Into::into));
    leave_open(copies);
    let child = child.context("cannot start a process")?;
    drop(report);
    let running = Running::own(child, group)?;
    let code = Visit::begin(running, signals, None, None)
        .of(client())
        .wait()?;
    let mut text = String::new();
    // Nothing is there if the command was executed, or killed before.
    let _read = File::from(why).take(REPORT_MAX).read_to_string(&mut text);
    Ok(CommandEnd {
        code,
        error: (!text.is_empty()).then_some(text),
    })
}

/// This end of the sockets.
fn client() -> BorrowedFd<'static> {
    rustix::stdio::stdout()
}

/// The client's descriptors, and which of them becomes the controlling terminal.
fn streams() -> anyhow::Result<([OwnedFd; 3], Option<usize>)> {
    let socket = client();
    let mut coming = [PollFd::new(&socket, PollFlags::IN)];
    let ready = poll(&mut coming, Some(&CLIENT_LIMIT))?;
    anyhow::ensure!(
        ready > 0,
        "no descriptors came within {} s",
        CLIENT_LIMIT.tv_sec
    );
    let mut bytes = [0; FIRST_MAX];
    let first = inbox::receive(socket, &mut bytes)?.context("no message came")?;
    let given = <[OwnedFd; 3]>::try_from(first.descriptors);
    let given = given.map_err(|other| {
        let count = other.len();
        leave_open(other);
        anyhow::anyhow!("{count} descriptors came instead of 3")
    })?;
    let text = bytes.get(..first.len).unwrap_or_default();
    let checked = serde_json::from_slice::<Streams>(text)
        .context("cannot read the first message")
        .and_then(|Streams { terminal }| check(&given, terminal).map(|()| terminal));
    match checked {
        Ok(terminal) => Ok((given, terminal)),
        Err(error) => {
            leave_open(given.into());
            Err(error)
        }
    }
}

/// Refuses what a process of the tenant must not have: a folder or a socket would lead it out of its mount namespace,
/// with the rights of the tenant's user. A terminal must be open for reading: it becomes the command's, which
/// could open it again.
fn check(given: &[OwnedFd; 3], terminal: Option<usize>) -> anyhow::Result<()> {
    for (number, fd) in given.iter().enumerate() {
        let kind = kind(fd.as_fd())?;
        let is_fine = match terminal {
            Some(terminal) if terminal == number => kind == Some(Kind::Terminal),
            Some(_) => kind.is_some(),
            None => kind == Some(Kind::Pipe),
        };
        anyhow::ensure!(
            is_fine,
            "descriptor {number} is neither a pipe nor a pseudo-terminal"
        );
    }
    anyhow::ensure!(
        terminal.is_none_or(|it| it < given.len()),
        "there is no such descriptor"
    );
    Ok(())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Pipe,
    Terminal,
}

fn kind(fd: BorrowedFd<'_>) -> io::Result<Option<Kind>> {
    let flags = fcntl_getfl(fd)?;
    if flags.contains(OFlags::PATH) {
        return Ok(None);
    }
    let found = fstat(fd)?;
    Ok(match FileType::from_raw_mode(found.st_mode) {
        FileType::Fifo => Some(Kind::Pipe),
        FileType::CharacterDevice if SLAVES.contains(&major(found.st_rdev)) => {
            let is_both = flags.contains(OFlags::RDWR);
            is_both.then_some(Kind::Terminal)
        }
        _ => None,
    })
}

/// In the process that was to become the command: says why it does not, and ends.
pub(super) fn report(mut report: File, error: &NotRun) -> ! {
    // The deputy has gone if this fails.
    let _written = report.write_all(reason(error).as_bytes());
    std::process::exit(match error.code() {
        0 => NOT_RUN.into(),
        code => code.into(),
    })
}
