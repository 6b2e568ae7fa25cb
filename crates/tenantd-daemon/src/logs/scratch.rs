//! The scratch pipe: copies what is in a tenant's pipe without taking it out, see tee(2).

use std::io;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::pipe::{PipeFlags, SpliceFlags, pipe_with, tee};

use crate::logs::READ_MAX;

/// The scratch pipe.
#[derive(Debug)]
pub(super) struct Scratch {
    out: OwnedFd,
    into: OwnedFd,
    buffer: Box<[u8]>,
}

impl Scratch {
    /// # Errors
    /// What pipe2(2) reports.
    pub(super) fn new() -> io::Result<Self> {
        let (out, into) = pipe_with(PipeFlags::CLOEXEC)?;
        Ok(Self {
            out,
            into,
            buffer: vec![0; READ_MAX].into_boxed_slice(),
        })
    }

    /// Copies the content of a pipe, as far as it fits. An empty pipe gives no bytes. An end of
    /// file is an error, because this process keeps the pipe open for writing.
    pub(super) fn copy(&mut self, pipe: &OwnedFd) -> io::Result<&[u8]> {
        let count = match tee(pipe, &self.into, READ_MAX, SpliceFlags::NONBLOCK) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => count,
            Err(Errno::AGAIN | Errno::INTR) => 0,
            Err(errno) => return Err(errno.into()),
        };
        let mut read = 0;
        while read < count {
            read += rustix::io::read(&self.out, &mut self.buffer[read..count])?;
        }
        Ok(&self.buffer[..count])
    }

    /// Reads from a pipe what has been written, and discards it.
    pub(super) fn consume(&mut self, pipe: &OwnedFd, mut count: usize) -> io::Result<()> {
        while count > 0 {
            let most = count.min(READ_MAX);
            match rustix::io::read(pipe, &mut self.buffer[..most]) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => count -= read,
                Err(Errno::INTR) => {}
                // The tenant has read from its own pipe.
                Err(Errno::AGAIN) => return Ok(()),
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }
}
