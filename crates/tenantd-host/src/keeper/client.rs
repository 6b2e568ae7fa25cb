//! The side of the client: a command that a keeper starts.

use std::io::{self, IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
    connect, sendmsg, socket_with,
};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::{LIMIT, TERM_MAX, address};

/// A keeper that is ready to start a command.
#[derive(Debug)]
pub struct Offer {
    stream: UnixStream,
    keeper: u32,
}

impl Offer {
    /// Asks the keeper at this socket.
    ///
    /// # Errors
    /// Those of socket(2) and connect(2), or that it does not answer within 5 seconds.
    pub fn of(socket: &Path) -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC;
        let made = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        for side in [Timeout::Send, Timeout::Recv] {
            set_socket_timeout(&made, side, Some(LIMIT))?;
        }
        let (_folder, address) = address(socket)?;
        connect(&made, &address)?;
        let mut stream = UnixStream::from(made);
        let keeper = number(&mut stream)?;
        Ok(Self { stream, keeper })
    }

    /// The process that will be the parent of the command.
    #[must_use]
    pub fn keeper(&self) -> u32 {
        self.keeper
    }

    /// Has a program started with an order and these streams.
    ///
    /// # Errors
    /// Those of sendmsg(2) and pidfd_open(2), or that it could not be started.
    pub fn start(
        mut self,
        program: BorrowedFd<'_>,
        order: BorrowedFd<'_>,
        streams: &[OwnedFd; 3],
        term: &[u8],
    ) -> io::Result<Kept> {
        let [stdin, stdout, stderr] = streams.each_ref().map(AsFd::as_fd);
        let all = [program, order, stdin, stdout, stderr];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(5))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&all));
        let term = match term.len() {
            ..TERM_MAX => term,
            _ => &[],
        };
        let slices = [IoSlice::new(&[0]), IoSlice::new(term)];
        sendmsg(&self.stream, &slices, &mut control, SendFlags::NOSIGNAL)?;
        let number = number(&mut self.stream)?;
        let pid = i32::try_from(number).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or(io::ErrorKind::InvalidData)?;
        let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
        self.stream.write_all(&[0])?;
        Ok(Kept {
            stream: self.stream,
            pid,
            pidfd,
        })
    }
}

fn number(stream: &mut UnixStream) -> io::Result<u32> {
    let mut bytes = [0; 4];
    stream.read_exact(&mut bytes)?;
    Ok(u32::from_ne_bytes(bytes))
}

/// A command that a keeper has started. It is told to end when this is dropped.
#[derive(Debug)]
pub struct Kept {
    stream: UnixStream,
    pid: Pid,
    pidfd: OwnedFd,
}

impl Kept {
    /// Its number, which is also that of its process group.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// It, also if it has ended and its number is free.
    ///
    /// # Errors
    /// Those of fcntl(2).
    pub fn pidfd(&self) -> io::Result<OwnedFd> {
        self.pidfd.try_clone()
    }

    /// How it ended, once it has.
    ///
    /// # Errors
    /// Those of poll(2), or that the keeper is gone and nobody knows.
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        let mut polled = [PollFd::new(&self.pidfd, PollFlags::IN)];
        if poll(&mut polled, Some(&Timespec::default()))? == 0 {
            return Ok(None);
        }
        let mut bytes = [0; 4];
        self.stream.read_exact(&mut bytes).map_err(|error| {
            let why = "the command has ended, and the process that started it cannot say how";
            io::Error::new(error.kind(), format!("{why}: {error}"))
        })?;
        Ok(Some(ExitStatus::from_raw(i32::from_ne_bytes(bytes))))
    }
}
