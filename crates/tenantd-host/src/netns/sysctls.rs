//! Sets sysctls of a network namespace through a private procfs mount.
//!
//! The kernel keeps the dentries below `sys/net` of a procfs mount in one chain for all network
//! namespaces, so that each lookup takes longer the more tenants there are: through `/proc`, 20 µs
//! with 100 tenants and 300 µs with 1,000. Each procfs mount has chains of its own (since Linux
//! 5.8). A detached mount that is replaced now and then keeps the cost constant.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

use tenantd_core::sysctl::Sysctl;

use super::PORT_START;

/// The number of namespaces that one procfs mount is used for. A mount takes 130 µs, 2 µs for each.
const NAMESPACES_MAX: u32 = 64;

/// Access to the sysctls of the calling thread's network namespace.
#[derive(Debug, Default)]
pub(crate) struct Sysctls {
    procfs: Option<OwnedFd>,
    /// The number of namespaces that it was used for.
    used: u32,
    /// The settings of the host, and their values in a new namespace.
    inherited: Vec<Inherited>,
}

/// A setting that a tenant has from the host unless its manifest says another value.
#[derive(Debug)]
struct Inherited {
    sysctl: Sysctl,
    /// The host's file. The kernel looks up the namespace when it is opened, so it stays the host's.
    host: File,
    /// The value in a new namespace; empty until the first one was made.
    fresh: String,
}

impl Sysctls {
    /// For tenants of the network namespace of the calling thread, the host's. A setting that the kernel does not have
    /// is left out.
    ///
    /// # Errors
    /// Which setting cannot be read, and why.
    pub(crate) fn of_host() -> Result<Self, (Sysctl, io::Error)> {
        let mut inherited = Vec::new();
        // Every tenant may use every port.
        for sysctl in Sysctl::all().filter(|one| one.path() != PORT_START) {
            match File::open(format!("/proc/sys/{}", sysctl.path())) {
                Ok(host) => inherited.push(Inherited {
                    sysctl,
                    host,
                    fresh: String::new(),
                }),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err((sysctl, error)),
            }
        }
        Ok(Self {
            inherited,
            ..Self::default()
        })
    }

    /// Sets what differs in the calling thread's namespace, a new one, from what the tenant has of its own, or else
    /// from the host's.
    ///
    /// # Errors
    /// The setting, with the error of open(2), read(2) or write(2).
    pub(super) fn settings(
        &mut self,
        own: &BTreeMap<Sysctl, String>,
    ) -> Result<(), (Sysctl, io::Error)> {
        for at in 0..self.inherited.len() {
            let sysctl = self.inherited[at].sysctl;
            if self.inherited[at].fresh.is_empty() {
                let fresh = self.get(sysctl).map_err(|error| (sysctl, error))?;
                self.inherited[at].fresh = fresh;
            }
            if !own.contains_key(&sysctl) {
                let Inherited { host, fresh, .. } = &self.inherited[at];
                let value = read(host).map_err(|error| (sysctl, error))?;
                if value != *fresh {
                    let set = self.set(&sysctl.path(), &value);
                    set.map_err(|error| (sysctl, error))?;
                }
            }
        }
        // In the order of the names: the first port without privilege comes after the range of local ports, which
        // must not begin below it.
        for (sysctl, value) in own {
            let set = self.set(&sysctl.path(), value);
            set.map_err(|error| (*sysctl, error))?;
        }
        Ok(())
    }

    fn get(&self, sysctl: Sysctl) -> io::Result<String> {
        let path = sysctl.path();
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let file = match &self.procfs {
            Some(procfs) => openat(procfs, format!("sys/{path}"), flags, Mode::empty())?,
            None => openat(CWD, format!("/proc/sys/{path}"), flags, Mode::empty())?,
        };
        read(&file.into())
    }

    /// Must be called once per namespace, before the first [`Sysctls::set`].
    pub(super) fn begin(&mut self) {
        if self.used >= NAMESPACES_MAX || self.procfs.is_none() {
            // If no procfs may be mounted, as in a container with a masked /proc, `/proc` is used.
            self.procfs = mount()
                .inspect_err(|errno| {
                    tracing::debug!("cannot mount a private procfs, using /proc: {errno}");
                })
                .ok();
            self.used = 0;
        }
        self.used += 1;
    }

