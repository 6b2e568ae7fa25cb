//! Answers the supervisor's requests: one connection after the other, as there is one supervisor.

use std::collections::HashMap;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread::sleep;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use crate::collect::follow::Follower;
use crate::collect::sockets::Sockets;
use crate::collect::{Answer, Ask};
use crate::logs::BOTH;
use tenantd_core::name::TenantName;
use tenantd_host::peer::Peer;
use tenantd_host::{inbox, want};

/// How many bytes to receive at once.
const PIECE: usize = 4096;

/// How long a connection waits if there is no descriptor for it.
const PAUSE: Duration = Duration::from_millis(100);

/// The descriptors of the tenants' output. Nothing is done with them: what is in a pipe stays as long as one
/// is open.
type Output = HashMap<TenantName, Vec<OwnedFd>>;

/// Answers requests until one asks for the end.
///
/// # Errors
/// What accept(2) reports.
pub(super) fn serve(
    listener: &UnixListener,
    sockets: &Sockets,
    follower: &Follower,
) -> io::Result<()> {
    let mut output = Output::new();
    loop {
        let connection = match listener.accept() {
            Ok((connection, _)) => connection,
            // The end of this process would lose all output that nobody has read yet.
            Err(error) if want::error_passes(&error) => {
                tracing::debug!(%error, "cannot accept a connection for now");
                sleep(PAUSE);
                continue;
            }
            Err(error) => return Err(error),
        };
        if let Err(why) = is_supervisor(&connection) {
            tracing::warn!("a connection to the collector's socket was refused: {why}");
            continue;
        }
        match converse(connection, (sockets, follower), &mut output) {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            // The supervisor has died; the next one connects.
            Err(error) => tracing::debug!(%error, "lost the connection to the supervisor"),
        }
    }
}

/// Checks that a process of the host connected, with the user of the supervisor: no tenant, even one that
/// runs as root and found a way to the socket, asks for the logs of others.
fn is_supervisor(connection: &UnixStream) -> Result<(), String> {
    let peer = rustix::net::sockopt::socket_peercred(connection).map_err(|it| it.to_string())?;
    let pid = peer.pid.as_raw_nonzero().get();
    if peer.uid != rustix::process::geteuid() {
        return Err(format!("process {pid} is of user {}", peer.uid.as_raw()));
    }
    let peer = Peer::of(connection.as_fd(), pid).map_err(|it| it.to_string())?;
    peer.place_by_cgroup().refusal(pid).map_or(Ok(()), Err)
}

/// Answers the requests of one connection. Returns whether it asked for the end.
fn converse(
    connection: UnixStream,
    parts: (&Sockets, &Follower),
    output: &mut Output,
) -> io::Result<bool> {
    let mut requests = Requests::of(connection);
    while let Some((line, passed)) = requests.next()? {
        let ask = serde_json::from_slice(&line);
        let (answer, ends) = match ask {
            Ok(ask) => answer(ask, passed, parts, output),
            Err(error) => (failed(&error), false),
        };
        let mut text = serde_json::to_vec(&answer)?;
        text.push(b'\n');
        requests.connection.write_all(&text)?;
        if ends {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The requests of one connection, a line each.
struct Requests {
    connection: UnixStream,
    received: Vec<u8>,
    passed: Passed,
}

/// The descriptors that came with a request.
#[derive(Default)]
struct Passed {
    fds: Vec<OwnedFd>,
    /// Whether the kernel had no room for some of them.
    lost: bool,
}

impl Passed {
    /// Both pipes of a tenant; None if they are not both there.
    fn both(self) -> Option<Vec<OwnedFd>> {
        (!self.lost && self.fds.len() == BOTH).then_some(self.fds)
    }
}

impl Requests {
    fn of(connection: UnixStream) -> Self {
        Self {
            connection,
            received: Vec::new(),
            passed: Passed::default(),
        }
    }

    /// The next request, with the descriptors that came with it. The supervisor sends it after the answer to
    /// the one before.
    fn next(&mut self) -> io::Result<Option<(Vec<u8>, Passed)>> {
        let mut piece = [0; PIECE];
        while !self.received.contains(&b'\n') {
            let mut ready = [PollFd::new(&self.connection, PollFlags::IN)];
            match poll(&mut ready, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
            let Some(more) = inbox::receive(self.connection.as_fd(), &mut piece)? else {
                continue;
            };
            if more.len == 0 {
                return Ok(None);
            }
            self.received.extend(&piece[..more.len]);
            self.passed.fds.extend(more.descriptors);
            self.passed.lost |= more.lost;
        }
        Ok(Some((
            std::mem::take(&mut self.received),
            std::mem::take(&mut self.passed),
        )))
    }
}

fn answer(
    ask: Ask,
    passed: Passed,
    (sockets, follower): (&Sockets, &Follower),
    output: &mut Output,
) -> (Answer, bool) {
    let mut answer = Answer::default();
    let mut ends = false;
    let done = match ask {
        Ask::Add {
            tenant,
            files,
            since,
            rate,
        } => {
            if let Some(files) = files {
                follower.follow(&tenant, (files, rate), since);
            }
            let added = sockets.add(&tenant);
            if let Some(rate) = rate {
                sockets.pace(&tenant, rate);
            }
            if let Some(fds) = passed.both() {
                output.insert(tenant, fds);
                answer.holds = true;
            }
            added
        }
        Ask::Remove { tenant } => {
            let read = follower.remove(&tenant);
            output.remove(&tenant);
            sockets.remove(&tenant).and(read)
        }
        Ask::List => {
            answer.tenants = sockets.tenants();
            Ok(())
        }
        Ask::End => {
            ends = true;
            let read = follower.end();
            sockets.end().and(read)
        }
    };
    if let Err(error) = done {
        answer.error = Some(error.to_string());
    }
    (answer, ends)
}

fn failed(error: &dyn std::fmt::Display) -> Answer {
    Answer {
        error: Some(error.to_string()),
        ..Answer::default()
    }
}
