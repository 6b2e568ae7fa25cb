//! Closes descriptors that a tenant or a client sent, in threads of their own.
//!
//! The last close of a descriptor can take as long as its sender likes: a TCP socket with `SO_LINGER`
//! waits for its peer, and a file of FUSE for its server. So no thread that serves anybody else closes
//! one, and these threads may hang: they hold nothing, and the end of the process ends them.
//!
//! Pipes have a thread of their own. sd_notify_barrier(3) waits for the close of one, and an ordinary
//! pipe never hangs.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, OnceLock};
use std::{io, thread};

use rustix::fs::{AtFlags, FileType, StatxFlags, statx};
use rustix::net::sockopt::set_socket_linger;

use crate::inbox::DESCRIPTORS_MAX;
use crate::launch::memory::keep_stack_from_children;

/// The most descriptors of all senders together that may wait while more are received of one that
/// has some.
const TOTAL_MAX: usize = 4 * DESCRIPTORS_MAX;

/// The number of descriptors that wait.
static TOTAL: AtomicUsize = AtomicUsize::new(0);

static THREADS: OnceLock<Threads> = OnceLock::new();

struct Threads {
    pipes: Sender<Waiting>,
    others: Sender<Waiting>,
}

struct Waiting {
    descriptor: OwnedFd,
    sender: Unclosed,
}

/// How many descriptors of one sender wait to be closed. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Unclosed(Arc<AtomicUsize>);

impl Unclosed {
    /// Whether so many wait that no more are received of this sender.
    #[must_use]
    pub fn is_full(&self) -> bool {
        match self.0.load(Ordering::Relaxed) {
            0 => false,
            own => own > DESCRIPTORS_MAX || TOTAL.load(Ordering::Relaxed) > TOTAL_MAX,
        }
    }

    fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
        TOTAL.fetch_add(1, Ordering::Relaxed);
    }

    fn remove(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
        TOTAL.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Starts the threads, unless they run.
///
/// # Errors
/// What pthread_create(3) reports.
pub fn start() -> io::Result<()> {
    if THREADS.get().is_some() {
        return Ok(());
    }
    let threads = Threads {
        pipes: start_one("close-pipes")?,
        others: start_one("close")?,
    };
    // Those of another caller do the same.
    let _other = THREADS.set(threads);
    Ok(())
}

fn start_one(name: &str) -> io::Result<Sender<Waiting>> {
    let (send, receive) = channel();
    let builder = thread::Builder::new().name(name.into());
    builder.spawn(move || {
        keep_stack_from_children();
        close_all(&receive);
    })?;
    Ok(send)
}

fn close_all(waiting: &Receiver<Waiting>) {
    for Waiting { descriptor, sender } in waiting {
        // Most are no sockets.
        let _refused = set_socket_linger(&descriptor, None);
        drop(descriptor);
        sender.remove();
    }
}

/// Closes descriptors, in a thread of [`start`].
pub fn close(descriptors: Vec<OwnedFd>, sender: &Unclosed) {
    for descriptor in descriptors {
        let Some(threads) = THREADS.get() else {
            // Only tests come here.
            continue;
        };
        let to = match is_pipe(&descriptor) {
            true => &threads.pipes,
            false => &threads.others,
        };
        sender.add();
        let sender = sender.clone();
        // The threads never end.
        let _ended = to.send(Waiting { descriptor, sender });
    }
}

/// Whether it is a pipe. Does not ask the server of a network filesystem or of FUSE, which may not
/// answer.
fn is_pipe(descriptor: &OwnedFd) -> bool {
    let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
    let found = statx(descriptor.as_fd(), c"", flags, StatxFlags::TYPE);
    found.is_ok_and(|found| FileType::from_raw_mode(found.stx_mode.into()) == FileType::Fifo)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pipes_and_others_are_told_apart_and_all_are_closed() {
        start().unwrap();
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        let (one, other) = std::os::unix::net::UnixStream::pair().unwrap();
        let other = OwnedFd::from(other);
        assert!(is_pipe(&writer));
        assert!(!is_pipe(&other));
        let sender = Unclosed::default();
        close(vec![writer, other], &sender);
        assert_eq!(rustix::io::read(&reader, &mut [0; 1]), Ok(0));
        assert_eq!(rustix::io::read(&one, &mut [0; 1]), Ok(0));
        assert!(!sender.is_full());
    }
}
