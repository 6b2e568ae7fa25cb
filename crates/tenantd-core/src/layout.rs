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

/// The name of the socket in an application's runtime folder at which the log collector listens.
pub const COLLECTOR: &str = "collector";

/// The name of the FIFO in an application's runtime folder into which the log collector writes.
pub const COLLECTED: &str = "collected";

/// Where a tenant sees the folder of its syslog socket, to which `/dev/log` is a link. No application
/// has this name.
pub const LOG: &str = "/run/tenantd/.log";

/// The folder of the tenants' names for dnsmasq(8) on the host. No application has this name.
pub const HOSTS: &str = "/run/tenantd/.hosts";

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
