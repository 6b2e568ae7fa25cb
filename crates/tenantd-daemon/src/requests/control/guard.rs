//! Two additions to a zlink connection: a limit on the length of a request, and detecting that a
//! peer has disconnected while its request waits.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::net::Shutdown;
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use zlink::connection::PassedCredentials;
use zlink::connection::socket::{ReadHalf, ReadResult, Socket, WriteHalf};

use crate::requests::control::admission::refuse;
use crate::requests::control::judge::Judge;
use tenantd_api::wire::REQUEST_MAX;
use tenantd_host::closer::{self, Unclosed};
use tenantd_host::inbox;

/// A connection with requests of at most [`REQUEST_MAX`] bytes. The kernel refuses descriptors that a
/// peer sends, see [`inbox::refuse`]; before Linux 6.16 they are closed by [`closer`].
#[derive(Debug)]
pub(crate) struct Guarded {
    stream: UnixStream,
    sending: Sending,
    judge: Judge,
}

/// Whether an answer is being sent, and whether the peer wants one. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sending(Arc<Answering>);

#[derive(Debug, Default)]
struct Answering {
    under_way: AtomicBool,
    unwanted: AtomicBool,
}

impl Sending {
    /// Whether an answer is being sent: the peer has not read the earlier part of it.
    pub(crate) fn is_under_way(&self) -> bool {
        self.0.under_way.load(Ordering::Relaxed)
    }
}

impl Guarded {
    pub(super) fn new(stream: UnixStream, sending: Sending, judge: Judge) -> Self {
        Self {
            stream,
            sending,
            judge,
        }
    }
}

impl Socket for Guarded {
    type ReadHalf = Reader;
    type WriteHalf = Writer;

    fn split(self) -> (Reader, Writer) {
        let (read, write) = self.stream.into_split();
        let sending = self.sending;
        let reader = Reader {
            read,
            pending: 0,
            judge: self.judge,
            unclosed: Unclosed::default(),
        };
        (reader, Writer { write, sending })
    }
}

/// The half that reads requests.
#[derive(Debug)]
pub(crate) struct Reader {
    read: OwnedReadHalf,
    /// The bytes since the last NUL: the length of the incomplete request.
    pending: usize,
    /// Whether what is received counts.
    judge: Judge,
    /// The descriptors that the peer sent.
    unclosed: Unclosed,
}

impl Reader {
    /// Reads what there is. A plain read(2) would close the descriptors that come along, which can take
    /// as long as the peer likes.
    fn receive(&self, buf: &mut [u8]) -> io::Result<usize> {
        let stream: &UnixStream = self.read.as_ref();
        let received = stream.try_io(Interest::READABLE, || {
            let received = inbox::receive(stream.as_fd(), buf)?;
            received.ok_or_else(|| io::ErrorKind::WouldBlock.into())
        })?;
        closer::close(received.descriptors, &self.unclosed);
        if received.len > 0
            && let Err(refusal) = self.judge.received(received.sender)
        {
            refuse(stream, &refusal);
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        match self.unclosed.is_full() {
            true => Err(io::ErrorKind::ConnectionAborted.into()),
            false => Ok(received.len),
        }
    }
}

/// The kernel would close the descriptors in messages that were not read on this thread, which can take as long as the
/// peer likes.
impl Drop for Reader {
    fn drop(&mut self) {
        let stream: &UnixStream = self.read.as_ref();
        // It fails if the peer has closed the connection: then nothing more comes either.
        let _closed = rustix::net::shutdown(stream, Shutdown::Read);
        let mut bytes = [0; 4096];
        while let Ok(Some(received)) = inbox::receive(stream.as_fd(), &mut bytes) {
            if received.len == 0 {
                break;
            }
            closer::close(received.descriptors, &self.unclosed);
        }
    }
}

impl ReadHalf for Reader {
    async fn read(&mut self, buf: &mut [u8]) -> zlink::Result<ReadResult> {
        let read = loop {
            self.read.readable().await?;
            match self.receive(buf) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => break read?,
            }
        };
        self.pending = match buf[..read].iter().rposition(|byte| *byte == 0) {
            Some(end) => read - end - 1,
            None => self.pending + read,
        };
        if self.pending >= REQUEST_MAX {
            return Err(zlink::Error::BufferOverflow);
        }
        Ok(ReadResult::new(read))
    }
}

/// The half that writes answers.
#[derive(Debug)]
pub(crate) struct Writer {
    write: OwnedWriteHalf,
    sending: Sending,
}

impl Writer {
    /// Whether the call that is handled now is to be answered. Nothing is sent otherwise.
    pub(crate) fn answer(&self, is_wanted: bool) {
        let unwanted = &self.sending.0.unwanted;
        unwanted.store(!is_wanted, Ordering::Relaxed);
    }

