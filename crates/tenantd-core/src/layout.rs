//! Paths of tenantd's runtime files, which the supervisor, its clients and the tenants' programs
//! share.

use std::path::{Path, PathBuf};

use crate::name::AppName;

/// The maximum size in bytes of a manifest: that of some 40,000 tenants. Reading takes about eighty
/// times as much memory.
pub const MANIFEST_MAX: u64 = 4 << 20;

/// The folder of the runtime folders of all applications.
pub const RUNTIME: &str = "/run/tenantd";

/// The name of the state file in an application's runtime folder.
pub const STATE_FILE: &str = "ledger";

/// The name of the socket in an application's runtime folder at which its first log collector listens.
const COLLECTOR: &str = "collector";

/// The name of the FIFO in an application's runtime folder into which its first log collector writes.
const COLLECTED: &str = "collected";

/// The most log collectors of an application.
pub const COLLECTORS_MAX: u16 = 1024;

/// The name of the socket in an application's runtime folder at which a log collector listens. The first has the
/// number 0.
#[must_use]
pub fn collector(number: u16) -> String {
    numbered(COLLECTOR, number)
}

/// The name of the FIFO in an application's runtime folder into which a log collector writes.
#[must_use]
pub fn collected(number: u16) -> String {
    numbered(COLLECTED, number)
}

/// The name under which a log collector makes its socket, before it has its own name.
#[must_use]
pub fn collector_made(number: u16) -> String {
    format!("{}.new", collector(number))
}

/// The number of the log collector whose socket or FIFO has this name, if any has.
#[must_use]
pub fn of_collector(name: &str) -> Option<u16> {
    let name = name.strip_suffix(".new").unwrap_or(name);
    let rest = name
        .strip_prefix(COLLECTOR)
        .or_else(|| name.strip_prefix(COLLECTED))?;
    let number = match rest {
        "" => 0,
        rest => rest.strip_prefix('.')?.parse().ok()?,
    };
    [collector(number), collected(number)]
        .iter()
        .any(|it| it == name)
        .then_some(number)
}

fn numbered(name: &str, number: u16) -> String {
    match number {
        0 => name.to_owned(),
        number => format!("{name}.{number}"),
    }
}

/// Where a tenant sees the folder of its syslog socket, to which `/dev/log` is a link. No application
/// has this name.
pub const LOG: &str = "/run/tenantd/.log";

/// The folder of the tenants' names for dnsmasq(8) on the host. No application has this name.
pub const HOSTS: &str = "/run/tenantd/.hosts";

/// The folder of the tenants' last failures, for the next supervisor. No application has this name.
pub const FAILURES: &str = "/run/tenantd/.failures";

/// The runtime folder of `app`.
#[must_use]
pub fn folder(app: &AppName) -> PathBuf {
    Path::new(RUNTIME).join(app.as_str())
}

/// The log file of the supervisor of `app`, where there is no journal. No tenant's file has this name.
#[must_use]
pub fn own_log(app: &AppName) -> PathBuf {
    PathBuf::from(format!("/var/log/tenantd/{app}.log"))
}

/// The audit log of `app`. No tenant's file has this name.
#[must_use]
pub fn audit_log(app: &AppName) -> PathBuf {
    PathBuf::from(format!("/var/log/tenantd/{app}.audit"))
}

/// The control socket of `app`. The maximum length of an [`AppName`] ensures that the path fits
/// into `sun_path` (108 bytes, unix(7)).
#[must_use]
pub fn control_socket(app: &AppName) -> PathBuf {
    folder(app).join("control")
}

/// Where a tenant's program finds its notify socket, see sd_notify(3): a link to the socket in
/// [`sockets`].
#[must_use]
pub fn notify_socket(app: &AppName) -> PathBuf {
    folder(app).join("notify")
}

/// Where a tenant of `app` sees its secrets.
#[must_use]
pub fn credentials(app: &AppName) -> PathBuf {
    Path::new("/run/credentials").join(app.as_str())
}

/// Where a tenant of `app` sees the folder of its notify socket, which contains nothing else: unlike the
/// socket, a folder shows the socket of a later supervisor too. On the host it is empty. Its name is not
/// the name of an application.
#[must_use]
pub fn sockets(app: &str) -> PathBuf {
    Path::new(RUNTIME).join(".sockets").join(app)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_log_collectors_have_their_numbers() {
        for number in [0, 1, 17] {
            for name in [collector(number), collected(number), collector_made(number)] {
                assert_eq!(of_collector(&name), Some(number), "{name}");
            }
        }
        for other in [
            "",
            "control",
            "collector.",
            "collector.0",
            "collector.01",
            "collected.x",
            "collectors",
        ] {
            assert_eq!(of_collector(other), None, "{other}");
        }
    }
}
