//! Keeps the tenants' network namespaces alive without a descriptor each: as mounts in a mount namespace
//! that has nothing else but the sysfs of each.
//!
//! The mount namespace has one tmpfs, with a file per tenant, on which the tenant's network namespace is
//! mounted, and a folder `.sys/TENANT` for the sysfs. Two descriptors hold all of it, however many tenants there are: the mount namespace, and the
//! folder. Any thread opens a network namespace through that folder. Only a thread that is in the mount
//! namespace may mount there, so one thread, named `netns-mounts`, enters it and does nothing else.
//!
//! The host's mount table and those of tenants do not have these mounts. They end with the mount
//! namespace, that is with this process, unless the service manager or the next program has its descriptor.

#[cfg(test)]
mod as_root;
mod ended;
mod keeping;
mod sys;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use nix::sched::{CloneFlags, setns, unshare};
use nix::unistd::pivot_root;
use rustix::fs::{CWD, Dir, Mode, OFlags, open, openat, stat, unlink};
use rustix::io::Errno;
use rustix::mount::{
    MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, mount,
    mount_change, mount_move, move_mount, open_tree, unmount,
};
use tokio::sync::oneshot;

use super::Netns;
use crate::launch::memory::keep_stack_from_children;
use ended::Ended;
pub use keeping::Keeping;
use tenantd_core::name::{AppName, TenantName};

/// The name of the thread.
const THREAD: &str = "netns-mounts";

/// The mount namespace of the calling thread, see namespaces(7).
const OWN: &str = "/proc/thread-self/ns/mnt";

/// Its network namespace, which is that of all threads.
const HOME: &str = "/proc/thread-self/ns/net";

/// The stack of the thread in bytes: it needs little.
const STACK: usize = 128 << 10;

/// The network namespaces of an application.
#[derive(Debug)]
pub struct NetnsMounts {
    namespace: OwnedFd,
    folder: OwnedFd,
    /// At most two per tenant wait: that of its provision, release or adoption, and that to keep its sysfs. Sending never does.
    requests: Sender<Request>,
}

/// What the thread does.
#[derive(Debug)]
enum Work {
    Keep(OwnedFd),
    /// With the network namespace of this thread.
    KeepSys(OwnedFd),
    Remove,
}

type Reply = Box<dyn FnOnce(io::Result<()>) + Send>;

struct Request {
    tenant: TenantName,
    work: Work,
    reply: Reply,
}

impl NetnsMounts {
    /// Makes an empty mount namespace. `place` is an existing folder, on which it is built.
    ///
    /// # Errors
    /// What unshare(2), mount(2), pivot_root(2) or pthread_create(3) reports.
    pub fn new(app: &AppName, place: &Path) -> io::Result<Self> {
        let (app, place) = (app.clone(), place.to_owned());
        Self::start(move || {
            unshare(CloneFlags::CLONE_NEWNS)?;
            let own = open(OWN, OFlags::CLOEXEC, Mode::empty())?;
            empty(&place)?;
            open(mark(&app), OFlags::CREATE | OFlags::CLOEXEC, Mode::RUSR)?;
            Ok(own)
        })
    }

    /// Uses the mount namespace of an earlier supervisor again.
    ///
    /// # Errors
    /// If the descriptor is not one of a mount namespace that [`NetnsMounts::new`] has made for this
    /// application, or what setns(2) or pthread_create(3) reports.
    pub fn from_fd(app: &AppName, namespace: OwnedFd) -> io::Result<Self> {
        let app = app.clone();
        Self::start(move || {
            unshare(CloneFlags::CLONE_FS)?;
            setns(&namespace, CloneFlags::CLONE_NEWNS)?;
            stat(mark(&app))?;
            ended::end_left()?;
            Ok(namespace)
        })
    }

    /// Starts the thread. `enter` enters the mount namespace and returns its descriptor.
    fn start(enter: impl FnOnce() -> io::Result<OwnedFd> + Send + 'static) -> io::Result<Self> {
        let (requests, queue) = mpsc::channel();
        let (entered, begun) = mpsc::sync_channel(1);
        let thread = thread::Builder::new().name(THREAD.to_owned());
        thread.stack_size(STACK).spawn(move || {
            keep_stack_from_children();
            let opened = enter().and_then(|namespace| {
                let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
                Ok((namespace, open("/", flags, Mode::empty())?))
            });
            let is_entered = opened.is_ok();
            if entered.send(opened).is_ok() && is_entered {
                serve(&queue);
            }
        })?;
        let (namespace, folder) = begun.recv().map_err(|_| ended())??;
        Ok(Self {
            namespace,
            folder,
            requests,
        })
    }

