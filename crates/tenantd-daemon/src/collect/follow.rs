//! Follows the log files that programs write themselves, through rotations of any kind: a rename, a copy
//! and truncation, or a removal. A file is its inode, whatever its name is at the moment.
//!
//! One thread reads all files, so that a file system that hangs delays no message to syslog. It reads a
//! piece of one file at a time. A folder is watched with inotify(7); an event only says which file to
//! look at.

mod file;
mod following;
mod lines;
mod positions;
mod queue;
mod tenant;
mod watch;

use std::io;
use std::os::fd::OwnedFd;
use std::sync::mpsc::{Receiver, Sender, SyncSender, TryRecvError, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime};

use rustix::event::{EventfdFlags, eventfd};

use crate::collect::Files;
use crate::collect::sockets::Sockets;
use following::Following;
use tenantd_core::name::{AppName, TenantName};

/// How long to wait for the rest of a tenant's files. A file system may hang.
const LIMIT: Duration = Duration::from_secs(5);

/// The thread that follows files.
#[derive(Debug)]
pub(super) struct Follower {
    orders: Mutex<Sender<Order>>,
    wake: Arc<OwnedFd>,
    /// What the thread was late with.
    late: Mutex<Option<Receiver<()>>>,
}

#[derive(Debug)]
enum Order {
    Follow(
        TenantName,
        (Vec<Files>, Option<u64>),
        Option<SystemTime>,
        SyncSender<()>,
    ),
    /// Reads the rest of a tenant's files, or of all, and follows them no longer.
    Remove(Option<TenantName>, SyncSender<()>),
}

impl Follower {
    /// Starts the thread.
    ///
    /// # Errors
    /// What inotify_init1(2), eventfd(2) or pthread_create(3) reports.
    pub(super) fn start(app: &AppName, out: &Arc<Sockets>) -> io::Result<Self> {
        let (orders, received) = channel();
        let wake = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let out = Arc::clone(out);
        let mut following = Following::new(app.clone(), out, received, Arc::clone(&wake))?;
        let run = move || {
            if let Err(error) = following.run() {
                tracing::error!(%error, "cannot follow log files any longer");
                // The supervisor starts another collector.
                std::process::exit(1);
            }
        };
        thread::Builder::new().name("follow".into()).spawn(run)?;
        let orders = Mutex::new(orders);
        Ok(Self {
            orders,
            wake,
            late: Mutex::default(),
        })
    }

    /// Follows these files of a tenant, instead of others. They are followed when this returns: what a program
    /// that starts then adds to one that it had before is new. A file system that hangs delays this once. With the
    /// files comes how many bytes of them to pass on a second.
    pub(super) fn follow(
        &self,
        tenant: &TenantName,
        files: (Vec<Files>, Option<u64>),
        since: Option<SystemTime>,
    ) {
        let is_none = files.0.is_empty();
        let (say, done) = sync_channel(1);
        self.order(Order::Follow(tenant.clone(), files, since, say));
        let mut late = self.late.lock().unwrap_or_else(PoisonError::into_inner);
        let hangs = late
            .as_ref()
            .is_some_and(|late| late.try_recv() == Err(TryRecvError::Empty));
        if !is_none && !hangs {
            *late = match done.recv_timeout(LIMIT) {
                Ok(()) => None,
                Err(_) => {
                    tracing::warn!(%tenant, "{tenant}: its log files cannot be looked at in time");
                    Some(done)
                }
            };
        }
    }

    /// Passes on the rest of a tenant's files, and follows them no longer.
    ///
    /// # Errors
    /// If that takes too long.
    pub(super) fn remove(&self, tenant: &TenantName) -> io::Result<()> {
        self.finish(Some(tenant.clone()))
    }

    /// Passes on the rest of all files.
    ///
    /// # Errors
    /// If that takes too long.
    pub(super) fn end(&self) -> io::Result<()> {
        self.finish(None)
    }

    fn finish(&self, tenant: Option<TenantName>) -> io::Result<()> {
        let (say, done) = sync_channel(1);
        self.order(Order::Remove(tenant, say));
        done.recv_timeout(LIMIT).map_err(|_| {
            io::Error::new(
                io::ErrorKind::TimedOut,
                "its log files could not be read in time",
            )
        })
    }

    fn order(&self, order: Order) {
        let orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        // The thread ends only with the process.
        let _ended = orders.send(order);
        let _full = rustix::io::write(&*self.wake, &1_u64.to_ne_bytes());
    }
}
