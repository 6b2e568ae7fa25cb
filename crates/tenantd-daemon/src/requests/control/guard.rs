//! Two additions to a zlink connection: a limit on the length of a request, and detecting that a
//! peer has disconnected while its request waits.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::net::Shutdown;
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use zlink::connection::PassedCredentials;
use zlink::connection::socket::{ReadHalf, ReadResult, Socket, WriteHalf};

use tenantd_api::wire::REQUEST_MAX;

/// A connection with requests of at most [`REQUEST_MAX`] bytes. Descriptors and credentials that a
/// peer sends are not received: the kernel drops them.
#[derive(Debug)]
pub(crate) struct Guarded {
    stream: UnixStream,
    sending: Sending,
}

/// Whether an answer is being sent. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sending(Arc<AtomicBool>);

impl Sending {
    /// Whether an answer is being sent: the peer has not read the earlier part of it.
    pub(crate) fn is_under_way(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Guarded {
    pub(crate) fn new(stream: UnixStream, sending: Sending) -> Self {
        Self { stream, sending }
    }
}

impl Socket for Guarded {
    type ReadHalf = Reader;
    type WriteHalf = Writer;

    fn split(self) -> (Reader, Writer) {
        let (read, write) = self.stream.into_split();
        let sending = self.sending;
        (Reader { read, pending: 0 }, Writer { write, sending })
    }
}

/// The half that reads requests.
#[derive(Debug)]
pub(crate) struct Reader {
    read: OwnedReadHalf,
    /// The bytes since the last NUL: the length of the incomplete request.
    pending: usize,
}

impl ReadHalf for Reader {
    async fn read(&mut self, buf: &mut [u8]) -> zlink::Result<ReadResult> {
        let read = loop {
            self.read.readable().await?;
            match self.read.try_read(buf) {
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
    /// Sends all bytes. Waits for the peer to read while the buffer of the socket is full.
    pub(crate) async fn send(&self, mut rest: &[u8]) -> io::Result<()> {
        while !rest.is_empty() {
            match self.write.try_write(rest) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.sending.0.store(true, Ordering::Relaxed);
                    self.write.writable().await?;
                }
                written => rest = &rest[written?..],
            }
        }
        self.sending.0.store(false, Ordering::Relaxed);
        Ok(())
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
        _fds: &[impl AsFd],
        _credentials: Option<&PassedCredentials>,
    ) -> zlink::Result<()> {
        Ok(self.send(bytes).await?)
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
