//! Shows on a terminal how far a round is, by what rsync(1) says of it.

use std::io::{self, Read};
use std::process::{Child, ExitStatus};
use std::time::Instant;

use super::super::progress::bar::Bar;

/// What rsync is told to say, if it is shown.
pub(super) const SAID: [&str; 2] = ["--info=progress2", "--outbuf=N"];

/// How rsync ended.
pub(super) struct Ended {
    pub(super) status: ExitStatus,
    /// Its standard output, without the lines of progress.
    pub(super) out: String,
    pub(super) err: String,
}

/// Waits for the end of an rsync, and shows meanwhile how much it has copied.
pub(super) fn follow(mut child: Child, what: &str, bar: Option<Bar<'_>>) -> io::Result<Ended> {
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let (out, err) = std::thread::scope(|scope| {
        // It waits as soon as one of both pipes is full.
        let err = scope.spawn(|| {
            let mut text = Vec::new();
            err.map_or(Ok(0), |mut err| err.read_to_end(&mut text))?;
            Ok(text)
        });
        let out = out.map_or(Ok(Vec::new()), |out| read(out, what, bar));
        let err = err
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("a thread ended")));
        (out, err)
    });
    let status = child.wait()?;
    Ok(Ended {
        status,
        out: String::from_utf8_lossy(&out?).into_owned(),
        err: String::from_utf8_lossy(&err?).into_owned(),
    })
}

fn read(mut out: impl Read, what: &str, mut bar: Option<Bar<'_>>) -> io::Result<Vec<u8>> {
    let begun = Instant::now();
    let (mut text, mut line, mut piece) = (Vec::new(), Vec::new(), [0; 4096]);
    loop {
        let length = match out.read(&mut piece) {
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        for &byte in &piece[..length] {
            if !matches!(byte, b'\r' | b'\n') {
                line.push(byte);
                continue;
            }
            match (copied(&line), &mut bar) {
                (Some(bytes), Some(bar)) => {
                    let far = far(what, bytes, begun.elapsed().as_secs_f64());
                    // A terminal that is gone is no reason to end.
                    drop(bar.draw(&far, false));
                }
                (Some(_), None) => {}
                (None, _) => {
                    text.append(&mut line);
                    text.push(b'\n');
                }
            }
            line.clear();
        }
        if length == 0 {
            break;
        }
    }
    text.append(&mut line);
    if let Some(bar) = &mut bar {
        drop(bar.clear());
    }
    Ok(text)
}

/// The bytes in a line of progress, such as `  1234567  45%   10.01MB/s    0:00:01`.
fn copied(line: &[u8]) -> Option<u64> {
    let line = std::str::from_utf8(line).ok()?;
    let mut words = line.split_whitespace();
    let (bytes, part) = (words.next()?, words.next()?);
    part.strip_suffix('%')?.parse::<u8>().ok()?;
    bytes.replace(',', "").parse().ok()
}

pub(super) fn far(what: &str, bytes: u64, seconds: f64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "it is shown with one decimal")]
    let size = bytes as f64 / 1e6;
    let rate = size / seconds.max(0.001);
    format!("{what}: {size:.1} MB, {rate:.1} MB/s")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_told_from_numbers() {
        assert_eq!(
            copied(b"    1,234,567  45%   10.01MB/s    0:00:01"),
            Some(1_234_567)
        );
        assert_eq!(copied(b"         0   0%    0.00kB/s"), Some(0));
        assert_eq!(copied(b"Total bytes sent: 1234567"), None);
        assert_eq!(copied(b""), None);
        assert_eq!(
            far("acme: round 1", 3_000_000, 2.0),
            "acme: round 1: 3.0 MB, 1.5 MB/s"
        );
        let said = "  5  50%\r  10 100%\r\nNumber of files: 3\n  10 100%\n";
        let text = read(said.as_bytes(), "acme", None).unwrap();
        assert_eq!(String::from_utf8(text).unwrap(), "\nNumber of files: 3\n");
    }
}
