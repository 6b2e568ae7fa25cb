//! Network namespaces: made here, kept alive as mounts of a mount namespace, identified by an inode.
//!
//! Only a temporary thread, or that of a [`Maker`], enters a tenant's namespace, and it returns. The caller's
//! thread stays in the host's namespace. It can still configure the tenant's, because a socket
//! belongs to the namespace in which it was opened.

mod forwarding;
mod maker;
mod mounts;
pub mod name;
mod orphans;
mod socket;
mod sysctls;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::thread;

use nix::sched::{CloneFlags, setns, unshare};
use rtnetlink::packet_route::AddressFamily;

use forwarding::Forwarding;
use tenantd_core::stage::{Failure, Stage};
use tenantd_core::sysctl::Sysctl;

pub(super) use maker::Maker;
pub use mounts::{Keeping, NetnsMounts};
pub use orphans::end_connections;
pub use socket::socket_in;
pub(super) use sysctls::Sysctls;

/// The namespace of the thread that opens it, see namespaces(7).
const OWN: &str = "/proc/thread-self/ns/net";

/// The forwarding sysctls per address family. They are set to 0 in a tenant, which is not a router;
/// a new namespace may inherit 1 from the host.
const FORWARDING: [(AddressFamily, &str); 2] = [
    (AddressFamily::Inet, "net/ipv4/ip_forward"),
    (AddressFamily::Inet6, "net/ipv6/conf/all/forwarding"),
];

/// Settings of IPv6 for links that come later. A tenant's addresses and routes are those of its plan, never what a
/// router says.
const NO_ROUTERS: [&str; 2] = [
    "net/ipv6/conf/default/accept_ra",
    "net/ipv6/conf/default/autoconf",
];

/// Without it, the removal of the first of several IPv4 addresses of a link removes the others of its network too.
const PROMOTE: &str = "net/ipv4/conf/default/promote_secondaries";

/// The first unprivileged port. It is 0 in a tenant, so that its program may bind every port.
const PORT_START: &str = "net/ipv4/ip_unprivileged_port_start";

/// An open network namespace. The descriptor keeps it alive and is close-on-exec. Between two uses a
/// tenant's is kept by [`NetnsMounts`].
#[derive(Debug)]
pub struct Netns {
    fd: OwnedFd,
    inode: u64,
}

impl Netns {
    /// Takes over an open namespace, such as one from systemd's fd store.
    ///
    /// # Errors
    /// That of fstat(2).
    pub fn from_fd(fd: OwnedFd) -> io::Result<Self> {
        let file = File::from(fd);
        let inode = file.metadata()?.ino();
        Ok(Self {
            fd: file.into(),
            inode,
        })
    }

    /// The inode of `/proc/PID/ns/net` of every process in it, see namespaces(7).
    #[must_use]
    pub fn inode(&self) -> u64 {
        self.inode
    }

    /// Closes the descriptor. The kernel destroys the namespace and its link once no process, mount
    /// or other descriptor uses it.
    #[must_use]
    pub fn close(self) -> ClosedNetns {
        ClosedNetns { inode: self.inode }
    }
}

impl From<Netns> for OwnedFd {
    fn from(netns: Netns) -> Self {
        netns.fd
    }
}

impl AsFd for Netns {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Whether a descriptor refers to the network namespace with this inode.
#[must_use]
pub fn is_one(fd: BorrowedFd<'_>, inode: u64) -> bool {
    let Ok(own) = fs::metadata(OWN) else {
        return false;
    };
    // An inode is unique within its filesystem. All namespaces are in the same one.
    rustix::fs::fstat(fd).is_ok_and(|found| (found.st_dev, found.st_ino) == (own.dev(), inode))
}

/// A namespace that this process has closed, so that the kernel can destroy it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClosedNetns {
    inode: u64,
}

impl ClosedNetns {
    /// A namespace that another process held, such as an earlier supervisor.
    #[must_use]
    pub fn from_inode(inode: u64) -> Self {
        Self { inode }
    }

    /// The processes that have a thread in it. Scans all of `/proc`, so it is only used for the
    /// message of a failed release.
    pub(super) fn holders(self) -> Vec<u32> {
        let mut pids: Vec<u32> = numbers(Path::new("/proc"))
            .filter(|pid| {
                let tasks = format!("/proc/{pid}/task");
                numbers(Path::new(&tasks)).any(|task| {
                    fs::metadata(format!("{tasks}/{task}/ns/net"))
                        .is_ok_and(|link| link.ino() == self.inode)
                })
            })
            .collect();
        pids.sort_unstable();
        pids
    }
}

