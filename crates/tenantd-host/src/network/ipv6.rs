//! The settings of IPv6 of links of the host: the kernel has no message for them, only files, see ip-sysctl.rst of the
//! kernel's documentation.
//!
//! A host end whose tenant has no IPv6 address has no IPv6. With it, the host's table of IPv6 would have a route for
//! multicast by each host end, and the kernel looks through all of that table whenever a link comes, goes or changes.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rtnetlink::packet_route::link::{AfSpecInet6, AfSpecUnspec, In6AddrGenMode, LinkAttribute};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;

use tenantd_core::plan::model::{LinkPlan, NetworkPlan};
use tenantd_core::stage::{Failure, Stage};

use super::refusal::broken;

/// The minimum MTU in bytes of a link with IPv6 (RFC 8200 §5).
const IPV6_MTU_MIN: u32 = 1280;

/// The folder with a folder for each link of the calling thread's network namespace.
const FOLDER: &str = "/proc/sys/net/ipv6/conf";

/// Whether a link has no IPv6.
const DISABLE: &str = "disable_ipv6";

/// What arrives on the link is forwarded, as far as the firewall lets it, also if the host forwards nothing else
/// (Linux 6.17). Older kernels forward IPv6 only if `net.ipv6.conf.all.forwarding` is on.
const FORWARD: (&str, &str) = ("force_forwarding", "1");

/// The link has IPv6 even if the host turns it off for new links, and no tenant is a router for the host.
const SETTINGS: [(&str, &str); 3] = [(DISABLE, "0"), ("accept_ra", "0"), ("autoconf", "0")];

/// Whether the kernel runs IPv6 on links with this MTU.
pub(super) fn runs_ipv6(mtu: u32) -> bool {
    // Not in /proc/sys/net, where a lookup takes longer the more namespaces there are.
    mtu >= IPV6_MTU_MIN && Path::new("/proc/self/net/if_inet6").exists()
}

/// The attribute that keeps the kernel from adding a link-local IPv6 address.
pub(super) fn no_ipv6_address() -> LinkAttribute {
    let none = AfSpecInet6::AddrGenMode(In6AddrGenMode::None);
    LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(vec![none])])
}

/// Whether a tenant has an IPv6 address.
pub(super) fn has_ipv6(link: &LinkPlan) -> bool {
    link.addresses.iter().any(|address| address.is_ipv6())
}

/// Access to the settings of the links of one network namespace. A path that begins with `/proc/sys/net` would be looked
/// up in the namespace of the thread, and the longer the more namespaces there are.
#[derive(Debug)]
pub(super) struct Settings {
    /// None if the kernel has no IPv6.
    folder: Option<OwnedFd>,
}

impl Settings {
    /// Those of the network namespace of the calling thread.
    ///
    /// # Errors
    /// The stage [`Stage::Link`].
    pub(super) fn open() -> Result<Self, Failure> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match openat(CWD, FOLDER, flags, Mode::empty()) {
            Ok(folder) => Ok(Self {
                folder: Some(folder),
            }),
            Err(Errno::NOENT) => Ok(Self { folder: None }),
            Err(errno) => Err(broken(Stage::Link, FOLDER, &errno.into())),
        }
    }

    /// Sets those of a link on which packets of IPv6 arrive, if tenants can have IPv6 addresses.
    ///
    /// # Errors
    /// The stage [`Stage::Link`].
    pub(super) fn settle(&self, network: &NetworkPlan, link: &str) -> Result<(), Failure> {
        if network.ipv6.is_none() {
            return Ok(());
        }
        for (setting, value) in SETTINGS.into_iter().chain([FORWARD]) {
            match self.set(link, setting, value) {
                Ok(()) => {}
                // Not before Linux 6.17.
                Err(error) if setting == FORWARD.0 && error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    let why = "the application has an IPv6 subnet";
                    return Err(failure(link, setting, &error).with(why));
                }
            }
        }
        Ok(())
    }

    /// Sets those of a tenant's host end: it has IPv6 if the tenant has an IPv6 address.
    ///
    /// # Errors
    /// The stage [`Stage::Link`].
    pub(super) fn settle_host_end(
        &self,
        network: &NetworkPlan,
        link: &LinkPlan,
    ) -> Result<(), Failure> {
        let name = link.host.name.as_str();
        if has_ipv6(link) {
            return self.settle(network, name);
        }
        match self.get(name, DISABLE) {
            Ok(true) => Ok(()),
            Ok(false) => match self.set(name, DISABLE, "1") {
                // The link has been deleted, which is noticed.
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                set => set.map_err(|error| failure(name, DISABLE, &error)),
            },
            // The kernel has no IPv6, or the link has none because of its MTU.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(failure(name, DISABLE, &error)),
        }
    }

    fn open_setting(&self, link: &str, setting: &str, flags: OFlags) -> io::Result<OwnedFd> {
        let folder = self.folder.as_ref().ok_or(Errno::NOENT)?;
        let path = format!("{link}/{setting}");
        let flags = flags | OFlags::CLOEXEC;
        Ok(openat(folder, path, flags, Mode::empty())?)
    }

    /// Whether a setting is on. It is asked first, since a change needs the kernel's lock on all links.
    fn get(&self, link: &str, setting: &str) -> io::Result<bool> {
        let file = self.open_setting(link, setting, OFlags::RDONLY)?;
        let mut value = [0; 16];
        let length = rustix::io::read(file, &mut value)?;
        Ok(value[..length].trim_ascii() != b"0")
    }

    fn set(&self, link: &str, setting: &str, value: &str) -> io::Result<()> {
        let file = self.open_setting(link, setting, OFlags::WRONLY)?;
        // The kernel accepts a value as a whole or returns an error.
        rustix::io::write(file, value.as_bytes())?;
        Ok(())
    }
}

fn failure(link: &str, setting: &str, error: &io::Error) -> Failure {
    let object = format!("{link} (sysctl net.ipv6.conf.{link}.{setting})");
    let errno = error.raw_os_error().unwrap_or(libc::EIO);
    Failure::errno(Stage::Link, object, errno)
}
