//! `exec` without root: a deputy runs the command, if the supervisor says that this user may.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::thread::{self, JoinHandle};

use anyhow::Context;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};

use super::running::Running;
use super::terminal::{self, Raw, Stream};
use super::visit::{self, Visit};
use crate::cli::{args, converse, unmatched};
use tenantd_api::client::{ClientError, Connection, pattern};
use tenantd_api::wire::Streams;
use tenantd_core::name::{AppName, TenantName};
use tenantd_host::inbox;

/// How much is copied at once.
const PIECE: usize = 64 * 1024;

/// Runs a command, and returns its exit code.
pub(super) fn run(app: &AppName, what: &args::Exec) -> anyhow::Result<u8> {
    if what.user.is_some() || what.offline {
        anyhow::bail!("{app}: --user and --offline need root: try again with sudo");
    }
    let socket = ask(app, what)?;
    let signals = visit::signals().context("cannot handle signals")?;
    let prepared = terminal::prepare().context("cannot make a terminal")?;
    let (terminal::Streams { stdio, terminal }, own) = prepared;
    let raw = match own.as_ref().is_some_and(|it| it.is_interactive) {
        true => Some(Raw::enter().context("cannot set up the terminal")?),
        false => None,
    };
    let (over, ended) = pipe_with(PipeFlags::CLOEXEC)?;
    let over = File::from(over);
    let (mut given, mut shown) = (Vec::new(), Vec::new());
    for (number, stream) in stdio.into_iter().enumerate() {
        let (fd, copying) = passed(number, stream, &over)?;
        given.push(fd);
        shown.extend(copying);
    }
    let first = serde_json::to_vec(&Streams { terminal })?;
    let borrowed: Vec<BorrowedFd<'_>> = given.iter().map(AsFd::as_fd).collect();
    let sent = inbox::send(socket.as_fd(), &first, &borrowed);
    drop(borrowed);
    drop(given);
    sent.context("cannot pass standard input, output and error")?;
    let code = Visit::begin(Running::Deputy(socket), signals, own, raw).wait();
    drop(ended);
    for copying in shown {
        // Panics are not expected; the output of others is shown first.
        let _panicked = copying.join();
    }
    code.with_context(|| what.tenant.to_string())
}

/// Asks the supervisor for a deputy.
fn ask(app: &AppName, what: &args::Exec) -> anyhow::Result<OwnedFd> {
    let tenant = &what.tenant;
    let command = what
        .command
        .iter()
        .map(|word| word.to_str().map(str::to_owned));
    let command: Option<Vec<String>> = command.collect();
    let command = command.context("without root, a command must be valid UTF-8")?;
    let term = std::env::var("TERM").ok();
    converse(async {
        let mut connection = Connection::open(app).await?;
        match connection.exec(tenant, &command, term.as_deref()).await {
            Err(error @ ClientError::UnknownTenant { .. }) => {
                let tenants = connection.status(&[]).await?.tenants;
                let names: Vec<TenantName> = tenants.into_iter().map(|t| t.name).collect();
                Err(match pattern::resolve(&names, &[tenant.clone().into()]) {
                    Err(none) => unmatched(app, &none),
                    Ok(_) => error.into(),
                })
            }
            asked => Ok(asked?),
        }
    })
}

/// What the deputy gets for a standard stream: the terminal, or a pipe, from or to which a thread copies. So nothing
/// else of this process enters the tenant.
fn passed(
    number: usize,
    stream: Stream,
    over: &File,
) -> anyhow::Result<(OwnedFd, Option<JoinHandle<()>>)> {
    let (reader, writer) = match stream {
        Stream::Terminal(slave) => return Ok((slave, None)),
        Stream::Nothing | Stream::Own => pipe_with(PipeFlags::CLOEXEC)?,
    };
    match (stream, number) {
        (Stream::Nothing, _) => Ok((reader, None)),
        (_, 0) => {
            // It is not waited for: the command may not read all.
            thread::Builder::new().spawn(move || copy_in(File::from(writer)))?;
            Ok((reader, None))
        }
        (_, number) => {
            let over = over.try_clone()?;
            let copy = move || match number {
                1 => copy_out(File::from(reader), &over, io::stdout()),
                _ => copy_out(File::from(reader), &over, io::stderr()),
            };
            Ok((writer, Some(thread::Builder::new().spawn(copy)?)))
        }
    }
}

fn copy_in(mut writer: File) {
    // The command has closed its standard input, or there is no more.
    let _copied = io::copy(&mut io::stdin().lock(), &mut writer);
}

/// Copies until no process has the pipe open for writing, or until the command is over and the pipe is empty: a process
/// of the tenant can have been given it.
fn copy_out(mut reader: File, over: &File, mut out: impl Write) {
    let mut bytes = vec![0; PIECE];
    loop {
        let mut fds = [
            PollFd::new(&reader, PollFlags::IN),
            PollFd::new(over, PollFlags::IN),
        ];
        match poll(&mut fds, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => return,
        }
        let [has_more, is_over] = fds.map(|fd| !fd.revents().is_empty());
        if !has_more && is_over {
            return;
        }
        if !has_more {
            continue;
        }
        let Ok(length @ 1..) = reader.read(&mut bytes) else {
            return;
        };
        let piece = bytes.get(..length).unwrap_or_default();
        // Its reader has gone. The command gets SIGPIPE once this pipe is closed.
        if out.write_all(piece).and_then(|()| out.flush()).is_err() {
            return;
        }
    }
}
