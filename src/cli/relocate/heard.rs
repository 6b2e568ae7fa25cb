//! What the other host says during a step: read up to a size, and missed after a while.

use std::io::{self, Read, Write};
use std::process::{Child, ExitStatus};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

/// How often the target says that it is there, with an empty line, while it does a step.
const BEAT: Duration = Duration::from_secs(5);

/// How long the source waits for that.
pub(in super::super) const SILENCE: Duration = Duration::from_secs(60);

/// An answer is much smaller.
const ANSWER_MAX: usize = 1 << 20;

/// How often it is looked whether a command has ended that has closed its output.
const PAUSE: Duration = Duration::from_millis(20);

/// What a command has said.
#[derive(Debug)]
pub(in super::super) struct Heard {
    pub(in super::super) status: ExitStatus,
    pub(in super::super) out: Vec<u8>,
    pub(in super::super) err: Vec<u8>,
}

/// Which of both outputs.
#[derive(Clone, Copy)]
enum From {
    Out,
    Err,
}

/// Passes `text` to a command, and waits for its end. One that says nothing for `silence`, or more than an answer can
/// be, is killed.
pub(in super::super) fn listen(
    mut child: Child,
    text: Vec<u8>,
    silence: Duration,
) -> anyhow::Result<Heard> {
    // A command that does not read it must not keep this one from listening.
    if let Some(mut stdin) = child.stdin.take() {
        // One that ends early says why.
        thread::spawn(move || drop(stdin.write_all(&text)));
    }
    let (sender, pieces) = channel();
    if let Some(out) = child.stdout.take() {
        follow(out, From::Out, sender.clone());
    }
    if let Some(err) = child.stderr.take() {
        follow(err, From::Err, sender.clone());
    }
    drop(sender);
    let heard = collect(&pieces, silence)
        .and_then(|(out, err)| Ok((ended(&mut child, silence)?, out, err)));
    match heard {
        Ok((status, out, err)) => Ok(Heard { status, out, err }),
        Err(error) => {
            // It may have ended meanwhile.
            drop(child.kill());
            child.wait().context("cannot wait for its end")?;
            Err(error)
        }
    }
}

/// Sends what is read, until the end. A thread that a grandchild keeps waiting ends with the process.
fn follow(mut output: impl Read + Send + 'static, from: From, pieces: Sender<(From, Vec<u8>)>) {
    thread::spawn(move || {
        let mut piece = [0; 4096];
        loop {
            match output.read(&mut piece) {
                Ok(0) => break,
                Ok(length) => {
                    if pieces.send((from, piece[..length].to_vec())).is_err() {
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // As its end: the status says whether all is well.
                Err(_) => break,
            }
        }
    });
}

/// Both outputs, up to their ends.
fn collect(
    pieces: &Receiver<(From, Vec<u8>)>,
    silence: Duration,
) -> anyhow::Result<(Vec<u8>, Vec<u8>)> {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    loop {
        match pieces.recv_timeout(silence) {
            Ok((From::Out, piece)) => out.extend_from_slice(&piece),
            Ok((From::Err, piece)) => err.extend_from_slice(&piece),
            Err(RecvTimeoutError::Disconnected) => return Ok((out, err)),
            Err(RecvTimeoutError::Timeout) => return Err(silent(silence)),
        }
        if out.len().max(err.len()) > ANSWER_MAX {
            bail!("it has answered more than 1 MiB, so that is no answer of tenantd");
        }
    }
}

fn ended(child: &mut Child, silence: Duration) -> anyhow::Result<ExitStatus> {
    let begun = Instant::now();
    loop {
        if let Some(status) = child.try_wait().context("cannot wait for its end")? {
            return Ok(status);
        }
        if begun.elapsed() > silence {
            return Err(silent(silence));
        }
        thread::sleep(PAUSE);
    }
}

fn silent(silence: Duration) -> anyhow::Error {
    anyhow::anyhow!(
        "tenantd there has said nothing for {silence:?}: it, its supervisor or a filesystem may hang"
    )
}

/// Does a step on the target, and says meanwhile that it is there, for at most this long after the time that `touched`
/// says: what takes longer hangs.
pub(super) fn beating<T>(limit: Duration, touched: &Mutex<Instant>, step: impl FnOnce() -> T) -> T {
    let (done, waiting) = channel::<()>();
    thread::scope(|scope| {
        scope.spawn(move || beat(&waiting, limit, touched));
        let result = step();
        drop(done);
        result
    })
}

fn beat(waiting: &Receiver<()>, limit: Duration, touched: &Mutex<Instant>) {
    let last = || *touched.lock().unwrap_or_else(PoisonError::into_inner);
    while waiting.recv_timeout(BEAT) == Err(RecvTimeoutError::Timeout) {
        let mut out = io::stdout().lock();
        // A source that is gone does not end the step.
        if last().elapsed() > limit || out.write_all(b"\n").and_then(|()| out.flush()).is_err() {
            break;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    fn said(command: &str, silence: Duration) -> anyhow::Result<Heard> {
        let child = Command::new("sh")
            .args(["-c", command])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        listen(child, vec![b'x'; 1 << 20], silence)
    }

    #[test]
    fn an_answer_has_a_size_and_is_not_waited_for_without_end() {
        let heard = said("echo; echo answer; echo why >&2; exit 3", SILENCE).unwrap();
        assert_eq!(heard.status.code(), Some(3));
        assert_eq!(
            (&heard.out[..], &heard.err[..]),
            (&b"\nanswer\n"[..], &b"why\n"[..])
        );
        for (command, why) in [
            ("exec yes", "more than 1 MiB"),
            ("exec yes >&2", "more than 1 MiB"),
            ("exec sleep 1000", "has said nothing for 50ms"),
            (
                "exec >&- 2>&-; exec sleep 1000",
                "has said nothing for 50ms",
            ),
        ] {
            let silence = match why.contains("nothing") {
                true => Duration::from_millis(50),
                false => SILENCE,
            };
            let error = said(command, silence).unwrap_err().to_string();
            assert!(error.contains(why), "{command}: {error}");
        }
    }
}
