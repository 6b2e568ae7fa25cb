//! Watches leaves becoming empty or populated, with one inotify instance for all leaves.

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

/// Bytes of the read buffer. An event of a file has no name, so it takes 16 bytes.
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
    by_tenant: HashMap<TenantName, Vec<i32>>,
    changed: VecDeque<TenantName>,
}

impl Watch {
    /// Makes a watch without leaves, on the current tokio runtime.
    ///
    /// # Errors
    /// A [`Failure`] of stage cgroup; `EMFILE` if the user has too many inotify instances.
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

    /// Adds a leaf: the part of its program, and the whole, where a launch of an earlier version is.
    ///
    /// # Errors
    /// A [`Failure`] of stage cgroup.
    pub fn add(&self, leaf: &Leaf) -> Result<(), Failure> {
        let mut numbers = Vec::with_capacity(2);
        for part in [leaf.path(), &leaf.program()] {
            let path = part.join("cgroup.events");
            match inotify::add_watch(&self.inotify, &path, WatchFlags::MODIFY) {
                Ok(number) => numbers.push(number),
                // An earlier version made the leaf.
                Err(Errno::NOENT) if part != leaf.path() => {}
                Err(errno) => return Err(failure(&path, &errno.into())),
            }
        }
        let mut watched = self.watched();
        let tenant = leaf.tenant().clone();
        for number in &numbers {
            watched.by_number.insert(*number, tenant.clone());
        }
        let old = watched.by_tenant.insert(tenant, numbers.clone());
        for old in old.into_iter().flatten() {
            if !numbers.contains(&old) {
                watched.by_number.remove(&old);
                // The cgroup was recreated. Remove the watch on the old, deleted file.
                self.remove_watch(leaf.tenant(), old)?;
            }
        }
        Ok(())
    }

    fn remove_watch(&self, tenant: &TenantName, number: i32) -> Result<(), Failure> {
        match inotify::remove_watch(&self.inotify, number) {
            // The kernel removed the watch together with the leaf.
            Ok(()) | Err(Errno::INVAL) => Ok(()),
            Err(errno) => Err(Failure::errno(
                Stage::Cgroup,
                tenant.as_str(),
                errno.raw_os_error(),
            )),
        }
    }

    /// Removes the leaf of this tenant.
    ///
    /// # Errors
    /// A [`Failure`] of stage cgroup.
    pub fn remove(&self, tenant: &TenantName) -> Result<(), Failure> {
        let mut watched = self.watched();
        watched.changed.retain(|name| name != tenant);
        for number in watched.by_tenant.remove(tenant).unwrap_or_default() {
            watched.by_number.remove(&number);
            self.remove_watch(tenant, number)?;
        }
        Ok(())
    }

    /// Waits until a leaf becomes empty or populated, or is removed, and returns its tenant. The
    /// caller reads the new state from the leaf. Cancel-safe.
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
                // Events were lost, so report all leaves.
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
        // No code panics while the lock is held.
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}
