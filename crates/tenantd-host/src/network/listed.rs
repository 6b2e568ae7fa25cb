//! All links of the host, one at a time. In a list by rtnetlink(7), the kernel looks through the numbers of all network
//! namespaces for each link, and the whole list is in memory: 17 KB for each of ten thousand tenants.

use rustix::net::netdevice::name_to_index;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use crate::facts::alias;
use tenantd_core::stage::{Failure, Stage};

use super::link::{Found, Links};
use super::refusal::broken;

/// The links of the network namespace of this thread, see proc_pid_net(5).
const LINKS: &str = "/proc/thread-self/net/dev";

/// Calls `each` with each link. Of one with an alias, only that, name and index are known.
///
/// # Errors
/// The stage [`Stage::Link`].
pub(super) async fn each(links: &Links, mut each: impl FnMut(Found)) -> Result<(), Failure> {
    let failed = |error| broken(Stage::Link, "(all links)", &error);
    let text = std::fs::read_to_string(LINKS).map_err(failed)?;
    let flags = SocketFlags::CLOEXEC;
    let any = socket_with(AddressFamily::INET, SocketType::DGRAM, flags, None);
    let any = any.map_err(|errno| failed(errno.into()))?;
    for name in names(&text) {
        let found = match alias(name) {
            // It is gone by now if it has no index.
            Some(alias) => name_to_index(&any, name).ok().map(|index| Found {
                alias: Some(alias),
                ..Found::at(index, name)
            }),
            // Also if /sys has the links of another network namespace.
            None => links.find(name).await?,
        };
        if let Some(found) = found {
            each(found);
        }
    }
    Ok(())
}

/// The names in such a list, after its two lines of headings. None has a colon.
fn names(text: &str) -> impl Iterator<Item = &str> {
    let lines = text.lines().skip(2);
    lines.filter_map(|line| Some(line.split_once(':')?.0.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_links_are_found() {
        let text = "Inter-|   Receive                            |  Transmit\n \
                    face |bytes    packets errs drop fifo frame compressed multicast|bytes\n    \
                    lo:    1010      10    0    0    0     0          0         0     1010\n\
                    tdec9d0078a96b: 9 1 0 0 0 0 0 0 9\neth0.7:9 1 0 0 0 0 0 0 9\n";
        let found: Vec<&str> = names(text).collect();
        assert_eq!(found, ["lo", "tdec9d0078a96b", "eth0.7"]);
        let here = std::fs::read_to_string(LINKS).unwrap();
        assert!(names(&here).any(|name| name == "lo"), "{here}");
    }
}
