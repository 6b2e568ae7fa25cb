//! The keeper itself.

use std::env;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command};
use std::sync::{Mutex, PoisonError};
use std::thread;

use nix::sys::signal::SigSet;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::{Errno, FdFlags, fcntl_setfd};
use rustix::net::sockopt::socket_peercred;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::process::{DumpableBehavior, Pid, PidfdFlags, pidfd_open, set_dumpable_behavior};
use rustix::process::{Signal, pidfd_send_signal, setsid};

use super::{KEEPER, LIMIT, ORDER, TERM_MAX};
use crate::peer::{Peer, Place};

/// One command at a time is started, since each gets descriptors that are meant for it alone.
static STARTING: Mutex<()> = Mutex::new(());

/// In the process of a keeper: serves until it is ended. `None` in any other process.
#[must_use]
pub fn asked() -> Option<io::Result<()>> {
    let cgroup = env::var_os(KEEPER)?;
    Some(serve(Path::new(&cgroup)))
}

fn serve(cgroup: &Path) -> io::Result<()> {
    SigSet::empty().thread_set_mask()?;
    setsid()?;
    fs::write(cgroup.join("cgroup.procs"), "0")?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    let listener = UnixListener::from(io::stdin().as_fd().try_clone_to_owned()?);
    loop {
        let (client, _) = match listener.accept() {
            Ok(accepted) => accepted,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
            Err(error) => return Err(error),
        };
        // A client that gets no answer finds out.
        let answering = thread::Builder::new().spawn(move || answer(client));
        drop(answering?);
    }
}

/// What a client sends.
struct Sent {
    /// The program that the client is: it knows what the order says.
    program: OwnedFd,
    order: OwnedFd,
    streams: [OwnedFd; 3],
    term: OsString,
}

fn answer(mut client: UnixStream) -> io::Result<()> {
    client.set_read_timeout(Some(LIMIT))?;
    client.set_write_timeout(Some(LIMIT))?;
    if !is_trusted(&client)? {
        return Ok(());
    }
    client.write_all(&std::process::id().to_ne_bytes())?;
    let sent = receive(&client)?;
    let mut child = start(sent)?;
    // Nobody reaps it before the client has opened it.
    let held = pidfd(&child).and_then(|held| {
        client.write_all(&child.id().to_ne_bytes())?;
        client.read_exact(&mut [0])?;
        Ok(held)
    });
    match held {
        Ok(held) => wait(&mut client, &mut child, &held),
        Err(error) => {
            child.kill()?;
            child.wait()?;
            Err(error)
        }
    }
}

/// Whether a client is root's, and lives on the host. Its network namespace cannot be read from here.
fn is_trusted(client: &UnixStream) -> io::Result<bool> {
    let peer = socket_peercred(client)?;
    if !peer.uid.is_root() {
        return Ok(false);
    }
    let place = Peer::of(client.as_fd(), peer.pid.as_raw_nonzero().get())?.place_by_cgroup();
    Ok(place == Place::Host)
}

fn receive(client: &UnixStream) -> io::Result<Sent> {
    let mut bytes = [0_u8; TERM_MAX];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(5))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let slices = &mut [IoSliceMut::new(&mut bytes)];
    let message = recvmsg(client, slices, &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let mut descriptors = Vec::new();
    for piece in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = piece {
            descriptors.extend(received);
        }
    }
    let broken = || io::Error::from(io::ErrorKind::InvalidData);
    let all: [OwnedFd; 5] = descriptors.try_into().map_err(|_| broken())?;
    let [program, order, stdin, stdout, stderr] = all;
    // The first byte is always there, and says nothing.
    let term = bytes.get(1..message.bytes).ok_or_else(broken)?.to_vec();
    Ok(Sent {
        program,
        order,
        streams: [stdin, stdout, stderr],
        term: OsString::from_vec(term),
    })
}

fn start(sent: Sent) -> io::Result<Child> {
    let Sent {
        program,
        order,
        streams: [stdin, stdout, stderr],
        term,
    } = sent;
    let _one = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
    fcntl_setfd(&order, FdFlags::empty())?;
    let mut command = Command::new(format!("/proc/self/fd/{}", program.as_raw_fd()));
    command
        .arg0("tenantd")
        .env_clear()
        .env(ORDER, order.as_raw_fd().to_string())
        .stdin(stdin)
        .stdout(stdout)
        .stderr(stderr);
    if !term.is_empty() {
        command.env("TERM", term);
    }
    let child = command.spawn();
    drop(File::from(order));
    child
}

fn pidfd(child: &Child) -> io::Result<OwnedFd> {
    Ok(pidfd_open(Pid::from_child(child), PidfdFlags::empty())?)
}

/// Waits for the end of a command, and says how it ended. If the client goes before, the command is told to.
fn wait(client: &mut UnixStream, child: &mut Child, held: &OwnedFd) -> io::Result<()> {
    let mut is_there = true;
    loop {
        let mut polled = vec![PollFd::new(held, PollFlags::IN)];
        if is_there {
            polled.push(PollFd::new(client, PollFlags::RDHUP));
        }
        match poll(&mut polled, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let fired = |at: usize| polled.get(at).is_some_and(|it| !it.revents().is_empty());
        if fired(0) {
            let status = child.wait()?;
            return client.write_all(&status.into_raw().to_ne_bytes());
        }
        if fired(1) {
            is_there = false;
            pidfd_send_signal(held, Signal::HUP)?;
        }
    }
}
