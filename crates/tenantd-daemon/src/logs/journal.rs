//! Writes to the journal in its native protocol, one datagram per line, see
//! <https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>.
//!
//! `tracing-journald` is not used for this: its socket blocks, so that a journal that hangs would
//! block the loop, and each line would have the location in our code.
//!
//! When the journal's queue is full, the lines and the tenants' pipes wait. After [`PATIENCE`] the
//! journal counts as hanging: lines are dropped and counted until it accepts one again, so that a
//! journal that hangs does not block a tenant.

use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::UnixDatagram;

use crate::logs::split::{Extent, shown};
use crate::logs::{Batch, Line, Origin};
use tenantd_core::name::AppName;

/// Where the journal listens, see systemd-journald.service(8).
pub const SOCKET: &str = "/run/systemd/journal/socket";

/// How long the queue of the journal may be full before the journal counts as hanging.
const PATIENCE: Duration = Duration::from_secs(1);

/// The priority of a line that names none: "info", which is also what systemd gives to both
/// streams of a service (`SyslogLevel=`, systemd.exec(5)). Standard error is no sign of trouble:
/// many programs write all their logs there.
const PRIORITY: char = '6';

/// Whether our standard error is the journal: `JOURNAL_STREAM` names its device and inode
/// (systemd.exec(5)), and the journal's socket is there.
///
/// The socket alone is not enough: if an operator starts tenantd in a terminal, its log and the
/// tenants' lines belong there.
#[must_use]
pub fn is_ours() -> bool {
    let Ok(stderr) = rustix::fs::fstat(std::io::stderr()) else {
        return false;
    };
    let stream = std::env::var("JOURNAL_STREAM").unwrap_or_default();
    let socket = std::fs::metadata(SOCKET);
    names(&stream, stderr.st_dev, stderr.st_ino)
        && socket.is_ok_and(|socket| socket.file_type().is_socket())
}

fn names(stream: &str, dev: u64, ino: u64) -> bool {
    stream
        .split_once(':')
        .is_some_and(|(stream_dev, stream_ino)| {
            stream_dev.parse() == Ok(dev) && stream_ino.parse() == Ok(ino)
        })
}

/// A connection to the journal.
#[derive(Debug)]
pub struct Journal {
    app: AppName,
    path: PathBuf,
    /// Connected, because only then does it become writable when there is room (unix(7)).
    socket: Option<UnixDatagram>,
    hangs: bool,
}

impl Journal {
    pub(super) fn new(app: AppName, path: &Path) -> Self {
        Self {
            app,
            path: path.to_owned(),
            socket: None,
            hangs: false,
        }
    }

    /// Sends a batch. Returns the number of lines sent, and the error that stopped it, if any.
    pub(super) async fn send(&mut self, batch: &Batch) -> (usize, io::Result<()>) {
        for (index, line) in batch.lines.iter().enumerate() {
            let datagram = self.datagram(batch, line);
            let mut result = self.send_one(&datagram).await;
            if result.as_ref().is_err_and(is_gone) {
                // The journal was restarted and has a new socket.
                self.socket = None;
                result = self.send_one(&datagram).await;
            }
            if result.is_err() {
                return (index, result);
            }
        }
        (batch.lines.len(), Ok(()))
    }

    async fn send_one(&mut self, datagram: &[u8]) -> io::Result<()> {
        let socket = match &self.socket {
            Some(socket) => socket,
            None => {
                let socket = UnixDatagram::unbound()?;
                socket.connect(&self.path)?;
                self.socket.insert(socket)
            }
        };
        let mut result = socket.try_send(datagram);
        if is_full(&result) && !self.hangs {
            let sent = tokio::time::timeout(PATIENCE, socket.send(datagram)).await;
            result = sent.unwrap_or_else(|elapsed| Err(elapsed.into()));
            self.hangs = result.is_err();
        } else {
            self.hangs &= result.is_err();
            // Let other tasks run even if the socket never blocks.
            tokio::task::consume_budget().await;
        }
        result.map(drop)
    }

    fn datagram(&self, batch: &Batch, line: &Line) -> Vec<u8> {
        let (own, text) = match line.origin {
            // What the program says about itself is in its header.
            Some(_) => (PRIORITY, line.text.as_str()),
            None => priority(&line.text),
        };
        let fields = match line.origin.as_deref() {
            None => format!("PRIORITY={own}\nSYSLOG_IDENTIFIER={}\n", self.app),
            Some(Origin::File(path)) => format!(
                "PRIORITY={own}\nSYSLOG_IDENTIFIER={}\nTENANTD_FILE={}\n",
                self.app,
                shown(path)
            ),
            Some(Origin::Syslog {
                level,
                facility,
                identifier,
                pid,
            }) => {
                let identifier = identifier.as_deref().map_or(self.app.as_str(), |it| it);
                let pid = pid.map(|pid| format!("SYSLOG_PID={pid}\n"));
                format!(
                    "PRIORITY={level}\nSYSLOG_FACILITY={facility}\nSYSLOG_IDENTIFIER={}\n{}",
                    shown(identifier),
                    pid.unwrap_or_default()
                )
            }
        };
        let extent = match line.extent {
            Extent::Whole => "",
            Extent::Continues => "TENANTD_CONTINUES=1\n",
            Extent::Truncated => "TENANTD_TRUNCATED=1\n",
            Extent::Open => "TENANTD_OPEN=1\n",
        };
        // No field contains a line end, so the protocol's short form is enough.
        format!(
            "MESSAGE={text}\n{fields}TENANTD_APP={app}\nTENANTD_TENANT={}\nTENANTD_STREAM={}\n\
             {extent}",
            batch.tenant,
            batch.stream,
            app = self.app,
        )
        .into_bytes()
    }
}

