//! Where tenantd keeps its files at run time: paths that the supervisor, its clients and the
//! tenants' programs must agree on.

use std::path::{Path, PathBuf};

use crate::name::AppName;

/// The folder that holds the runtime folders of all applications.
pub const RUNTIME: &str = "/run/tenantd";

/// The file in an application's runtime folder in which its supervisor writes down what its
/// successor has to know.
pub const STATE_FILE: &str = "ledger";

/// The runtime folder of `app`.
#[must_use]
pub fn folder(app: &AppName) -> PathBuf {
    Path::new(RUNTIME).join(app.as_str())
}

/// The control socket of `app`. An [`AppName`] is short enough for every such path to fit
/// `sun_path` (108 bytes, unix(7)).
#[must_use]
pub fn control_socket(app: &AppName) -> PathBuf {
    folder(app).join("control")
}

/// The socket over which the programs of `app` say that they are ready, see sd_notify(3).
#[must_use]
pub fn notify_socket(app: &AppName) -> PathBuf {
    folder(app).join("notify")
}
