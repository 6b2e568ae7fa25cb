//! Network namespaces: made, held by a descriptor, told apart by an inode.
//!
//! Only a thread made for it ever enters a tenant's namespace, and it returns before it ends. The
//! caller's thread never leaves the host's: a socket stays in the namespace that it was opened in,
//! so the caller can work in there all the same.

mod forwarding;
pub mod name;
mod sysctls;

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::thread;

use nix::sched::{CloneFlags, setns, unshare};
use rtnetlink::packet_route::AddressFamily;

use tenantd_core::stage::{Failure, Stage};

pub(super) use sysctls::Sysctls;

/// The namespace of the thread that opens it, see namespaces(7).
const OWN: &str = "/proc/thread-self/ns/net";

/// The address families, with the sysctls that are 0 in a tenant, which is no router. A new
/// namespace inherits the host's value.
const FORWARDING: [(AddressFamily, &str); 2] = [
    (AddressFamily::Inet, "net/ipv4/ip_forward"),
    (AddressFamily::Inet6, "net/ipv6/conf/all/forwarding"),
];

/// The first port that needs no privilege: in a tenant every port is free.
const PORT_START: &str = "net/ipv4/ip_unprivileged_port_start";

/// A tenant's network namespace. It lives at least as long as this descriptor (close-on-exec).
#[derive(Debug)]
pub struct Netns {
    fd: OwnedFd,
    inode: u64,
}

impl Netns {
    /// Takes over a namespace that is open already, such as one kept by systemd's fd store.
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

    /// Lets go of it. The kernel destroys it, and the link with it, once nobody else holds it.
    #[must_use]
    pub fn close(self) -> ClosedNetns {
        ClosedNetns { inode: self.inode }
    }
}

impl AsFd for Netns {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Whether a descriptor is of the network namespace with this inode.
#[must_use]
pub fn is_one(fd: BorrowedFd<'_>, inode: u64) -> bool {
    let Ok(own) = fs::metadata(OWN) else {
        return false;
    };
    // Inodes are told apart by the filesystem that they are in, which is one for all namespaces.
    rustix::fs::fstat(fd).is_ok_and(|found| (found.st_dev, found.st_ino) == (own.dev(), inode))
}

/// A namespace that this process no longer holds: what is asked to be proved gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClosedNetns {
    inode: u64,
}

impl ClosedNetns {
    /// One that was held by another process, such as the supervisor before this one.
    #[must_use]
    pub fn from_inode(inode: u64) -> Self {
        Self { inode }
    }

    /// The processes that have a thread in it. Walks all of `/proc`: for a release that fails, and
    /// for nothing else.
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

/// The entries of a folder that are numbers. A process may end while it is being looked at, so
/// what cannot be read is not there.
fn numbers(folder: &Path) -> impl Iterator<Item = u32> {
    fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// Makes a namespace and does `inside` in it; `inside` must leave nothing there that it does not
/// return.
pub(super) fn make<T: Send>(
    sysctls: &mut Sysctls,
    inside: impl FnOnce() -> Result<T, Failure> + Send,
) -> Result<(Netns, T), Failure> {
    thread::scope(|scope| {
        let maker = thread::Builder::new()
            .name("netns".into())
            .spawn_scoped(scope, || visit_new(sysctls, inside))
            .map_err(|error| failure("(its thread)", &error))?;
        maker
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn visit_new<T>(
    sysctls: &mut Sysctls,
    inside: impl FnOnce() -> Result<T, Failure>,
) -> Result<(Netns, T), Failure> {
    let home = File::open(OWN).map_err(|error| failure(OWN, &error))?;
    unshare(CloneFlags::CLONE_NEWNET).map_err(|errno| failure("", &errno.into()))?;
    let made = set_up(sysctls, inside);
    // A joined thread may still be on its way out of the kernel, and would hold the namespace
    // for that long: so it leaves first.
    setns(&home, CloneFlags::CLONE_NEWNET).map_err(|errno| failure("(way back)", &errno.into()))?;
    made
}

fn set_up<T>(
    sysctls: &mut Sysctls,
    inside: impl FnOnce() -> Result<T, Failure>,
) -> Result<(Netns, T), Failure> {
    let netns = File::open(OWN)
        .and_then(|file| Netns::from_fd(file.into()))
        .map_err(|error| failure(OWN, &error))?;
    let failed =
        |name: &str, error| failure(format!("(sysctl {})", name.replace('/', ".")), &error);
    sysctls.begin();
    for (family, name) in FORWARDING {
        let is_on = forwarding::is_on(family).map_err(|error| failed(name, error))?;
        if is_on {
            sysctls
                .set(name, "0")
                .map_err(|error| failed(name, error))?;
        }
    }
    let every_port = sysctls.set(PORT_START, "0");
    every_port.map_err(|error| failed(PORT_START, error))?;
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
    fn finds_who_is_in_a_namespace() {
        let own = fs::metadata(OWN).unwrap().ino();
        let holders = ClosedNetns::from_inode(own).holders();
        assert!(holders.contains(&std::process::id()), "{holders:?}");
        assert!(ClosedNetns::from_inode(0).holders().is_empty());
    }
}
