//! Closes descriptors that a tenant or a client sent, in threads that end with it.
//!
//! The last close of a descriptor can take as long as its sender likes. A TCP socket with `SO_LINGER` waits for its peer,
//! also if it is in a message that waits in a unix socket that was sent; a file of FUSE waits for its server. So no thread
//! that serves anybody else closes one, nor does the process: what it has open when it executes another program, or before
//! it receives more, is closed by its own thread.
//!
//! A thread that ends does not linger: the kernel waits for no peer in a process or thread that is exiting (`PF_EXITING`
//! in `inet_release`). So a thread is made for what came with one message. It leaves the table of descriptors of the
//! process with just these (`CLOSE_RANGE_UNSHARE` of close_range(2)), the process closes its own copies, and the thread
//! ends. If that hangs nevertheless, nobody waits for it, and the process has neither the descriptors nor their numbers.
//!
//! Pipes have a thread of their own. sd_notify_barrier(3) waits for the close of one, and an ordinary
//! pipe never hangs.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel, sync_channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;

use rustix::fs::{AtFlags, FileType, StatxFlags, statx};
use rustix::net::sockopt::set_socket_linger;
use rustix::thread::gettid;

use crate::launch::memory::keep_stack_from_children;
use crate::launch::raw::close_range;

/// How many threads may be closing what one sender sent before no more is received of it.
const THREADS_MAX: usize = 8;

/// The stack of a thread, which calls hardly anything.
const STACK: usize = 64 * 1024;

static PIPES: OnceLock<Sender<OwnedFd>> = OnceLock::new();

/// The threads that close what one sender sent. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Unclosed(Arc<Mutex<Vec<i32>>>);

impl Unclosed {
    /// Whether so many are closing that no more is received of this sender.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.count() >= THREADS_MAX
    }

    /// Whether all that it sent is closed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count() == 0
    }

    fn count(&self) -> usize {
        let mut threads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A thread has closed everything once the kernel has no such thread any more. Another one may have its number
        // by then, which only makes this sender wait for that.
        threads.retain(|number| Path::new(&format!("/proc/self/task/{number}")).exists());
        threads.len()
    }

    fn add(&self, thread: i32) {
        let mut threads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        threads.push(thread);
    }
}

/// Starts the thread of the pipes, unless it runs.
///
/// # Errors
/// What pthread_create(3) reports.
pub fn start() -> io::Result<()> {
    if PIPES.get().is_some() {
        return Ok(());
    }
    let (send, receive) = channel();
    let builder = thread::Builder::new().name("close-pipes".into());
    builder.spawn(move || {
        keep_stack_from_children();
        close_pipes(&receive);
    })?;
    // That of another caller does the same.
    let _other = PIPES.set(send);
    Ok(())
}

fn close_pipes(waiting: &Receiver<OwnedFd>) {
    for descriptor in waiting {
        drop(descriptor);
    }
}

/// Closes descriptors that came with one message, in other threads. Returns when the calling process has closed its copies.
pub fn close(descriptors: Vec<OwnedFd>, sender: &Unclosed) {
    let (pipes, others): (Vec<_>, Vec<_>) = descriptors.into_iter().partition(is_pipe);
    for pipe in pipes {
        match PIPES.get() {
            // The thread never ends.
            Some(thread) => drop(thread.send(pipe)),
            // Only tests come here.
            None => drop(pipe),
        }
    }
    if others.is_empty() {
        return;
    }
    let numbers = others.iter().map(|it| it.as_raw_fd().unsigned_abs());
    match hand_over(numbers.collect(), sender) {
        Ok(may_end) => {
            drop(others);
            drop(may_end);
        }
        Err(error) => {
            tracing::warn!(%error, "closed descriptors that a tenant or a client sent without a thread for them");
            for descriptor in &others {
                // Most are no sockets.
                let _refused = set_socket_linger(descriptor, None);
            }
        }
    }
}

