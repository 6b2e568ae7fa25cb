//! The tenants' notify sockets. One thread, made at the start, receives from all of them and sends the
//! notices to the loop.
//!
//! A tenant is hostile. What it can do to this thread has a limit: so many messages per [`WINDOW`] are
//! received of a socket, and the rest waits in the kernel, which makes the sender wait. Descriptors that
//! come along are closed by [`closer`], and nothing more is received of a tenant while too many of its
//! wait for that.
//!
//! Each launch has a socket of its own, so a late message of an earlier launch is not taken for one of
//! the present launch.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, Timespec, epoll, eventfd};
use rustix::io::Errno;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::ready::notice::{MESSAGE_MAX, Notice};
use tenantd_core::name::TenantName;
use tenantd_core::supervisor::event::LaunchId;
use tenantd_host::closer::{self, Unclosed};
use tenantd_host::inbox::Inbox;
use tenantd_host::launch::memory::keep_stack_from_children;

/// The time to which the limits of a socket apply.
const WINDOW: Duration = Duration::from_millis(100);

/// How many messages of one socket are received per [`WINDOW`].
const MESSAGES_MAX: usize = 8;

/// How often per [`WINDOW`] messages of one socket are received.
const WAKEUPS_MAX: usize = 4;

/// How many events of epoll(7) to read at once.
const EVENTS: usize = 64;

/// The key of the eventfd in epoll(7).
const COMMANDED: u64 = u64::MAX;

/// What the thread sends to the loop.
#[derive(Debug)]
pub enum Said {
    /// A program sent a notice.
    Notice {
        /// Its tenant.
        tenant: TenantName,
        /// Its launch.
        launch: LaunchId,
        /// The notice.
        notice: Notice,
    },
    /// Nothing more is received until [`Notices::resume`].
    Paused,
}

/// The side of the loop. Clones are the same.
#[derive(Debug, Clone)]
pub struct Notices(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// The sockets that the thread has, for the next program.
    open: Mutex<BTreeMap<TenantName, (LaunchId, Arc<Inbox>)>>,
    commands: mpsc::Sender<Command>,
    wake: OwnedFd,
}

enum Command {
    Add(TenantName, LaunchId, Arc<Inbox>),
    Remove(TenantName, Arc<Inbox>),
    Pause,
    Resume,
}

impl Notices {
    /// Starts the thread. What it receives is sent to the receiver.
    ///
    /// # Errors
    /// What epoll_create1(2), eventfd(2) or pthread_create(3) reports.
    pub fn start() -> io::Result<(Self, UnboundedReceiver<Said>)> {
        closer::start()?;
        let (said, receiver) = unbounded_channel();
        let (commands, commanded) = mpsc::channel();
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let data = epoll::EventData::new_u64(COMMANDED);
        epoll::add(&epoll, &wake, data, epoll::EventFlags::IN)?;
        let thread = Thread {
            epoll,
            wake: wake.try_clone()?,
            commanded,
            said,
            sockets: HashMap::new(),
            of: HashMap::new(),
            unclosed: HashMap::new(),
            next: 0,
            resting: Vec::new(),
            paused: false,
            buffer: vec![0; MESSAGE_MAX].into_boxed_slice(),
        };
        let builder = thread::Builder::new().name("notices".into());
        builder.spawn(move || {
            keep_stack_from_children();
            thread.run();
        })?;
        let shared = Shared {
            open: Mutex::default(),
            commands,
            wake,
        };
        Ok((Self(Arc::new(shared)), receiver))
    }

    fn open(&self) -> MutexGuard<'_, BTreeMap<TenantName, (LaunchId, Arc<Inbox>)>> {
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn command(&self, command: Command) {
        // The thread ends only after an error, which it has logged.
        let _ended = self.0.commands.send(command);
        // The counter is never so large that this fails.
        let _full = rustix::io::write(&self.0.wake, &1u64.to_ne_bytes());
    }

