//! Sockets of the host that tenants reach although the manifest does not name them.
//!
//! A read-only mount does not prevent connecting. What listens now is known, and nothing else: so this is a hint, and
//! no guard.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{Finding, Grade};
use tenantd_core::layout;
use tenantd_core::plan::model::{CONTROL, HostAccess, OWN, Plan, TenantPlan};

/// How many are named.
const NAMED: usize = 4;

/// The sockets of this network namespace, see proc_net(5).
const TABLE: &str = "/proc/thread-self/net/unix";

/// Checks what listens. `None` if no tenant reaches a socket of the host.
#[must_use]
pub fn sockets(plan: &Plan) -> Option<Finding> {
    let first = plan.tenants.first()?;
    let text = fs::read_to_string(TABLE).ok()?;
    let bound: BTreeSet<&str> = text.lines().skip(1).filter_map(bound).collect();
    let users = plan.tenants.iter().map(|it| it.launch.identity.uid);
    let users: BTreeSet<u32> = users.collect();
    let open = |path: &&str| {
        let path = Path::new(path);
        !is_apart(path, first) && users.iter().any(|user| may_connect(path, *user))
    };
    let found: Vec<&str> = bound.into_iter().filter(open).collect();
    let more = match found.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let shown = found.iter().copied().take(NAMED).collect::<Vec<_>>();
    (!found.is_empty()).then(|| {
        Finding::new(
            Grade::Weak,
            "sockets",
            format!(
                "tenants can connect to services of the host at {}{more}: if they must not, make the folder of the \
                 socket `private`, or closed to other users",
                shown.join(", ")
            ),
        )
    })
}

/// The path of a socket that waits for connections or messages.
fn bound(line: &str) -> Option<&str> {
    let fields: Vec<&str> = line.splitn(8, ' ').collect();
    let [_, _, _, flags, kind, .., path] = fields[..] else {
        return None;
    };
    // `__SO_ACCEPTCON`, and SOCK_DGRAM.
    let waits = flags == "00010000" || kind == "0002";
    (waits && path.starts_with('/')).then_some(path)
}

/// Whether a tenant does not see the path, or the manifest names it.
fn is_apart(path: &Path, tenant: &TenantPlan) -> bool {
    let (launch, view) = (&tenant.launch, &tenant.launch.view);
    // One may lead through `/var/run`.
    let Some(real) = path.parent().and_then(|it| fs::canonicalize(it).ok()) else {
        return true;
    };
    let is_below = |folder: &Path| real.starts_with(folder);
    let own = view.host == HostAccess::ReadOnly && OWN.iter().any(|own| is_below(Path::new(own)));
    let covers = launch.private.iter().chain(&*launch.hidden);
    let named = view.visible.iter().chain(&view.shared);
    own || CONTROL.iter().any(|it| is_below(Path::new(it)))
        || is_below(Path::new(layout::RUNTIME))
        || covers.map(PathBuf::as_path).any(is_below)
        || tenant.datastore.targets().any(is_below)
        || named.into_iter().any(|it| path.starts_with(it))
}

/// Whether a user may write to the socket, and pass the folders to it. Its groups are not looked at.
fn may_connect(path: &Path, user: u32) -> bool {
    let allows = |path: &Path, bit: u32| {
        let found = fs::metadata(path);
        found.is_ok_and(|found| {
            let bits = match found.uid() == user {
                true => bit << 6,
                false => bit,
            };
            user == 0 || found.mode() & bits != 0
        })
    };
    allows(path, 0o2) && path.ancestors().skip(1).all(|folder| allows(folder, 0o1))
}
