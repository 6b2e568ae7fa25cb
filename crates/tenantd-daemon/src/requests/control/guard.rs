//! What zlink leaves open about a connection: a bound on the length of a request, and noticing a
//! peer that left while its request was waiting.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::net::Shutdown;
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use zlink::connection::PassedCredentials;
use zlink::connection::socket::{ReadHalf, ReadResult, Socket, WriteHalf};

use tenantd_api::wire::REQUEST_MAX;

/// A connection whose requests are bounded by [`REQUEST_MAX`]. Descriptors and credentials that a
/// peer passes along are not received: the kernel drops them.
#[derive(Debug)]
pub(crate) struct Guarded(UnixStream);

impl Guarded {
    pub(crate) fn new(stream: UnixStream) -> Self {
        Self(stream)
    }
}

impl Socket for Guarded {
    type ReadHalf = Reader;
    type WriteHalf = Writer;

    fn split(self) -> (Reader, Writer) {
        let (read, write) = self.0.into_split();
        (Reader { read, pending: 0 }, Writer(write))
    }
}

/// The half that requests come from.
#[derive(Debug)]
pub(crate) struct Reader {
    read: OwnedReadHalf,
    /// Bytes since the last NUL: those of the request that is not complete yet.
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

/// The half that answers go to.
#[derive(Debug)]
pub(crate) struct Writer(OwnedWriteHalf);

impl Writer {
    /// Gives all of it to the kernel, and waits for the peer to read where that does not take it.
    pub(crate) async fn send(&self, mut rest: &[u8]) -> io::Result<()> {
        while !rest.is_empty() {
            self.0.writable().await?;
            match self.0.try_write(rest) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => rest = &rest[written?..],
            }
        }
        Ok(())
    }

    /// Ends the connection, in the middle of an answer. What was sent is still read by the peer.
    pub(crate) fn hang_up(&self) {
        let stream: &UnixStream = self.0.as_ref();
        if let Err(error) = rustix::net::shutdown(stream, Shutdown::Both) {
            tracing::debug!(%error, "a connection has ended already");
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

/// A second descriptor of the same connection, with a readiness of its own: waiting on it takes
/// nothing from those who read and write.
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
        // "Writable" is no news; it is put aside until epoll says something again.
        let aside = watch.try_io(Interest::WRITABLE, || {
            Err::<(), _>(io::ErrorKind::WouldBlock.into())
        });
        debug_assert!(aside.is_err());
    }
}