    /// Receives from the socket of a launch, and not from an earlier one of its tenant any more.
    pub fn add(&self, tenant: &TenantName, launch: LaunchId, inbox: Inbox) {
        let inbox = Arc::new(inbox);
        let before = self
            .open()
            .insert(tenant.clone(), (launch, Arc::clone(&inbox)));
        if let Some((_, before)) = before {
            self.command(Command::Remove(tenant.clone(), before));
        }
        self.command(Command::Add(tenant.clone(), launch, inbox));
    }

    /// Closes a tenant's socket, if it has one.
    pub fn remove(&self, tenant: &TenantName) {
        let before = self.open().remove(tenant);
        if let Some((_, before)) = before {
            self.command(Command::Remove(tenant.clone(), before));
        }
    }

    /// Receives nothing more, so that nothing that is received is lost when this process executes another
    /// program. The messages wait in their sockets. [`Said::Paused`] comes after the last notice.
    pub fn pause(&self) {
        self.command(Command::Pause);
    }

    /// Receives again.
    pub fn resume(&self) {
        self.command(Command::Resume);
    }

    /// The sockets, for the next program.
    #[must_use]
    pub fn sockets(&self) -> Vec<(TenantName, Arc<Inbox>)> {
        let open = self.open();
        let sockets = open.iter();
        sockets
            .map(|(tenant, (_, inbox))| (tenant.clone(), Arc::clone(inbox)))
            .collect()
    }
}

/// The side of the thread.
struct Thread {
    epoll: OwnedFd,
    wake: OwnedFd,
    commanded: mpsc::Receiver<Command>,
    said: UnboundedSender<Said>,
    sockets: HashMap<u64, Socket>,
    of: HashMap<TenantName, u64>,
    /// What former launches have sent that is not closed yet.
    unclosed: HashMap<TenantName, Unclosed>,
    next: u64,
    /// The sockets from which nothing is received until their time.
    resting: Vec<(Instant, u64)>,
    paused: bool,
    buffer: Box<[u8]>,
}

struct Socket {
    tenant: TenantName,
    launch: LaunchId,
    inbox: Arc<Inbox>,
    unclosed: Unclosed,
    /// What is left of its limits until `until`.
    until: Instant,
    messages: usize,
    wakeups: usize,
}

impl Thread {
    fn run(mut self) {
        let error = loop {
            if let Err(error) = self.turn() {
                break error;
            }
        };
        tracing::error!(%error, "cannot receive the programs' notices any longer");
    }

