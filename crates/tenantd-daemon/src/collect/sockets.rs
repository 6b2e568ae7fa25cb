//! The tenants' sockets at `/dev/log`. One thread receives, a few messages of one socket at a time, so that
//! a tenant that sends without a pause does not keep the others waiting.

mod paced;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use rustix::event::epoll;
use rustix::io::Errno;

use crate::collect::frame::{self, Source};
use crate::logs::Origin;
use crate::logs::pace::Pace;
use crate::logs::split::{self, Extent};
use crate::logs::syslog;
use tenantd_core::name::{AppName, TenantName};
use tenantd_host::inbox::{Descriptors, Inbox, Received};
use tenantd_host::syslog::{SOCKET, folder};

/// The longest message in bytes, above the default size of a sender's buffer. The rest is cut off.
const MESSAGE_MAX: usize = 256 * 1024;

/// How many messages, or bytes of them, of one tenant are passed on before those of the next one.
const TURN: (usize, usize) = (16, 64 * 1024);

/// How many lines a message may have. Further line ends become spaces.
const LINES_MAX: usize = 256;

/// How many events of epoll(7) to read at once.
const EVENTS: usize = 64;

/// All sockets.
#[derive(Debug)]
pub(super) struct Sockets {
    app: AppName,
    epoll: OwnedFd,
    open: Mutex<Open>,
    /// Locked from receiving a message until it is written, so that [`Sockets::remove`] can tell that all
    /// messages are.
    out: Mutex<Out>,
}

/// The open sockets, by their keys in epoll(7).
#[derive(Debug, Default)]
struct Open {
    by_key: HashMap<u64, Arc<Socket>>,
    of: HashMap<TenantName, u64>,
    next: u64,
}

#[derive(Debug)]
struct Socket {
    tenant: TenantName,
    inbox: Inbox,
    /// Device and inode of its name.
    at: (u64, u64),
    pace: Mutex<Pace>,
}

#[derive(Debug)]
struct Out {
    fifo: OwnedFd,
    message: Box<[u8]>,
    frames: Vec<u8>,
}

/// What is left of a socket after messages were received.
#[derive(Debug)]
enum Left {
    /// It may have more, which is to be received then, or at once.
    More(Arc<Socket>, Option<Instant>),
    /// It has no more.
    Nothing,
    /// It is being closed.
    Closed,
}

impl Sockets {
    /// # Errors
    /// What epoll_create1(2) reports.
    pub(super) fn new(app: AppName, fifo: OwnedFd) -> io::Result<Self> {
        Ok(Self {
            app,
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            open: Mutex::default(),
            out: Mutex::new(Out {
                fifo,
                message: vec![0; MESSAGE_MAX].into_boxed_slice(),
                frames: Vec::new(),
            }),
        })
    }