/// Makes a thread with copies of these descriptors, which it closes when the result is dropped: by then the copies of the
/// process are to be closed, so that the last close is that of the thread.
fn hand_over(mut numbers: Vec<u32>, sender: &Unclosed) -> io::Result<Sender<()>> {
    numbers.sort_unstable();
    let (tell, told) = sync_channel(1);
    let (go, may_end) = channel();
    let builder = thread::Builder::new()
        .name("close".into())
        .stack_size(STACK);
    builder.spawn(move || {
        let parted = part_with(&numbers).map(|()| gettid().as_raw_pid());
        // The process may not wait for it any longer.
        let _gone = tell.send(parted);
        let _closed = may_end.recv();
    })?;
    let thread = told.recv().map_err(io::Error::other)??;
    sender.add(thread);
    Ok(go)
}

/// Gives the calling thread a table with these descriptors alone, in order.
fn part_with(numbers: &[u32]) -> io::Result<()> {
    let last = numbers.last().copied().unwrap_or_default();
    close_range(last.saturating_add(1), u32::MAX, libc::CLOSE_RANGE_UNSHARE)?;
    let mut first: u32 = 0;
    for &number in numbers {
        if number > first {
            close_range(first, number - 1, 0)?;
        }
        first = number.saturating_add(1);
    }
    Ok(())
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
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::net::{UnixDatagram, UnixStream};
    use std::time::{Duration, Instant};

    use rustix::net::sockopt::set_socket_recv_buffer_size;

    use super::*;
    use crate::inbox::send;

    #[test]
    fn pipes_and_others_are_told_apart_and_all_are_closed() {
        start().unwrap();
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        let (one, other) = UnixStream::pair().unwrap();
        let other = OwnedFd::from(other);
        assert!(is_pipe(&writer));
        assert!(!is_pipe(&other));
        let sender = Unclosed::default();
        close(vec![writer, other], &sender);
        assert_eq!(rustix::io::read(&reader, &mut [0; 1]), Ok(0));
        assert_eq!(rustix::io::read(&one, &mut [0; 1]), Ok(0));
        assert!(!sender.is_full());
    }

    /// A connection whose close takes an hour, since its peer reads nothing; and the peer.
    fn lingering() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        set_socket_recv_buffer_size(&listener, 2048).unwrap();
        let mut ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (theirs, _) = listener.accept().unwrap();
        ours.set_nonblocking(true).unwrap();
        while ours.write(&[0; 4096]).is_ok() {}
        ours.set_nonblocking(false).unwrap();
        set_socket_linger(&ours, Some(Duration::from_secs(3600))).unwrap();
        (ours, theirs)
    }

    #[test]
    fn no_close_waits_for_a_peer_however_deep_its_connection_is_hidden() {
        start().unwrap();
        let sender = Unclosed::default();
        let mut peers = Vec::new();
        let mut boxed = Vec::new();
        for depth in 0..3 {
            let (ours, theirs) = lingering();
            peers.push(theirs);
            let mut inner = OwnedFd::from(ours);
            for _ in 0..depth {
                let (outer, filler) = UnixDatagram::pair().unwrap();
                send(filler.as_fd(), b"x", &[inner.as_fd()]).unwrap();
                inner = OwnedFd::from(outer);
            }
            boxed.push(inner);
        }
        let (mut one, other) = UnixStream::pair().unwrap();
        boxed.push(OwnedFd::from(other));
        let begun = Instant::now();
        close(boxed, &sender);
        one.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        assert_eq!(one.read(&mut [0; 1]).unwrap(), 0, "the last one is closed");
        while !sender.is_empty() {
            assert!(begun.elapsed() < Duration::from_secs(10), "a thread hangs");
            thread::yield_now();
        }
    }

    #[test]
    fn the_process_has_no_copy_when_it_goes_on() {
        start().unwrap();
        let (mut one, other) = UnixStream::pair().unwrap();
        let kept = other.try_clone().unwrap();
        let number = other.as_raw_fd();
        close(vec![OwnedFd::from(other)], &Unclosed::default());
        assert!(
            !Path::new(&format!("/proc/self/fd/{number}")).exists() || number == kept.as_raw_fd()
        );
        // What others have of it stays open.
        (&kept).write_all(b"x").unwrap();
        assert_eq!(one.read(&mut [0; 1]).unwrap(), 1);
    }
}