    /// Waits until something is to be done, and does it.
    fn turn(&mut self) -> io::Result<()> {
        let mut events: Vec<epoll::Event> = Vec::with_capacity(EVENTS);
        let first = self.resting.iter().map(|(until, _)| until).min();
        let wait = first.filter(|_| !self.paused).map(|until| {
            // Rounded up to a millisecond, so that it is over then.
            let wait = until.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
            Timespec {
                tv_sec: i64::try_from(wait.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: wait.subsec_nanos().into(),
            }
        });
        let space = rustix::buffer::spare_capacity(&mut events);
        match epoll::wait(&self.epoll, space, wait.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        for event in &events {
            match event.data.u64() {
                COMMANDED => self.obey()?,
                // After a pause has begun, the messages stay where they are.
                key if self.paused => self.rest(key, Instant::now()),
                key => self.receive(key)?,
            }
        }
        self.wake_rested()
    }

    fn obey(&mut self) -> io::Result<()> {
        // Nothing to read is no error: another command has emptied it.
        let _empty = rustix::io::read(&self.wake, &mut [0; 8]);
        while let Ok(command) = self.commanded.try_recv() {
            match command {
                Command::Add(tenant, launch, inbox) => self.add(tenant, launch, inbox)?,
                Command::Remove(tenant, inbox) => self.remove(&tenant, inbox)?,
                Command::Pause => {
                    self.paused = true;
                    // The loop has ended.
                    let _ended = self.said.send(Said::Paused);
                }
                Command::Resume => self.paused = false,
            }
        }
        Ok(())
    }

    fn add(&mut self, tenant: TenantName, launch: LaunchId, inbox: Arc<Inbox>) -> io::Result<()> {
        let key = self.next;
        self.next += 1;
        epoll::add(&self.epoll, &*inbox, epoll::EventData::new_u64(key), ONCE)?;
        self.of.insert(tenant.clone(), key);
        let unclosed = self.unclosed.remove(&tenant).unwrap_or_default();
        let socket = Socket {
            tenant,
            launch,
            inbox,
            unclosed,
            until: Instant::now(),
            messages: 0,
            wakeups: 0,
        };
        self.sockets.insert(key, socket);
        Ok(())
    }

    /// Closes a socket. A queued message would make the last close close its descriptors, in whichever
    /// thread that is: so no more are sent, and all are received.
    fn remove(&mut self, tenant: &TenantName, inbox: Arc<Inbox>) -> io::Result<()> {
        inbox.refuse_more()?;
        let key = self.of.remove(tenant);
        let socket = key.and_then(|key| self.sockets.remove(&key));
        let unclosed = socket.as_ref().map(|socket| socket.unclosed.clone());
        let unclosed = unclosed.unwrap_or_default();
        while let Some(received) = inbox.receive(&mut self.buffer)? {
            closer::close(received.descriptors, &unclosed);
        }
        self.unclosed.retain(|_, unclosed| !unclosed.is_empty());
        if !unclosed.is_empty() {
            self.unclosed.insert(tenant.clone(), unclosed);
        }
        if let Some(socket) = socket {
            epoll::delete(&self.epoll, &*socket.inbox)?;
        }
        drop(inbox);
        Ok(())
    }

    /// Receives what a socket has, up to its limits.
    fn receive(&mut self, key: u64) -> io::Result<()> {
        let Some(socket) = self.sockets.get_mut(&key) else {
            return Ok(());
        };
        let now = Instant::now();
        if now >= socket.until {
            socket.until = now + WINDOW;
            (socket.messages, socket.wakeups) = (MESSAGES_MAX, WAKEUPS_MAX);
        }
        socket.wakeups = socket.wakeups.saturating_sub(1);
        while socket.messages > 0 && !socket.unclosed.is_full() {
            let Some(received) = socket.inbox.receive(&mut self.buffer)? else {
                break;
            };
            socket.messages -= 1;
            closer::close(received.descriptors, &socket.unclosed);
            let message = &self.buffer[..received.len];
            let Some(notice) = Notice::parse(message).filter(|_| !received.is_cut) else {
                continue;
            };
            let said = Said::Notice {
                tenant: socket.tenant.clone(),
                launch: socket.launch,
                notice,
            };
            // The loop has ended.
            let _ended = self.said.send(said);
        }
        if socket.messages == 0 || socket.wakeups == 0 || socket.unclosed.is_full() {
            let until = socket.until;
            self.rest(key, until);
            return Ok(());
        }
        self.await_more(key)
    }

    /// Receives nothing from a socket until the time has come.
    fn rest(&mut self, key: u64, until: Instant) {
        self.resting.push((until, key));
    }

    fn await_more(&self, key: u64) -> io::Result<()> {
        match self.sockets.get(&key) {
            Some(socket) => {
                let data = epoll::EventData::new_u64(key);
                Ok(epoll::modify(&self.epoll, &*socket.inbox, data, ONCE)?)
            }
            None => Ok(()),
        }
    }

    /// Receives again from the sockets whose time has come.
    fn wake_rested(&mut self) -> io::Result<()> {
        let now = Instant::now();
        let waiting = std::mem::take(&mut self.resting);
        for (until, key) in waiting {
            match self.paused || until > now {
                true => self.rest(key, until),
                false => self.await_more(key)?,
            }
        }
        Ok(())
    }
}

/// One event, until the next epoll_ctl(2).
const ONCE: epoll::EventFlags = epoll::EventFlags::IN.union(epoll::EventFlags::ONESHOT);