    /// The mount namespace, for the service manager and the next program.
    #[must_use]
    pub fn namespace(&self) -> BorrowedFd<'_> {
        self.namespace.as_fd()
    }

    /// The folder, in which each tenant's network namespace has the tenant's name.
    #[must_use]
    pub fn folder(&self) -> BorrowedFd<'_> {
        self.folder.as_fd()
    }

    /// Opens the network namespace of a tenant. None if none is kept for it.
    ///
    /// # Errors
    /// What openat(2) reports.
    pub fn open(&self, tenant: &TenantName) -> io::Result<Option<Netns>> {
        let flags = OFlags::CLOEXEC | OFlags::NOFOLLOW;
        match openat(&self.folder, tenant.as_str(), flags, Mode::empty()) {
            // Without a mount it would be an empty file.
            Ok(fd) => Netns::from_fd(fd).map(|netns| is_netns(&netns).then_some(netns)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// The tenants whose network namespace is kept.
    ///
    /// # Errors
    /// Those of reading the folder.
    pub fn tenants(&self) -> io::Result<Vec<TenantName>> {
        let mut found = Vec::new();
        for entry in Dir::read_from(&self.folder)? {
            let entry = entry?;
            // The mark begins with a dot, as no tenant's name does.
            found.extend(
                entry
                    .file_name()
                    .to_str()
                    .ok()
                    .and_then(|name| name.parse().ok()),
            );
        }
        Ok(found)
    }

    /// Keeps a tenant's network namespace alive, instead of one that was kept before.
    ///
    /// # Errors
    /// What open_tree(2), move_mount(2) or openat(2) reports.
    pub async fn keep(&self, tenant: &TenantName, netns: &Netns) -> io::Result<()> {
        let netns = netns.as_fd().try_clone_to_owned()?;
        self.ask(tenant, Work::Keep(netns)).await
    }

    /// Keeps the sysfs of a tenant's network namespace too, as long as that: the first launch there has made it. Does not
    /// wait for it. If it fails, or the first launch does, each launch makes it again, which takes longer.
    pub fn keep_sysfs(&self, tenant: &TenantName) {
        let name = tenant.clone();
        let reply: Reply = Box::new(move |outcome| {
            if let Err(error) = outcome {
                tracing::debug!(tenant = %name, %error, "cannot keep its sysfs");
            }
        });
        // The thread has no proc in its mount namespace.
        match open(HOME, OFlags::CLOEXEC, Mode::empty()) {
            // Otherwise this process is ending.
            Ok(home) => drop(self.request(tenant, Work::KeepSys(home), reply)),
            Err(errno) => reply(Err(errno.into())),
        }
    }

    /// Keeps a tenant's network namespace alive no longer. Succeeds if it was not kept.
    ///
    /// # Errors
    /// What umount(2) or unlink(2) reports.
    pub async fn remove(&self, tenant: &TenantName) -> io::Result<()> {
        self.ask(tenant, Work::Remove).await
    }

    async fn ask(&self, tenant: &TenantName, work: Work) -> io::Result<()> {
        let (reply, done) = oneshot::channel();
        let reply: Reply = Box::new(move |outcome| {
            // If nobody waits any more, nobody needs to know.
            let _gone = reply.send(outcome);
        });
        self.request(tenant, work, reply)?;
        done.await.map_err(|_| ended())?
    }

    fn request(&self, tenant: &TenantName, work: Work, reply: Reply) -> io::Result<()> {
        let tenant = tenant.clone();
        let request = Request {
            tenant,
            work,
            reply,
        };
        self.requests.send(request).map_err(|_| ended())
    }
}

fn ended() -> io::Error {
    io::Error::other(format!("the thread {THREAD} has ended"))
}

/// The file that marks a mount namespace as one of this application.
fn mark(app: &AppName) -> String {
    format!("/.{app}")
}

/// Whether this is a network namespace of nsfs, where all namespaces are.
fn is_netns(netns: &Netns) -> bool {
    super::is_one(netns.as_fd(), netns.inode())
}

/// Leaves nothing in the calling thread's mount namespace but an empty tmpfs.
fn empty(place: &Path) -> io::Result<()> {
    // Nothing that is mounted here shows on the host.
    mount_change(
        "/",
        MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC,
    )?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("tenantd", place, "tmpfs", flags, Some(c"mode=0700"))?;
    // Of this thread only, since unshare(2).
    rustix::process::chdir(place)?;
    match pivot_root(".", ".") {
        Ok(()) => unmount(".", UnmountFlags::DETACH)?,
        // The host runs on its initramfs, which cannot be replaced. It stays below.
        Err(nix::errno::Errno::EINVAL) => {
            mount_move(".", "/")?;
            rustix::process::chroot(".")?;
        }
        Err(errno) => return Err(errno.into()),
    }
    rustix::process::chdir("/")?;
    Ok(())
}

/// The main function of the thread: carries out requests until there is nobody who could make one. Those that are to be
/// removed at the same moment are removed together.
fn serve(queue: &Receiver<Request>) {
    while let Ok(first) = queue.recv() {
        let all: Vec<Request> = std::iter::once(first).chain(queue.try_iter()).collect();
        let removed = all.iter().filter(|one| matches!(one.work, Work::Remove));
        let mut ended = Ended::new(removed.count() > 1);
        let mut replies = Vec::new();
        for Request {
            tenant,
            work,
            reply,
        } in all
        {
            let name = tenant.as_str();
            match work {
                Work::Keep(netns) => reply(keep(&mut ended, name, &netns)),
                Work::KeepSys(home) => reply(sys::keep(&home, name)),
                Work::Remove => replies.push((reply, ended.take(name))),
            }
        }
        let ended = ended.end().map_err(|error| error.raw_os_error());
        for (reply, taken) in replies {
            let again =
                |errno: Option<i32>| io::Error::from_raw_os_error(errno.unwrap_or(libc::EIO));
            reply(taken.and(ended.map_err(again)));
        }
    }
}

fn keep(ended: &mut Ended, name: &str, netns: &OwnedFd) -> io::Result<()> {
    ended.take(name)?;
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    open(name, flags, Mode::RUSR)?;
    let kept = attach(name, netns);
    if kept.is_err() {
        // Best effort: an empty file does no harm.
        let _left = unlink(name);
    }
    Ok(kept?)
}

fn attach(name: &str, netns: &OwnedFd) -> rustix::io::Result<()> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    let tree = open_tree(netns, c"", flags)?;
    let by_fd = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    move_mount(&tree, c"", CWD, name, by_fd)
}
