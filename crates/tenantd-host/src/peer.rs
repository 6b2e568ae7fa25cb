//! The process at the other end of a connected unix socket, and where it lives.
//!
//! A user number does not say whether a process is an operator's or a tenant's: a tenant may run as root.
//! So a process is judged by its network namespace and its cgroup, which it cannot leave. The
//! process is held by a pidfd: its number cannot have been given to another process while it is read.

use std::fmt;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::sys::socket::{getsockopt, sockopt};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::cgroup;

/// How many characters of a program's path are told.
const PATH_MAX: usize = 256;

/// The process that connected a socket.
#[derive(Debug)]
pub struct Peer {
    /// Its number.
    pub pid: i32,
    pidfd: OwnedFd,
}

/// Where a process lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// On the host.
    Host,
    /// In the cgroup of a tenant of any application.
    Tenant(InTenant),
    /// In a network namespace that is neither the supervisor's, nor that of its parent, nor the host's,
    /// like every process of a tenant.
    OtherNetwork,
    /// It has ended.
    Gone,
    /// It cannot be read.
    Unknown(String),
}

impl Place {
    /// Why a process `pid` there gives no orders. None on the host.
    #[must_use]
    pub fn refusal(&self, pid: i32) -> Option<String> {
        Some(match self {
            Self::Host => return None,
            Self::Tenant(tenant) => {
                format!("process {pid} is inside the tenant {tenant}: run the command on the host")
            }
            Self::OtherNetwork => format!(
                "process {pid} is in another network namespace, as tenants are: run the command on the \
                 host (`nsenter --target 1 --net` leads there)"
            ),
            Self::Gone => format!("process {pid} has ended"),
            Self::Unknown(why) => format!("cannot see where process {pid} is: {why}"),
        })
    }
}

/// A tenant of some application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InTenant {
    /// The application, or its unit.
    pub app: String,
    /// The tenant.
    pub tenant: String,
}

impl fmt::Display for InTenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.app, self.tenant)
    }
}

impl Peer {
    /// The process `pid` that connected this socket, by `SO_PEERPIDFD` (Linux 6.5). Before, a pidfd is
    /// opened by the number, which another process may have by then.
    ///
    /// # Errors
    /// What getsockopt(2) or pidfd_open(2) reports, for example that the process has ended.
    pub fn of(stream: BorrowedFd<'_>, pid: i32) -> io::Result<Self> {
        let pidfd = match getsockopt(&stream, sockopt::PeerPidfd) {
            Ok(pidfd) => pidfd,
            Err(nix::errno::Errno::ENOPROTOOPT) => {
                let number = Pid::from_raw(pid).ok_or(io::ErrorKind::NotFound)?;
                pidfd_open(number, PidfdFlags::empty())?
            }
            Err(errno) => return Err(errno.into()),
        };
        Ok(Self { pid, pidfd })
    }

    /// Where it lives at this moment.
    #[must_use]
    pub fn place(&self) -> Place {
        let read = self.read();
        // What was read is that of this process, since its number is not free before it has ended.
        if self.has_ended() {
            return Place::Gone;
        }
        read.unwrap_or_else(|error| Place::Unknown(error.to_string()))
    }

    fn read(&self) -> io::Result<Place> {
        let process = Path::new("/proc").join(self.pid.to_string());
        if let Some(tenant) = in_leaf(&process)? {
            return Ok(Place::Tenant(tenant));
        }
        let network =
            |of: &Path| fs::metadata(of.join("ns/net")).map(|found| (found.dev(), found.ino()));
        let theirs = network(&process)?;
        // No tenant has the network namespace of the supervisor, of what started it, or of the host's
        // first process.
        let starter = rustix::process::getppid().map(|pid| format!("/proc/{pid}"));
        let hosts = ["/proc/self", "/proc/thread-self", "/proc/1"].into_iter();
        let mut hosts = hosts
            .chain(starter.as_deref())
            .map(|it| network(Path::new(it)));
        Ok(
            match hosts.any(|host| host.is_ok_and(|host| host == theirs)) {
                true => Place::Host,
                false => Place::OtherNetwork,
            },
        )
    }

    /// Like [`Peer::place`], by its cgroup alone: that can be read without privileges.
    #[must_use]
    pub fn place_by_cgroup(&self) -> Place {
        let leaf = in_leaf(&Path::new("/proc").join(self.pid.to_string()));
        if self.has_ended() {
            return Place::Gone;
        }
        match leaf {
            Ok(None) => Place::Host,
            Ok(Some(tenant)) => Place::Tenant(tenant),
            Err(error) => Place::Unknown(error.to_string()),
        }
    }