    /// Sends all bytes. Waits for the peer to read while the buffer of the socket is full.
    pub(crate) async fn send(&self, mut rest: &[u8]) -> io::Result<()> {
        if self.sending.0.unwanted.load(Ordering::Relaxed) {
            return Ok(());
        }
        while !rest.is_empty() {
            match self.write.try_write(rest) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.sending.0.under_way.store(true, Ordering::Relaxed);
                    self.write.writable().await?;
                }
                written => rest = &rest[written?..],
            }
        }
        self.sending.0.under_way.store(false, Ordering::Relaxed);
        Ok(())
    }

    /// Sends all bytes, and descriptors with the first of them.
    async fn send_with(&self, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        if self.sending.0.unwanted.load(Ordering::Relaxed) {
            return Ok(());
        }
        let stream: &UnixStream = self.write.as_ref();
        loop {
            let sent = stream.try_io(Interest::WRITABLE, || {
                inbox::send(stream.as_fd(), bytes, descriptors)
            });
            match sent {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.sending.0.under_way.store(true, Ordering::Relaxed);
                    self.write.writable().await?;
                }
                sent => return self.send(bytes.get(sent?..).unwrap_or_default()).await,
            }
        }
    }

    /// Ends the connection in the middle of an answer. The peer can still read what was sent.
    pub(crate) fn hang_up(&self) {
        let stream: &UnixStream = self.write.as_ref();
        if let Err(error) = rustix::net::shutdown(stream, Shutdown::Both) {
            tracing::debug!(%error, "the connection has already ended");
        }
    }
}

impl WriteHalf for Writer {
    async fn write(
        &mut self,
        bytes: &[u8],
        fds: &[impl AsFd],
        _credentials: Option<&PassedCredentials>,
    ) -> zlink::Result<()> {
        if fds.is_empty() {
            return Ok(self.send(bytes).await?);
        }
        let fds: Vec<BorrowedFd<'_>> = fds.iter().map(AsFd::as_fd).collect();
        Ok(self.send_with(bytes, &fds).await?)
    }
}

/// A second descriptor of the same connection, with its own readiness, so that waiting on it does
/// not disturb reading and writing.
pub(crate) fn watch(stream: &UnixStream) -> io::Result<UnixStream> {
    let copy: OwnedFd = stream.as_fd().try_clone_to_owned()?;
    UnixStream::from_std(copy.into())
}

/// Ends when the peer has closed the connection for both directions (`EPOLLHUP`, epoll_ctl(2)).
/// A peer that only ended its sending still reads its answer.
pub(crate) async fn hung_up(watch: &UnixStream) {
    loop {
        match watch.ready(Interest::WRITABLE).await {
            Ok(ready) if ready.is_write_closed() => return,
            Ok(_) => {}
            Err(_) => return,
        }
        // "Writable" does not matter here. It is cleared until the next event of epoll.
        let aside = watch.try_io(Interest::WRITABLE, || {
            Err::<(), _>(io::ErrorKind::WouldBlock.into())
        });
        debug_assert!(aside.is_err());
    }
}

#[cfg(test)]
mod tests {
    use std::mem::MaybeUninit;
    use std::os::unix::net::UnixStream as Plain;

    use rustix::io::Errno;
    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
    use tokio::net::UnixListener;

    use super::*;
    use crate::audit::Audit;

    fn send(stream: &Plain, descriptor: impl AsFd) -> Result<usize, Errno> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let descriptors = [descriptor.as_fd()];
        assert!(control.push(SendAncillaryMessage::ScmRights(&descriptors)));
        let text = [io::IoSlice::new(b"text")];
        sendmsg(stream, &text, &mut control, SendFlags::empty())
    }

    #[test]
    fn descriptors_are_refused_or_closed_elsewhere() {
        closer::start().unwrap();
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_io().build().unwrap().block_on(async {
            let place = tempfile::tempdir().unwrap();
            let path = place.path().join("socket");
            for refuses in [true, false] {
                let listener = UnixListener::bind(&path).unwrap();
                inbox::name_senders(listener.as_fd()).unwrap();
                if refuses {
                    inbox::refuse(listener.as_fd()).unwrap();
                }
                let client = Plain::connect(&path).unwrap();
                let (stream, _) = listener.accept().await.unwrap();
                let peer = stream.peer_cred().unwrap();
                let judge = Judge::of(&stream, &peer, &Audit::default()).unwrap();
                let guarded = Guarded::new(stream, Sending::default(), judge);
                let (mut reader, _writer) = guarded.split();
                let (pipe, writer) = rustix::pipe::pipe().unwrap();
                let sent = send(&client, &writer);
                drop(writer);
                match sent {
                    Err(errno) => assert!(refuses && errno == Errno::PERM, "{errno}"),
                    Ok(_) => {
                        let mut text = [0; 8];
                        reader.read(&mut text).await.unwrap();
                        assert_eq!(&text[..4], b"text");
                        // The end of file proves that the other end is closed.
                        assert_eq!(rustix::io::read(&pipe, &mut [0; 1]), Ok(0));
                    }
                }
                std::fs::remove_file(&path).unwrap();
            }
        });
    }
}
