//! Limits that a tenant has reached: how often, and a notification when it happens.
//!
//! The kernel counts them in files of the cgroup, and notifies of a change of these files, see inotify(7). A watch
//! notifies once: a tenant that reaches a limit a thousand times a second wakes the supervisor once, until the
//! tenant is watched again. The quota of processor time has no such file.

use std::collections::HashMap;
use std::fs;
use std::io::{self, ErrorKind};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;

use crate::launch::ready_fd::ReadyFd;
use tenantd_core::cgroup::GroupLimits;
use tenantd_core::name::TenantName;

/// Bytes of the read buffer. An event of a file has no name, so it takes 16 bytes.
const BUFFER: usize = 4096;

/// A limit that may be reached.
struct Counted {
    /// Its key, as in the manifest.
    name: String,
    file: String,
    /// The line of the file that counts it.
    line: &'static str,
}

/// The files that count. Those of huge pages only for the sizes that are limited.
fn counted(limits: &GroupLimits) -> Vec<Counted> {
    let of = |name: &str, file: &str, line| Counted {
        name: name.to_owned(),
        file: file.to_owned(),
        line,
    };
    let mut all = vec![
        of("memory.max", "memory.events", "oom_kill"),
        of("pids.max", "pids.events", "max"),
    ];
    let sizes = limits.each().filter(|(key, ..)| key.name == "hugetlb");
    all.extend(sizes.map(|(_, size, _)| {
        let (name, file) = (format!("hugetlb {size}"), format!("hugetlb.{size}.events"));
        of(&name, &file, "max")
    }));
    all
}

/// How often each limit of a cgroup was reached since the cgroup was made, by its key: processes that were
/// killed because memory was used up, processes and threads that were refused, and huge pages that were.
///
/// # Errors
/// Those of reading its files. One that is missing counts nothing.
pub fn reached(cgroup: &Path, limits: &GroupLimits) -> io::Result<Vec<(String, u64)>> {
    let mut all = Vec::new();
    for Counted { name, file, line } in counted(limits) {
        let text = match fs::read_to_string(cgroup.join(file)) {
            Ok(text) => text,
            Err(error) if is_gone(&error) => continue,
            Err(error) => return Err(error),
        };
        let mut lines = text.lines().filter_map(|line| line.split_once(' '));
        let count = lines.find_map(|(key, count)| (key == line).then(|| count.trim().parse()));
        if let Some(Ok(count)) = count {
            all.push((name, count));
        }
    }
    Ok(all)
}

/// Whether the controller is not enabled, or the cgroup was removed.
fn is_gone(error: &io::Error) -> bool {
    error.kind() == ErrorKind::NotFound || error.raw_os_error() == Some(libc::ENODEV)
}

/// Notifies that limits were reached, for any number of cgroups, with one descriptor.
#[derive(Debug)]
pub struct LimitWatch {
    inotify: ReadyFd,
    by_number: Mutex<HashMap<i32, TenantName>>,
}

impl LimitWatch {
    /// Makes a watch without cgroups, on the current tokio runtime.
    ///
    /// # Errors
    /// `EMFILE` if the user has too many inotify instances.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn new() -> io::Result<Self> {
        let fd = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        Ok(Self {
            inotify: ReadyFd::new(fd)?,
            by_number: Mutex::default(),
        })
    }

    /// Watches the cgroup of a tenant until the next notification of it.
    ///
    /// # Errors
    /// `ENOSPC` if the user has too many watches.
    pub fn watch(
        &self,
        tenant: &TenantName,
        cgroup: &Path,
        limits: &GroupLimits,
    ) -> io::Result<()> {
        for Counted { file, .. } in counted(limits) {
            let flags = WatchFlags::MODIFY | WatchFlags::ONESHOT;
            match inotify::add_watch(&self.inotify, cgroup.join(file), flags) {
                Ok(number) => drop(self.by_number().insert(number, tenant.clone())),
                Err(Errno::NOENT | Errno::NODEV) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }

    /// Waits for notifications, and returns their tenants. Cancel-safe.
    ///
    /// # Errors
    /// Those of reading an inotify(7) instance.
    pub async fn next(&self) -> io::Result<Vec<TenantName>> {
        loop {
            let tenants = self.inotify.read_with(|fd| self.take_in(fd)).await?;
            if !tenants.is_empty() {
                return Ok(tenants);
            }
        }
    }

    fn take_in(&self, fd: BorrowedFd<'_>) -> Result<Vec<TenantName>, Errno> {
        let mut buffer = [MaybeUninit::uninit(); BUFFER];
        let mut reader = inotify::Reader::new(fd, &mut buffer);
        let mut tenants = Vec::new();
        loop {
            let event = reader.next()?;
            let kind = event.events();
            if kind.contains(ReadFlags::QUEUE_OVERFLOW) {
                // Events were lost, so report all.
                tenants.extend(self.by_number().values().cloned());
            } else if kind.contains(ReadFlags::IGNORED) {
                // It has notified, or the cgroup was removed. Numbers are not used again.
                self.by_number().remove(&event.wd());
            } else if let Some(tenant) = self.by_number().get(&event.wd()) {
                tenants.push(tenant.clone());
            }
            if reader.is_buffer_empty() {
                return Ok(tenants);
            }
        }
    }

    fn by_number(&self) -> MutexGuard<'_, HashMap<i32, TenantName>> {
        // No code panics while the lock is held.
        self.by_number
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl AsFd for LimitWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}