    fn has_ended(&self) -> bool {
        let mut polled = [PollFd::new(&self.pidfd, PollFlags::IN)];
        // An error would be a defect of this process, and says nothing good about the other.
        !matches!(poll(&mut polled, Some(&Timespec::default())), Ok(0))
    }

    /// The name of its program and the path of the program's file, as far as they can be read: for a log,
    /// since it chooses both itself. The path is cut, and without characters that would need more room.
    #[must_use]
    pub fn program(&self) -> (Option<String>, Option<String>) {
        let process = Path::new("/proc").join(self.pid.to_string());
        let name = fs::read_to_string(process.join("comm"));
        let name = name.ok().map(|name| name.trim_end().to_owned());
        let file = fs::read_link(process.join("exe"));
        let file = file.ok().map(|file| {
            let file = file.display().to_string();
            let shown = file.chars().filter(|letter| !letter.is_control());
            shown.take(PATH_MAX).collect()
        });
        match self.has_ended() {
            true => (None, None),
            false => (name, file),
        }
    }
}

impl AsFd for Peer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

/// The tenant in whose leaf a process is, by its folder in `/proc`.
fn in_leaf(process: &Path) -> io::Result<Option<InTenant>> {
    let cgroups = fs::read_to_string(process.join("cgroup"))?;
    Ok(tenant_of(&cgroups, is_tree))
}

/// Whether a cgroup, by its path within the tree, holds the leaves of an application.
fn is_tree(above: &str) -> bool {
    cgroup::mounted().is_some_and(|mount| {
        let above = mount.join(above.trim_start_matches('/'));
        above.join(cgroup::SUPERVISOR).is_dir()
    })
}

/// The tenant in whose leaf a process is, by its `/proc/PID/cgroup`. `is_tree` says whether a folder is
/// that of a delegated cgroup of a supervisor.
fn tenant_of(cgroups: &str, is_tree: impl Fn(&str) -> bool) -> Option<InTenant> {
    let path = cgroup::own_cgroup(cgroups)?;
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    if let [cgroup::TOP, app, tenant, ..] = parts[..] {
        return Some(InTenant {
            app: app.to_owned(),
            tenant: tenant.to_owned(),
        });
    }
    let mut each = parts.windows(3).enumerate();
    each.find_map(|(at, three)| {
        let [above, cgroup::TENANTS, tenant] = *three else {
            return None;
        };
        let named = above.strip_prefix("tenantd@");
        let app = named.and_then(|named| named.strip_suffix(".service"));
        (app.is_some() || is_tree(&parts[..=at].join("/"))).then(|| InTenant {
            app: app.unwrap_or(above).to_owned(),
            tenant: tenant.to_owned(),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    fn found(path: &str) -> Option<String> {
        let cgroups = format!("1:name=systemd:/\n0::{path}\n");
        let tenant = tenant_of(&cgroups, |above| above == "system.slice/own.service");
        tenant.map(|tenant| tenant.to_string())
    }

    #[test]
    fn a_tenant_is_known_by_its_leaf_in_each_tree() {
        let shop = Some("shop/acme".to_owned());
        let unit = "/system.slice/system-tenantd.slice/tenantd@shop.service";
        for part in ["", "/program", "/visitors/7-9", "/program/its-own"] {
            assert_eq!(found(&format!("{unit}/tenants/acme{part}")), shop);
            assert_eq!(found(&format!("/tenantd/shop/acme{part}")), shop);
        }
        let own = "/system.slice/own.service/tenants/acme";
        assert_eq!(found(own), Some("own.service/acme".to_owned()));
        for other in [
            "/",
            "/tenantd",
            "/tenantd/shop",
            "/user.slice/tenantd/shop/acme",
            "/system.slice/own.service/supervisor",
            "/system.slice/foreign.service/tenants/acme",
            &format!("{unit}/supervisor"),
        ] {
            assert_eq!(found(other), None, "{other}");
        }
    }

    #[test]
    fn a_peer_is_seen_while_it_lives_and_no_other_is_taken_for_it() {
        let (one, _other) = UnixStream::pair().unwrap();
        let own = i32::try_from(std::process::id()).unwrap();
        let peer = Peer::of(one.as_fd(), own).unwrap();
        assert_eq!(peer.place(), Place::Host);
        assert!(peer.program().0.is_some());
        // A number that names another process than the one that is held, and that one has ended.
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let pidfd = pidfd_open(Pid::from_raw(pid).unwrap(), PidfdFlags::empty()).unwrap();
        child.wait().unwrap();
        let reused = Peer { pid: own, pidfd };
        assert_eq!(reused.place(), Place::Gone);
        assert_eq!(reused.program(), (None, None));
    }
}