    /// Sets a sysctl, named by its path below `/proc/sys`, see proc(5).
    ///
    /// # Errors
    /// Those of open(2) and write(2).
    pub(crate) fn set(&self, name: &str, value: &str) -> io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        let file = match &self.procfs {
            Some(procfs) => openat(procfs, format!("sys/{name}"), flags, Mode::empty())?,
            None => openat(CWD, format!("/proc/sys/{name}"), flags, Mode::empty())?,
        };
        // The kernel accepts a value as a whole or returns an error.
        rustix::io::write(file.as_fd(), value.as_bytes())?;
        Ok(())
    }
}

/// The value of an open setting: words with one space between them.
fn read(file: &File) -> io::Result<String> {
    // Longer than any of them.
    let mut bytes = [0; 256];
    let length = file.read_at(&mut bytes, 0)?;
    let text = String::from_utf8_lossy(&bytes[..length]);
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    Ok(words.join(" "))
}

fn mount() -> rustix::io::Result<OwnedFd> {
    let procfs = fsopen(c"proc", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(&procfs)?;
    let plain = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    fsmount(&procfs, FsMountFlags::FSMOUNT_CLOEXEC, plain)
}

#[cfg(test)]
mod as_root {
    use std::fs;
    use std::os::fd::AsRawFd;
    use std::thread;

    use nix::sched::{CloneFlags, unshare};

    use super::*;

    const PORT_START: &str = "net/ipv4/ip_unprivileged_port_start";

    fn read() -> String {
        fs::read_to_string(format!("/proc/sys/{PORT_START}")).unwrap()
    }

    /// Sets a sysctl in a new namespace and reads it back.
    fn set_in_a_namespace(sysctls: &mut Sysctls, value: &str) -> String {
        thread::scope(|scope| {
            let visit = scope.spawn(|| {
                unshare(CloneFlags::CLONE_NEWNET).unwrap();
                sysctls.begin();
                sysctls.set(PORT_START, value).unwrap();
                read()
            });
            visit.join().unwrap()
        })
    }

    #[test]
    fn each_procfs_reaches_its_own_namespace_only() {
        let before = read();
        let mut sysctls = Sysctls::default();
        for value in ["3\n", "4\n", "5\n"] {
            assert_eq!(set_in_a_namespace(&mut sysctls, value), value);
        }
        assert!(sysctls.procfs.is_some());
        assert_eq!(sysctls.used, 3);
        assert_eq!(read(), before);
    }

    #[test]
    fn an_exhausted_procfs_is_replaced() {
        let instance = |sysctls: &Sysctls| {
            let procfs = sysctls.procfs.as_ref().unwrap();
            let stat = rustix::fs::fstat(procfs).unwrap();
            (stat.st_dev, procfs.as_raw_fd())
        };
        let mut sysctls = Sysctls::default();
        sysctls.begin();
        let first = instance(&sysctls);
        for _ in 1..NAMESPACES_MAX {
            sysctls.begin();
        }
        assert_eq!(instance(&sysctls), first);
        sysctls.begin();
        assert_ne!(instance(&sysctls).0, first.0);
        assert_eq!(sysctls.used, 1);
    }

    #[test]
    fn a_failed_write_keeps_its_errno() {
        let mut sysctls = Sysctls::default();
        sysctls.begin();
        let missing = sysctls.set("net/ipv4/no_such_thing", "0").unwrap_err();
        assert_eq!(missing.raw_os_error(), Some(libc::ENOENT));
        let bad = set_bad(&mut sysctls);
        assert_eq!(bad.raw_os_error(), Some(libc::EINVAL));
    }

    fn set_bad(sysctls: &mut Sysctls) -> io::Error {
        thread::scope(|scope| {
            let visit = scope.spawn(|| {
                unshare(CloneFlags::CLONE_NEWNET).unwrap();
                sysctls.set(PORT_START, "-1").unwrap_err()
            });
            visit.join().unwrap()
        })
    }
}
