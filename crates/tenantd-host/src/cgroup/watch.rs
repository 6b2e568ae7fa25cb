//! Learns when a leaf becomes empty or populated: one inotify instance for all leaves.

use std::collections::{HashMap, VecDeque};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;

use super::{Leaf, failure};
use crate::launch::ready_fd::ReadyFd;
use tenantd_core::name::TenantName;
use tenantd_core::stage::{Failure, Stage};

/// Room for the events of one read: 16 bytes each, as those of a file bear no name.
const BUFFER: usize = 4096;

/// Watches `cgroup.events` of any number of leaves with one descriptor.
#[derive(Debug)]
pub struct Watch {
    inotify: ReadyFd,
    watched: Mutex<Watched>,
}

#[derive(Debug, Default)]
struct Watched {
    by_number: HashMap<i32, TenantName>,
    by_tenant: HashMap<TenantName, i32>,
    changed: VecDeque<TenantName>,
}

impl Watch {
    /// A watch of nothing yet, on the current tokio runtime.
    ///
    /// # Errors
    /// A [`Failure`] of stage cgroup; `EMFILE` when the user has too many inotify instances.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn new() -> Result<Self, Failure> {
        let failed = |error: std::io::Error| {
            let errno = error.raw_os_error().unwrap_or(libc::EIO);
            Failure::errno(Stage::Cgroup, "watch", errno)
        };
        let fd = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)
            .map_err(|errno| failed(errno.into()))?;
        Ok(Self {
            inotify: ReadyFd::new(fd).map_err(failed)?,
            watched: Mutex::default(),
        })
    }

    /// Watches this leaf too.
    ///
    /// # Errors
    /// A [`Failure`] of stage cgroup.
    pub fn add(&self, leaf: &Leaf) -> Result<(), Failure> {
        let path = leaf.path().join("cgroup.events");
        let number = inotify::add_watch(&self.inotify, &path, WatchFlags::MODIFY)
            .map_err(|errno| failure(&path, &errno.into()))?;
        let mut watched = self.watched();
        let tenant = leaf.tenant().clone();
        watched.by_number.insert(number, tenant.clone());
        match watched.by_tenant.insert(tenant, number) {
            Some(old) if old != number => {
                watched.by_number.remove(&old);
                // The leaf was made anew. Its old file is gone by name, but this watch keeps it.
                self.remove_watch(leaf.tenant(), old)
            }
            Some(_) | None => Ok(()),
        }
    }

    fn remove_watch(&self, tenant: &TenantName, number: i32) -> Result<(), Failure> {
        match inotify::remove_watch(&self.inotify, number) {
            // The kernel took it away together with the leaf.
            Ok(()) | Err(Errno::INVAL) => Ok(()),
            Err(errno) => Err(Failure::errno(
                Stage::Cgroup,
                tenant.as_str(),
                errno.raw_os_error(),
            )),
        }
    }

    /// Watches this tenant's leaf no longer.
    ///
    /// # Errors
    /// A [`Failure`] of stage cgroup.
    pub fn remove(&self, tenant: &TenantName) -> Result<(), Failure> {
        let mut watched = self.watched();
        watched.changed.retain(|name| name != tenant);
        let Some(number) = watched.by_tenant.remove(tenant) else {
            return Ok(());
        };
        watched.by_number.remove(&number);
        self.remove_watch(tenant, number)
    }

    /// Waits for a tenant whose leaf became empty or populated, or is gone: ask the leaf which.
    /// Cancelling loses nothing.
    ///
    /// # Errors
    /// Those of reading an inotify(7) instance.
    pub async fn next(&self) -> std::io::Result<TenantName> {
        loop {
            if let Some(tenant) = self.watched().changed.pop_front() {
                return Ok(tenant);
            }
            self.inotify.read_with(|fd| self.take_in(fd)).await?;
        }
    }

    fn take_in(&self, fd: BorrowedFd<'_>) -> Result<(), Errno> {
        let mut buffer = [MaybeUninit::uninit(); BUFFER];
        let mut reader = inotify::Reader::new(fd, &mut buffer);
        let mut watched = self.watched();
        loop {
            let event = reader.next()?;
            if event.events().contains(ReadFlags::QUEUE_OVERFLOW) {
                // Which events were lost is not known, so everybody is looked at.
                let all: Vec<TenantName> = watched.by_tenant.keys().cloned().collect();
                watched.changed.extend(all);
            } else if let Some(tenant) = watched.by_number.get(&event.wd()).cloned()
                && watched.changed.back() != Some(&tenant)
            {
                watched.changed.push_back(tenant);
            }
            if reader.is_buffer_empty() {
                return Ok(());
            }
        }
    }

    fn watched(&self) -> MutexGuard<'_, Watched> {
        // Nothing panics while it is held.
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}