    /// Starts the thread that receives.
    ///
    /// # Errors
    /// What pthread_create(3) reports.
    pub(super) fn start(self: &Arc<Self>) -> io::Result<()> {
        let sockets = Arc::clone(self);
        let receive = move || {
            if let Err(error) = sockets.receive() {
                // The supervisor starts another collector.
                tracing::error!(%error, "cannot receive the tenants' messages any longer");
                std::process::exit(1);
            }
        };
        thread::Builder::new()
            .name("receive".into())
            .spawn(receive)
            .map(drop)
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn out(&self) -> MutexGuard<'_, Out> {
        self.out.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The tenants that have a socket.
    pub(super) fn tenants(&self) -> Vec<TenantName> {
        self.open().of.keys().cloned().collect()
    }

    /// Makes a tenant's socket, unless it exists under its name.
    ///
    /// # Errors
    /// See [`Inbox::bind`].
    pub(super) fn add(&self, tenant: &TenantName) -> io::Result<()> {
        let open = self.open();
        let folder = folder(&self.app, tenant);
        let at =
            || fs::symlink_metadata(folder.join(SOCKET)).map(|found| (found.dev(), found.ino()));
        if let Some(found) = open.get(tenant)
            && at().is_ok_and(|at| at == found.at)
        {
            return Ok(());
        }
        let inbox = Inbox::bind(&folder, SOCKET, Descriptors::Refused)?;
        let at = at()?;
        self.insert(open, tenant, inbox, at)
    }

    fn insert(
        &self,
        mut open: MutexGuard<'_, Open>,
        tenant: &TenantName,
        inbox: Inbox,
        at: (u64, u64),
    ) -> io::Result<()> {
        let key = open.next;
        open.next += 1;
        let data = epoll::EventData::new_u64(key);
        epoll::add(&self.epoll, &inbox, data, epoll::EventFlags::IN)?;
        let before = open.take(tenant);
        open.of.insert(tenant.clone(), key);
        let tenant = tenant.clone();
        let pace = Mutex::new(Pace::new(None));
        let socket = Arc::new(Socket {
            tenant,
            inbox,
            at,
            pace,
        });
        open.by_key.insert(key, socket);
        drop(open);
        before.map_or(Ok(()), |before| self.empty(before))
    }

    /// Closes a tenant's socket after all that was sent to it is written.
    ///
    /// # Errors
    /// Those of receiving and of writing.
    pub(super) fn remove(&self, tenant: &TenantName) -> io::Result<()> {
        let Some(socket) = self.open().take(tenant) else {
            return Ok(());
        };
        self.empty(socket)
    }

    /// Passes on what a socket that was taken out has.
    fn empty(&self, mut socket: Arc<Socket>) -> io::Result<()> {
        socket.inbox.refuse_more()?;
        loop {
            match self.take(socket)? {
                Left::More(same, _) => socket = same,
                Left::Nothing | Left::Closed => return Ok(()),
            }
        }
    }

    /// Closes all sockets as [`Sockets::remove`] does.
    ///
    /// # Errors
    /// The first error; the other sockets are closed nevertheless.
    pub(super) fn end(&self) -> io::Result<()> {
        let mut done = Ok(());
        for tenant in self.tenants() {
            done = done.and(self.remove(&tenant));
        }
        done
    }

    /// Writes frames of lines of another source.
    ///
    /// # Errors
    /// What write(2) reports.
    pub(super) fn pass_on(&self, frames: &[u8]) -> io::Result<()> {
        frame::write(&self.out().fifo, frames)
    }

    fn receive(&self) -> io::Result<()> {
        let mut events: Vec<epoll::Event> = Vec::with_capacity(EVENTS);
        let mut waiting = BTreeSet::new();
        loop {
            events.clear();
            let next = self.end_waiting(&mut waiting)?;
            let spare = rustix::buffer::spare_capacity(&mut events);
            match epoll::wait(&self.epoll, spare, next.as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
            for event in &events {
                let key = event.data.u64();
                let socket = self.open().by_key.get(&key).cloned();
                if let Some(socket) = socket
                    && let Left::More(socket, Some(at)) = self.take(socket)?
                {
                    self.watch(&socket, key, epoll::EventFlags::empty())?;
                    waiting.insert((at, key));
                }
            }
        }
    }

    /// Passes on some messages of a socket. It comes by value, because the last one who drops it closes it,
    /// and that must not be this thread if a tenant sent descriptors.
    fn take(&self, socket: Arc<Socket>) -> io::Result<Left> {
        let mut out = self.out();
        let (mut count, mut bytes) = TURN;
        while count > 0 && bytes > 0 {
            let Some(received) = socket.inbox.receive(&mut out.message)? else {
                return Ok(Left::Nothing);
            };
            (count, bytes) = (count - 1, bytes.saturating_sub(received.len));
            let Received {
                len,
                is_cut,
                descriptors,
                // The kernel has closed them: nothing is left to do.
                lost: _,
                sender: _,
            } = received;
            out.pass_on(&socket.tenant, len, is_cut)?;
            if !descriptors.is_empty() {
                out.note(
                    &socket.tenant,
                    "a message to /dev/log had file descriptors: /dev/log is closed until the tenant \
                     is provisioned again",
                )?;
                self.close_hostile(socket, descriptors);
                return Ok(Left::Closed);
            }
        }
        let read = (TURN.1 - bytes, TURN.0 - count);
        let mut pace = socket.pace.lock().unwrap_or_else(PoisonError::into_inner);
        let at = pace.read(read, Instant::now());
        drop(pace);
        Ok(Left::More(socket, at))
    }

    /// Closes a socket to which a tenant sent descriptors. No program that logs does that, and closing
    /// them may take as long as the tenant likes.
    fn close_hostile(&self, socket: Arc<Socket>, descriptors: Vec<OwnedFd>) {
        let mut open = self.open();
        if open
            .get(&socket.tenant)
            .is_some_and(|it| Arc::ptr_eq(it, &socket))
        {
            drop(open.take(&socket.tenant));
        }
        let close = move || {
            drop(descriptors);
            drop(socket);
        };
        // If no thread can be started, they are closed here.
        let _ = thread::Builder::new().name("close".into()).spawn(close);
    }
}

impl Open {
    fn get(&self, tenant: &TenantName) -> Option<&Arc<Socket>> {
        self.by_key.get(self.of.get(tenant)?)
    }

    fn take(&mut self, tenant: &TenantName) -> Option<Arc<Socket>> {
        self.by_key.remove(&self.of.remove(tenant)?)
    }
}

impl Out {
    /// Writes the message in the buffer, each of its lines with what the message says of itself.
    fn pass_on(&mut self, tenant: &TenantName, len: usize, is_cut: bool) -> io::Result<()> {
        self.frames.clear();
        encode(tenant, &self.message[..len], is_cut, &mut self.frames);
        frame::write(&self.fifo, &self.frames)
    }

    fn note(&mut self, tenant: &TenantName, text: &str) -> io::Result<()> {
        self.frames.clear();
        frame::encode(
            tenant,
            &Source::Note,
            text.as_bytes(),
            Extent::Whole,
            &mut self.frames,
        );
        frame::write(&self.fifo, &self.frames)
    }
}

fn encode(tenant: &TenantName, message: &[u8], is_cut: bool, frames: &mut Vec<u8>) {
    let parsed = syslog::parse(message);
    let source = Source::Origin(Origin::Syslog {
        level: parsed.level,
        facility: parsed.facility,
        identifier: parsed.identifier.map(str::to_owned),
        pid: parsed.pid,
    });
    let cut = match is_cut {
        true => Extent::Truncated,
        false => Extent::Whole,
    };
    if parsed.text.is_empty() {
        if parsed.identifier.is_some() {
            frame::encode(tenant, &source, b"", cut, frames);
        }
        return;
    }
    let lines = parsed.text.splitn(LINES_MAX, |&byte| byte == b'\n');
    let lines = lines.map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let mut lines = lines.filter(|line| !line.is_empty()).peekable();
    while let Some(line) = lines.next() {
        let joined: Vec<u8>;
        let line = match line.contains(&b'\n') {
            true => {
                joined = line
                    .iter()
                    .map(|&byte| if byte == b'\n' { b' ' } else { byte })
                    .collect();
                &joined
            }
            false => line,
        };
        let is_last = lines.peek().is_none();
        for (piece, continues) in split::pieces(line) {
            let extent = match (continues, is_last) {
                (true, _) => Extent::Continues,
                (false, true) => cut,
                (false, false) => Extent::Whole,
            };
            frame::encode(tenant, &source, piece, extent, frames);
        }
    }
}
