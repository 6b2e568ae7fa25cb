//! The lines about the host: what prevents a tenant from writing to its files, what it tried to write, as its
//! log says, and what differs from the plan in the host's network.

use std::io::{self, Write};
use std::path::Path;

use tenantd_api::wire::{AppStatus, RefusedWrite, StateWord, TenantStatus};

/// Up to this many tenants have lines about refused writes.
const FEW: usize = 10;

/// Up to this many refused writes of a tenant are shown.
const SHOWN: usize = 3;

/// Writes the lines below a tenant. If it is the only one, one says what protects the host's files.
pub(super) fn below(
    out: &mut (impl Write + ?Sized),
    status: &AppStatus,
    tenant: &TenantStatus,
) -> io::Result<()> {
    let is_up = tenant.state == StateWord::Up;
    if status.tenants.len() == 1 && is_up {
        writeln!(out, "  HOST {}", host(tenant.lid.as_deref()))?;
        writeln!(out, "  CONFINED {}", confined(tenant.confined.as_deref()))?;
    }
    if let Some(drift) = &tenant.network.drift {
        writeln!(out, "  DRIFT {drift}")?;
    }
    let refused = status.tenants.iter().filter(|it| !it.refused.is_empty());
    if tenant.refused.is_empty() || refused.count() > FEW {
        return Ok(());
    }
    for refused in tenant.refused.iter().take(SHOWN) {
        writeln!(out, "  REFUSED {}", said(refused))?;
    }
    match tenant.refused.len().saturating_sub(SHOWN) {
        0 => {}
        more => writeln!(out, "  REFUSED and {more} more: see `--json`")?,
    }
    let folder = tenant.refused.iter().find_map(folder);
    match folder {
        Some(folder) => writeln!(
            out,
            "  NEXT give it a folder there: `folders = [\"{folder}\"]` in [app.datastore], or list it in \
             `private` or `shared`"
        ),
        None => writeln!(
            out,
            "  NEXT give it a folder there: see `folders` in tenantd.toml(5)"
        ),
    }
}

fn host(lid: Option<&str>) -> String {
    match lid {
        None => "unknown: an earlier version of tenantd started its program".to_owned(),
        Some("host writable") => {
            "writable: what it writes outside of its own folders is not separate".to_owned()
        }
        Some("mount watch") => {
            "read-only (mount watch): it can write to a new mount of the host for \
                                a moment, since Landlock is missing"
                .to_owned()
        }
        Some(lid) => format!("read-only ({lid})"),
    }
}

fn confined(confined: Option<&str>) -> String {
    match confined {
        None => "unknown: an earlier version of tenantd started its program".to_owned(),
        Some("uid") => "by its user alone, which no other tenant has".to_owned(),
        Some("none") => {
            "not at all: it reaches the processes of its user, see `tenantd check`".to_owned()
        }
        Some(domain) => format!("by a domain of its own ({domain})"),
    }
}

fn said(RefusedWrite { path, line }: &RefusedWrite) -> String {
    match path {
        Some(path) => format!(
            "its log says that it tried to write {path}, which belongs to the host and is read-only"
        ),
        None => format!("its log says that a write to the host's files was refused: {line}"),
    }
}

/// The folder of the path.
fn folder(refused: &RefusedWrite) -> Option<&str> {
    let folder = Path::new(refused.path.as_deref()?).parent()?;
    folder.to_str().filter(|folder| *folder != "/")
}

/// The lines below the table: tenants with a weaker protection, and what is not noticed.
pub(super) fn end(status: &AppStatus) -> Vec<String> {
    let mut lines = Vec::new();
    let is_watched = |tenant: &&TenantStatus| tenant.lid.as_deref() == Some("mount watch");
    let watched = status.tenants.iter().filter(is_watched).count();
    if watched > 0 && status.tenants.len() > 1 {
        lines.push(format!(
            "{} can write to a new mount of the host for a moment, since Landlock is missing: see \
             `tenantd check`",
            crate::cli::outcome::tenants(watched)
        ));
    }
    if let Some(drift) = &status.network.drift {
        lines.push(format!(
            "The network that all tenants share differs from the plan: {drift}"
        ));
    }
    if let Some(why) = &status.unwatched {
        lines.push(format!(
            "Removed or renamed folders of the host may not be noticed: {why}"
        ));
    }
    lines
}