/// The entries of a folder that are numbers. A process may end meanwhile, so errors are ignored.
fn numbers(folder: &Path) -> impl Iterator<Item = u32> {
    fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// Makes a namespace with the host's settings of the kernel and those of the tenant, and calls `inside` in it, on
/// a temporary thread. `inside` must not leave anything open in the namespace except in its result.
pub(super) fn make<T: Send>(
    sysctls: &mut Sysctls,
    own: &BTreeMap<Sysctl, String>,
    inside: impl FnOnce() -> Result<T, Failure> + Send,
) -> Result<(Netns, T), Failure> {
    thread::scope(|scope| {
        let maker = thread::Builder::new()
            .name("netns".into())
            .spawn_scoped(scope, || visit_new(sysctls, own, inside))
            .map_err(|error| failure("(its thread)", &error))?;
        maker
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Calls `inside` in a namespace, on a temporary thread. `inside` must not leave anything open there.
pub(super) fn visit<T: Send>(
    netns: &Netns,
    inside: impl FnOnce() -> io::Result<T> + Send,
) -> io::Result<T> {
    thread::scope(|scope| {
        let visitor = thread::Builder::new()
            .name("netns".into())
            .spawn_scoped(scope, || {
                let home = File::open(OWN)?;
                setns(netns, CloneFlags::CLONE_NEWNET)?;
                let done = inside();
                // As after making one.
                setns(&home, CloneFlags::CLONE_NEWNET)?;
                done
            })?;
        visitor
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Calls `inside` in each of these namespaces, on one temporary thread, as [`visit`] does.
fn visit_each<T: Send>(
    all: &[Netns],
    inside: impl Fn() -> io::Result<T> + Send + Sync,
) -> Vec<io::Result<T>> {
    let visit_all = || {
        let home = File::open(OWN)?;
        let visited = all.iter().map(|netns| {
            setns(netns, CloneFlags::CLONE_NEWNET)?;
            inside()
        });
        let visited = visited.collect();
        setns(&home, CloneFlags::CLONE_NEWNET)?;
        Ok::<_, io::Error>(visited)
    };
    let visited = thread::scope(|scope| {
        let builder = thread::Builder::new().name("netns".into());
        let visitor = builder.spawn_scoped(scope, visit_all)?;
        visitor
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    visited.unwrap_or_else(|error: io::Error| {
        let kind = (error.raw_os_error(), error.kind());
        let again = |_| match kind {
            (Some(errno), _) => Err(io::Error::from_raw_os_error(errno)),
            (None, kind) => Err(kind.into()),
        };
        all.iter().map(again).collect()
    })
}

fn visit_new<T>(
    sysctls: &mut Sysctls,
    own: &BTreeMap<Sysctl, String>,
    inside: impl FnOnce() -> Result<T, Failure>,
) -> Result<(Netns, T), Failure> {
    let home = File::open(OWN).map_err(|error| failure(OWN, &error))?;
    // The kernel may still be ending a thread that was joined, and the thread would keep the
    // namespace alive for that long. So it leaves the namespace first.
    let (made, back) = make_from(&home, sysctls, own, inside);
    back.and(made)
}

/// The same on this thread, which is in the namespace `home`. Also returns whether it is there again.
fn make_from<T>(
    home: &File,
    sysctls: &mut Sysctls,
    own: &BTreeMap<Sysctl, String>,
    inside: impl FnOnce() -> Result<T, Failure>,
) -> (Result<(Netns, T), Failure>, Result<(), Failure>) {
    if let Err(errno) = unshare(CloneFlags::CLONE_NEWNET) {
        return (Err(failure("", &errno.into())), Ok(()));
    }
    let made = set_up(sysctls, own, inside);
    (made, go_back(home))
}

fn go_back(home: &File) -> Result<(), Failure> {
    setns(home, CloneFlags::CLONE_NEWNET).map_err(|errno| failure("(way back)", &errno.into()))
}

fn set_up<T>(
    sysctls: &mut Sysctls,
    own: &BTreeMap<Sysctl, String>,
    inside: impl FnOnce() -> Result<T, Failure>,
) -> Result<(Netns, T), Failure> {
    let netns = File::open(OWN)
        .and_then(|file| Netns::from_fd(file.into()))
        .map_err(|error| failure(OWN, &error))?;
    let failed =
        |name: &str, error| failure(format!("(sysctl {})", name.replace('/', ".")), &error);
    sysctls.begin();
    let forwarding = Forwarding::open().map_err(|error| failure("", &error))?;
    for (family, name) in FORWARDING {
        let is_on = forwarding.is_on(family);
        let is_on = is_on.map_err(|error| failed(name, error))?;
        if is_on {
            sysctls
                .set(name, "0")
                .map_err(|error| failed(name, error))?;
        }
    }
    for name in NO_ROUTERS {
        match sysctls.set(name, "0") {
            // A kernel without IPv6.
            Err(error) if error.kind() == io::ErrorKind::NotFound => break,
            outcome => outcome.map_err(|error| failed(name, error))?,
        }
    }
    sysctls
        .set(PROMOTE, "1")
        .map_err(|error| failed(PROMOTE, error))?;
    let every_port = sysctls.set(PORT_START, "0");
    every_port.map_err(|error| failed(PORT_START, error))?;
    sysctls
        .settings(own)
        .map_err(|(one, error)| failed(&one.path(), error))?;
    Ok((netns, inside()?))
}

fn failure(object: impl Into<String>, error: &io::Error) -> Failure {
    match error.raw_os_error() {
        Some(errno) => Failure::errno(Stage::Netns, object, errno),
        None => Failure::detail(Stage::Netns, object, error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_processes_in_a_namespace() {
        let own = fs::metadata(OWN).unwrap().ino();
        let holders = ClosedNetns::from_inode(own).holders();
        assert!(holders.contains(&std::process::id()), "{holders:?}");
        assert!(ClosedNetns::from_inode(0).holders().is_empty());
    }
}
