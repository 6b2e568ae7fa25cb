//! Ctrl-C and SIGTERM while a command waits: they end the waiting, and the command says what is left.

use std::io;
use std::os::unix::net;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::low_level::pipe;
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;

/// SIGINT and SIGTERM, which do not end the process any more.
pub(super) struct Interrupts {
    coming: UnixStream,
}

impl Interrupts {
    /// Catches both signals from now on. Everything that is awaited after this must look at them.
    pub(super) fn catch() -> io::Result<Self> {
        let (read, write) = net::UnixStream::pair()?;
        for signal in [SIGINT, SIGTERM] {
            pipe::register(signal, write.try_clone()?)?;
        }
        read.set_nonblocking(true)?;
        let coming = UnixStream::from_std(read)?;
        Ok(Self { coming })
    }

    /// Waits for the next one. Cancel-safe.
    pub(super) async fn next(&mut self) -> io::Result<()> {
        self.coming.read_u8().await.map(drop)
    }
}
