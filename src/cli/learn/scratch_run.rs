//! A scratch run as the command sees it: starts the process of the run, passes on what a person says,
//! and ends all of it.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{ChildStdin, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::thread;

use anyhow::Context;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::low_level::pipe;

use super::order::{ENOUGH, Order, Said};
use super::scratch::{SCRATCH, VARIABLE, itself};
use tenantd_core::learn::Seen;
use tenantd_core::name::TenantName;
use tenantd_host::cgroup::{Leaf, scratch as cgroup};

/// A cgroup that is ended and removed with the value.
pub(super) struct Cgroup(Leaf);

impl Cgroup {
    pub(super) fn begin(tenant: &TenantName) -> anyhow::Result<Self> {
        Ok(Self(cgroup::begin(tenant)?))
    }

    /// The cgroup tree, and the name of the cgroup in it.
    pub(super) fn place(&self) -> anyhow::Result<(std::path::PathBuf, String)> {
        cgroup::place(&self.0).context("the cgroup has no name")
    }

    /// Ends all that is in it.
    pub(super) fn end(self) -> anyhow::Result<()> {
        Ok(cgroup::end(&self.0)?)
    }
}

/// What happens while a scratch run runs.
enum Event {
    Said(Said),
    /// The process of the scratch run has ended.
    Gone,
    Enter,
    Interrupt,
}

/// How a scratch run ended.
pub(super) enum Ended {
    Seen(Box<Seen>),
    Interrupted,
}

/// Signals that end the command, from now on.
pub(super) struct Signals(UnixStream);

impl Signals {
    pub(super) fn catch() -> io::Result<Self> {
        let (read, write) = UnixStream::pair()?;
        for signal in [SIGHUP, SIGINT, SIGTERM] {
            pipe::register(signal, write.try_clone()?)?;
        }
        Ok(Self(read))
    }

    fn forward(&self, events: Sender<Event>) -> io::Result<()> {
        let mut coming = self.0.try_clone()?;
        thread::spawn(move || {
            let mut byte = [0];
            while matches!(coming.read(&mut byte), Ok(1)) {
                if events.send(Event::Interrupt).is_err() {
                    break;
                }
            }
        });
        Ok(())
    }
}

/// Runs a scratch run. `note` shows a line to a person.
///
/// # Errors
/// If the scratch run cannot be made. Nothing is left then either.
pub(super) fn run(
    order: &Order,
    signals: &Signals,
    note: &mut dyn FnMut(&str),
) -> anyhow::Result<Ended> {
    let mut process = itself()
        .env(VARIABLE, SCRATCH)
        // Ctrl-C is for the command, which ends the scratch run in order.
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start the process of the scratch run")?;
    let mut stdin = process.stdin.take();
    let stdout = process.stdout.take().context("it has no standard output")?;
    if let Some(stdin) = &mut stdin {
        writeln!(stdin, "{}", serde_json::to_string(order)?)?;
    }
    let (send, events) = channel();
    signals.forward(send.clone())?;
    listen(stdout, send.clone());
    let mut last = None;
    let mut interrupted = false;
    for event in events {
        match event {
            Event::Said(Said::Note(text)) => note(&text),
            Event::Said(Said::Ready) if order.usage.asks => {
                note("it runs: use it now, and press Enter when you are done");
                await_enter(send.clone());
            }
            Event::Said(Said::Ready) => note("it runs"),
            Event::Said(said @ (Said::Seen(_) | Said::Failed(_))) => last = Some(said),
            Event::Enter => tell(stdin.as_mut(), ENOUGH)?,
            Event::Interrupt => {
                interrupted = true;
                // Its end tells the process to end all.
                stdin = None;
            }
            Event::Gone => break,
        }
    }
    let status = process.wait()?;
    match last {
        _ if interrupted => Ok(Ended::Interrupted),
        Some(Said::Seen(seen)) => Ok(Ended::Seen(seen)),
        Some(Said::Failed(why)) => anyhow::bail!("{why}"),
        Some(Said::Note(_) | Said::Ready) | None => {
            anyhow::bail!("the process of the scratch run was killed: {status}")
        }
    }
}

fn listen(stdout: impl Read + Send + 'static, events: Sender<Event>) {
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            let said = serde_json::from_str(&line);
            let said = said.unwrap_or_else(|_| Said::Note(line.clone()));
            if events.send(Event::Said(said)).is_err() {
                return;
            }
        }
        // Nobody waits any more.
        let _ = events.send(Event::Gone);
    });
}

fn await_enter(events: Sender<Event>) {
    thread::spawn(move || {
        let mut line = String::new();
        // At end of file too, nobody can say more.
        let read = io::stdin().read_line(&mut line);
        let _ = read.map(|_| events.send(Event::Enter));
    });
}

fn tell(stdin: Option<&mut ChildStdin>, line: &str) -> anyhow::Result<()> {
    let Some(stdin) = stdin else { return Ok(()) };
    match writeln!(stdin, "{line}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        // It has ended, and its last line says why.
        Ok(()) | Err(_) => Ok(()),
    }
}
