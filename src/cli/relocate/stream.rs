//! A snapshot on its way: btrfs-send(8) here, and a step on the target that gives what it reads to btrfs-receive(8).

use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::thread;
use std::time::Instant;

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};

use super::super::args::Step;
use super::super::plain::plain;
use super::super::progress::bar::Bar;
use super::Offer;
use super::heard;
use super::peer::Peer;
use super::shown;

/// What is read at a time.
const PIECE: usize = 1 << 18;

/// How much of an error message is kept: it may name files, whose names the tenant chooses.
const SAID_MAX: u64 = 4096;

/// Sends a snapshot, as what differs from the one before, if there is one. Returns how much was sent.
pub(super) fn send(
    peer: &Peer<'_>,
    offer: &Offer,
    (snapshot, before): (&Path, Option<&Path>),
    what: &str,
) -> anyhow::Result<u64> {
    let mut command = Command::new("btrfs");
    command.args(["send", "-q"]);
    if let Some(before) = before {
        command.arg("-p").arg(before);
    }
    let mut sender = command
        .arg("--")
        .arg(snapshot)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot execute btrfs")?;
    let step = peer.begin(Step::Snapshot);
    let target = step.and_then(|child| Ok((child, first_line(offer)?)));
    let (target, line) = match target {
        Ok(target) => target,
        Err(error) => {
            end(&mut sender)?;
            return Err(error);
        }
    };
    let what = format!("{}: {what}", peer.tenant);
    let bar = peer.is_alone.then(Bar::on_terminal).flatten();
    let (bytes, said, heard) = pass(&mut sender, target, &line, (&what, bar));
    let status = sender.wait().context("cannot wait for btrfs")?;
    // The target ends as well if the stream ends early.
    match (status.code(), peer.answer(Step::Snapshot, heard)) {
        (Some(0), Ok(_)) => Ok(bytes),
        (Some(0) | None, Err(error)) => Err(error),
        (code, answer) => {
            let there = answer.err().map(|error| format!("; {error:#}"));
            let there = there.unwrap_or_default();
            let code = code.map_or("a signal".to_owned(), |code| format!("code {code}"));
            bail!(
                "btrfs send ended with {code}: {said}{there}: `--transport rsync` copies without it"
            )
        }
    }
}

fn first_line(offer: &Offer) -> anyhow::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(offer)?;
    line.push(b'\n');
    Ok(line)
}

fn end(sender: &mut Child) -> anyhow::Result<()> {
    // It may have ended meanwhile.
    drop(sender.kill());
    sender.wait().context("cannot wait for btrfs")?;
    Ok(())
}

/// Passes what is sent to the target, until both have ended or the target is missed.
fn pass(
    sender: &mut Child,
    mut target: Child,
    line: &[u8],
    (what, bar): (&str, Option<Bar<'_>>),
) -> (u64, String, anyhow::Result<heard::Heard>) {
    let (out, err) = (sender.stdout.take(), sender.stderr.take());
    let stdin = target.stdin.take();
    thread::scope(|scope| {
        let said = scope.spawn(|| said(err));
        let pid = Pid::from_child(sender);
        let listening = scope.spawn(move || {
            let heard = heard::listen(target, Vec::new(), heard::SILENCE);
            if heard.is_err() {
                // It may hang as well. It is not waited for before, so the number is its own, also if it has ended.
                let _killed = kill_process(pid, Signal::KILL);
            }
            heard
        });
        let mut bytes = 0;
        if let (Some(out), Some(mut stdin)) = (out, stdin) {
            // If the target ends early, it says why; if the sender does, its status is known.
            drop(stdin.write_all(line).and_then(|()| {
                let progress = Progress::new(what, bar);
                pump(out, stdin, &mut bytes, progress)
            }));
        }
        let heard = listening
            .join()
            .unwrap_or_else(|_| Err(anyhow::anyhow!("a thread ended")));
        (bytes, said.join().unwrap_or_default(), heard)
    })
}

/// What btrfs(8) says of an error. It is read to its end, and what is longer than a message is left out.
fn said(err: Option<ChildStderr>) -> String {
    let mut text = Vec::new();
    if let Some(mut err) = err {
        let read = err.by_ref().take(SAID_MAX).read_to_end(&mut text);
        // What cannot be read is missing in a message.
        drop(read.and_then(|_| io::copy(&mut err, &mut io::sink())));
    }
    plain(String::from_utf8_lossy(&text).trim(), usize::MAX)
}

/// Shows how much was passed on.
struct Progress<'a> {
    what: &'a str,
    bar: Option<Bar<'a>>,
    begun: Instant,
}

impl<'a> Progress<'a> {
    fn new(what: &'a str, bar: Option<Bar<'a>>) -> Self {
        let begun = Instant::now();
        Self { what, bar, begun }
    }

    fn at(&mut self, bytes: u64) {
        if let Some(bar) = &mut self.bar {
            let far = shown::far(self.what, bytes, self.begun.elapsed().as_secs_f64());
            // A terminal that is gone is no reason to end.
            drop(bar.draw(&far, false));
        }
    }
}

impl Drop for Progress<'_> {
    fn drop(&mut self) {
        if let Some(bar) = &mut self.bar {
            drop(bar.clear());
        }
    }
}

fn pump(
    mut from: impl Read,
    mut to: impl Write,
    bytes: &mut u64,
    mut progress: Progress<'_>,
) -> io::Result<()> {
    let mut piece = vec![0; PIECE];
    loop {
        let length = match from.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        to.write_all(&piece[..length])?;
        *bytes += length as u64;
        progress.at(*bytes);
    }
}

/// On the target: has btrfs-receive(8) make the snapshot that follows on standard input. `touched` is set to the time at
/// which something came.
pub(super) fn receive(
    stdin: impl Read,
    folder: &Path,
    touched: &Mutex<Instant>,
) -> anyhow::Result<()> {
    let mut stdin = BufReader::with_capacity(PIECE, stdin);
    let mut child = Command::new("btrfs")
        .args(["receive", "-q", "-e", "--"])
        .arg(folder)
        .env("LC_ALL", "C")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot execute btrfs")?;
    let (into, err) = (child.stdin.take(), child.stderr.take());
    let said = thread::scope(|scope| {
        let said = scope.spawn(|| said(err));
        // If it ends early, it says why.
        drop(into.map(|into| give(&mut stdin, into, touched)));
        said.join().unwrap_or_default()
    });
    let status = child.wait().context("cannot wait for btrfs")?;
    match status.success() {
        true => Ok(()),
        false => bail!(
            "btrfs receive ended with {status}: {said}: `--transport rsync` copies without it"
        ),
    }
}

fn give(from: &mut impl BufRead, mut to: impl Write, touched: &Mutex<Instant>) -> io::Result<()> {
    loop {
        let piece = from.fill_buf()?;
        let length = piece.len();
        if length == 0 {
            return Ok(());
        }
        to.write_all(piece)?;
        from.consume(length);
        *touched.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }
}
