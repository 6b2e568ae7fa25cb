//! The settings of IPv6 of a link of the host: the kernel has no message for them, only files.

use std::io;

use tenantd_core::plan::model::NetworkPlan;
use tenantd_core::stage::{Failure, Stage};

use crate::netns::Sysctls;

/// What arrives on the link is forwarded, as far as the firewall lets it, also if the host forwards nothing else
/// (Linux 6.17). Older kernels forward IPv6 only if `net.ipv6.conf.all.forwarding` is on.
const FORWARD: (&str, &str) = ("force_forwarding", "1");

/// The link has IPv6 even if the host turns it off for new links, and no tenant is a router for the host.
const SETTINGS: [(&str, &str); 3] = [("disable_ipv6", "0"), ("accept_ra", "0"), ("autoconf", "0")];

/// Sets them, if tenants can have IPv6 addresses.
///
/// # Errors
/// The stage [`Stage::Link`].
pub(super) fn settle(sysctls: &Sysctls, network: &NetworkPlan, link: &str) -> Result<(), Failure> {
    if network.ipv6.is_none() {
        return Ok(());
    }
    for (setting, value) in SETTINGS.into_iter().chain([FORWARD]) {
        match sysctls.set(&format!("net/ipv6/conf/{link}/{setting}"), value) {
            Ok(()) => {}
            // Not before Linux 6.17.
            Err(error) if setting == FORWARD.0 && error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                let object = format!("{link} (sysctl net.ipv6.conf.{link}.{setting})");
                let errno = error.raw_os_error().unwrap_or(libc::EIO);
                let why = "the application has an IPv6 subnet";
                return Err(Failure::errno(Stage::Link, object, errno).with(why));
            }
        }
    }
    Ok(())
}
