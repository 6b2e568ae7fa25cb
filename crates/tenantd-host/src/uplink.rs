//! The settings of the uplink without which others do not reach tenants by it. They are the host's.

use std::fs;

/// A setting, and the value that it must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Its path below `/proc/sys`.
    pub path: String,
    /// The value.
    pub value: &'static str,
    /// The value that it has.
    pub found: String,
}

/// The settings that are not as they must be, in the order in which they are to be set, for addresses of these families.
#[must_use]
pub fn lacking(uplink: &str, ipv4: bool, ipv6: bool) -> Vec<Setting> {
    let of = |version: u8, link: &str, name: &str| format!("net/ipv{version}/conf/{link}/{name}");
    let mut all = Vec::new();
    if ipv4 {
        all.push((of(4, uplink, "forwarding"), "1"));
    }
    if ipv6 {
        // First: a router does not listen to others, unless this is said.
        if read(&of(6, uplink, "accept_ra")).as_deref() == Some("1") {
            all.push((of(6, uplink, "accept_ra"), "2"));
        }
        let is_router = read(&of(6, "all", "forwarding")).as_deref() == Some("1");
        // Before Linux 6.17, IPv6 is forwarded between all links, or none.
        let forced = of(6, uplink, "force_forwarding");
        match (is_router, read(&forced)) {
            (true, _) => {}
            (false, Some(_)) => all.push((forced, "1")),
            (false, None) => all.push((of(6, "all", "forwarding"), "1")),
        }
        all.push((of(6, uplink, "forwarding"), "1"));
        all.push((of(6, uplink, "proxy_ndp"), "1"));
    }
    let wrong = all.into_iter().filter_map(|(path, value)| {
        // Without the file, there is no such interface, or the kernel has no IPv6: that is found elsewhere.
        let found = read(&path)?;
        (found != value).then_some(Setting { path, value, found })
    });
    wrong.collect()
}

fn read(path: &str) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/sys/{path}")).ok()?;
    Some(text.trim().to_owned())
}