/// The priority at the start of a line, as in `<3>disk full` (sd-daemon(3)), and the rest of it.
fn priority(text: &str) -> (char, &str) {
    let named = text.strip_prefix('<').and_then(|rest| {
        let (level, rest) = rest.split_once('>')?;
        let level: char = level.parse().ok()?;
        ('0'..='7').contains(&level).then_some((level, rest))
    });
    named.unwrap_or((PRIORITY, text))
}

fn is_full(result: &io::Result<usize>) -> bool {
    matches!(result, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}

fn is_gone(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionRefused, ConnectionReset, NotConnected};
    matches!(
        error.kind(),
        BrokenPipe | ConnectionRefused | ConnectionReset | NotConnected
    )
}

#[cfg(test)]
mod tests {
    use super::super::Stream;
    use super::*;

    fn batch(count: usize) -> Batch {
        let line = |number| Line {
            text: format!("<3>line {number}"),
            extent: match number {
                1 => Extent::Continues,
                _ => Extent::Whole,
            },
            origin: None,
        };
        Batch {
            tenant: "acme".parse().unwrap(),
            stream: Stream::Stdout,
            lines: (0..count).map(line).collect(),
        }
    }

    fn block_on<F: Future>(future: F) -> F::Output {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all();
        builder.build().unwrap().block_on(future)
    }

    #[test]
    fn a_line_is_one_datagram_with_its_fields() {
        block_on(async {
            let place = tempfile::tempdir().unwrap();
            let path = place.path().join("socket");
            let journal = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
            let mut ours = Journal::new("wiki".parse().unwrap(), &path);
            assert!(matches!(ours.send(&batch(2)).await, (2, Ok(()))));
            let mut bytes = [0; 1024];
            let len = journal.recv(&mut bytes).unwrap();
            assert_eq!(
                std::str::from_utf8(&bytes[..len]).unwrap(),
                "MESSAGE=line 0\nPRIORITY=3\nSYSLOG_IDENTIFIER=wiki\nTENANTD_APP=wiki\n\
                 TENANTD_TENANT=acme\nTENANTD_STREAM=stdout\n"
            );
            let len = journal.recv(&mut bytes).unwrap();
            assert!(bytes[..len].ends_with(b"\nTENANTD_CONTINUES=1\n"));
        });
    }

    #[test]
    fn a_restarted_journal_is_used_again() {
        block_on(async {
            let place = tempfile::tempdir().unwrap();
            let path = place.path().join("socket");
            let mut ours = Journal::new("wiki".parse().unwrap(), &path);
            let (sent, result) = ours.send(&batch(1)).await;
            assert_eq!(sent, 0);
            assert_eq!(result.unwrap_err().kind(), io::ErrorKind::NotFound);
            for _ in 0..2 {
                let journal = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
                assert!(matches!(ours.send(&batch(1)).await, (1, Ok(()))));
                assert!(journal.recv(&mut [0; 1024]).unwrap() > 0);
                std::fs::remove_file(&path).unwrap();
            }
        });
    }

    #[test]
    fn a_hanging_journal_is_given_up_after_a_while() {
        block_on(async {
            let place = tempfile::tempdir().unwrap();
            let path = place.path().join("socket");
            let journal = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
            let mut ours = Journal::new("wiki".parse().unwrap(), &path);
            let (sent, result) = ours.send(&batch(100_000)).await;
            assert_eq!(result.unwrap_err().kind(), io::ErrorKind::TimedOut);
            assert!(sent > 0 && sent < 100_000);
            let (sent, result) = ours.send(&batch(1)).await;
            assert_eq!(
                (sent, result.unwrap_err().kind()),
                (0, io::ErrorKind::WouldBlock)
            );
            // Once it reads again, the dropped lines are missing and the others arrive.
            assert!(journal.recv(&mut [0; 1024]).unwrap() > 0);
            // epoll(7) reports that there is room again, as in any iteration of the loop.
            tokio::task::yield_now().await;
            assert!(matches!(ours.send(&batch(1)).await, (1, Ok(()))));
        });
    }

    #[test]
    fn a_stream_is_named_by_device_and_inode() {
        assert!(names("8:4711", 8, 4711));
        for other in ["", "8", "8:4712", "9:4711", "8:4711:", ":"] {
            assert!(!names(other, 8, 4711), "{other}");
        }
    }

    #[test]
    fn a_priority_is_one_digit_in_angle_brackets() {
        assert_eq!(priority("<3>disk full"), ('3', "disk full"));
        for plain in ["<9>x", "<12>x", "<x", "x<3>", "<>x", ""] {
            assert_eq!(priority(plain), (PRIORITY, plain));
        }
    }
}
