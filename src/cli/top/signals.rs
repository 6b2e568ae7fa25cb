//! The signals that `top` catches, so that it can restore the terminal first, or draw it again.

use std::io;
use std::os::unix::net;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGWINCH};
use signal_hook::flag;
use signal_hook::low_level::pipe;
use tokio::net::UnixStream;

/// All of them.
const CAUGHT: [i32; 7] = [SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGCONT, SIGWINCH];

/// The signals that came.
pub(super) struct Signals {
    coming: UnixStream,
    came: Vec<(i32, Arc<AtomicBool>)>,
}

impl Signals {
    /// Catches them from now on.
    ///
    /// # Errors
    /// Those of socketpair(2) and sigaction(2).
    pub(super) fn catch() -> io::Result<Self> {
        let (read, write) = net::UnixStream::pair()?;
        let mut came = Vec::new();
        for signal in CAUGHT {
            let flag = Arc::new(AtomicBool::new(false));
            // Before the pipe, so that it is set when the pipe wakes.
            flag::register(signal, Arc::clone(&flag))?;
            pipe::register(signal, write.try_clone()?)?;
            came.push((signal, flag));
        }
        read.set_nonblocking(true)?;
        let coming = UnixStream::from_std(read)?;
        Ok(Self { coming, came })
    }

    /// Waits for the next ones. It is cancel-safe.
    ///
    /// # Errors
    /// Those of the socket.
    pub(super) async fn next(&mut self) -> io::Result<Vec<i32>> {
        loop {
            self.coming.readable().await?;
            match self.coming.try_read(&mut [0; 64]) {
                Ok(_) => return Ok(self.came()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// One that came counts as not sent.
    pub(super) fn forget(&self, signal: i32) {
        for (_, flag) in self.came.iter().filter(|(it, _)| *it == signal) {
            flag.store(false, Ordering::SeqCst);
        }
    }

    fn came(&self) -> Vec<i32> {
        let came = self.came.iter();
        let came = came.filter(|(_, flag)| flag.swap(false, Ordering::SeqCst));
        came.map(|(signal, _)| *signal).collect()
    }
}
