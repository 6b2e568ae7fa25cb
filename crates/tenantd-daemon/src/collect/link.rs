//! A connection of the supervisor to a log collector.

use std::fs;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal, waitid,
};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Interest};
use tokio::net::UnixStream;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout};

use crate::collect::{Answer, Ask, control};
use tenantd_core::name::AppName;

/// How long the collector may take to start, or to answer.
pub(super) const LIMIT: Duration = Duration::from_secs(10);

/// A connection to a collector.
pub(super) struct Link {
    stream: BufReader<UnixStream>,
    /// Its process, if it lives.
    process: Option<(i32, OwnedFd)>,
    pub(super) begun: Instant,
}

impl Link {
    pub(super) async fn connect(app: &AppName, number: u16) -> io::Result<Self> {
        let stream = UnixStream::connect(control(app, number)).await?;
        let process = stream.peer_cred()?.pid().and_then(|number| {
            let pidfd = pidfd_open(Pid::from_raw(number)?, PidfdFlags::empty());
            Some((number, pidfd.ok()?))
        });
        Ok(Self {
            stream: BufReader::new(stream),
            process,
            begun: Instant::now(),
        })
    }

    /// Sends a request, with descriptors, and waits for the answer.
    pub(super) async fn ask(&mut self, ask: &Ask, fds: &[OwnedFd]) -> io::Result<Answer> {
        let mut text = serde_json::to_vec(ask)?;
        text.push(b'\n');
        let exchange = async {
            let sent = match fds {
                [] => 0,
                fds => self.send_with(&text, fds).await?,
            };
            self.stream.write_all(&text[sent..]).await?;
            let mut line = String::new();
            self.stream.read_line(&mut line).await?;
            Ok(serde_json::from_str(&line)?)
        };
        timeout(LIMIT, exchange).await?
    }

    /// Sends the beginning of a request with descriptors. Returns its length.
    async fn send_with(&self, text: &[u8], fds: &[OwnedFd]) -> io::Result<usize> {
        let stream = self.stream.get_ref();
        let send = || {
            let fds: Vec<BorrowedFd<'_>> = fds.iter().map(AsFd::as_fd).collect();
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
            let mut more = SendAncillaryBuffer::new(&mut space);
            if !more.push(SendAncillaryMessage::ScmRights(&fds)) {
                return Err(io::Error::other("too many descriptors in one request"));
            }
            let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
            Ok(sendmsg(stream, &[IoSlice::new(text)], &mut more, flags)?)
        };
        stream.async_io(Interest::WRITABLE, send).await
    }

    /// Waits until the collector closes the connection, which it only does when it ends.
    pub(super) async fn closed(&mut self) {
        // It sends nothing that was not asked for.
        let _ = self.stream.fill_buf().await;
    }

    /// Whether it runs the same program as this process.
    pub(super) fn is_same_program(&self) -> bool {
        let identity = |path: &str| {
            fs::metadata(path)
                .map(|found| (found.dev(), found.ino()))
                .ok()
        };
        let Some((pid, _)) = &self.process else {
            return false;
        };
        identity(&format!("/proc/{pid}/exe")) == identity("/proc/self/exe")
    }

    /// Kills it, if it is still there.
    pub(super) fn kill(&self) {
        if let Some((_, process)) = &self.process {
            let _gone = pidfd_send_signal(process, Signal::KILL);
        }
    }

    /// Waits for its end, also if an earlier supervisor started it: then it is no child of this one,
    /// and the unit's cgroup would outlive this process.
    pub(super) async fn reap(&mut self) {
        self.closed().await;
        if let Some((_, process)) = self.process.take() {
            let wait = move || {
                let mut ends = [PollFd::new(&process, PollFlags::IN)];
                let limit = Timespec::try_from(LIMIT).ok();
                if poll(&mut ends, limit.as_ref()).is_ok_and(|ready| ready > 0) {
                    let _no_child = waitid(WaitId::PidFd(process.as_fd()), WaitIdOptions::EXITED);
                }
            };
            // It cannot fail, unless it panics.
            let _ended = spawn_blocking(wait).await;
        }
    }
}
