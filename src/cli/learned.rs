//! What `check` and `status` find in the list of `learn` that is kept beside a manifest.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::Path;

use super::plan;
use tenantd_core::learn::Learned;
use tenantd_core::name::TenantName;
use tenantd_core::plan::model::{HostAccess, Plan, TenantPlan};
use tenantd_host::doctor::{Finding, Grade};
use tenantd_host::regular::{self, MANIFEST_MAX};

/// The name of what is compared.
const SUBJECT: &str = "learned";

/// Compares a manifest with the list beside it. No list, no finding.
pub(super) fn examine(plan: &Plan, manifest: &Path) -> Option<Finding> {
    let path = Learned::beside(manifest);
    let weak = |found: String| {
        Some(Finding::new(
            Grade::Weak,
            SUBJECT,
            format!("{}: {found}", path.display()),
        ))
    };
    let text = match text(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return None,
        Err(error) => return weak(format!("cannot be read: {error}")),
    };
    let learned = match Learned::read(&text) {
        Ok(learned) => learned,
        Err(error) => return weak(error.to_string()),
    };
    let tenant = plan.tenants.first()?;
    if tenant.launch.program != learned.program {
        let program = learned.program.display();
        return weak(format!(
            "it is the list of {program}, which is not the program of the manifest: remove it, or \
             type `tenantd learn --manifest {}`",
            manifest.display()
        ));
    }
    let missing = missing(&learned, tenant);
    if missing.is_empty() {
        return Some(Finding::new(
            Grade::Good,
            SUBJECT,
            "each folder that `tenantd learn` saw is the tenant's own".to_owned(),
        ));
    }
    let missing = missing.join(", ");
    weak(format!(
        "the program writes to {missing}, which no tenant has for itself, so these writes fail: add \
         {missing} to `folders` in [app.datastore]"
    ))
}

/// For each of these tenants, the folders of the list beside a manifest that the tenant does not have for
/// itself. Those without any are left out. A list or manifest that cannot be read has none: `check` says
/// why.
pub(super) fn missing_of(
    manifest: &Path,
    tenants: &[&TenantName],
) -> BTreeMap<TenantName, Vec<String>> {
    let Ok(text) = text(&Learned::beside(manifest)) else {
        return BTreeMap::new();
    };
    let (Ok(learned), Ok((plan, _))) = (Learned::read(&text), plan::read(manifest)) else {
        return BTreeMap::new();
    };
    let concerned = plan.tenants.iter().filter(|tenant| {
        tenants.contains(&&tenant.name) && tenant.launch.program == learned.program
    });
    concerned
        .map(|tenant| (tenant.name.clone(), missing(&learned, tenant)))
        .filter(|(_, missing)| !missing.is_empty())
        .collect()
}

fn text(list: &Path) -> io::Result<String> {
    let text = regular::read(list, MANIFEST_MAX)?;
    String::from_utf8(text).map_err(io::Error::other)
}

fn missing(learned: &Learned, tenant: &TenantPlan) -> Vec<String> {
    match tenant.launch.view.host {
        HostAccess::ReadOnly => {
            let missing = learned.missing(tenant).into_iter();
            missing.map(quoted).collect()
        }
        // `check` says that it is not separate.
        HostAccess::Writable => Vec::new(),
    }
}

fn quoted(path: &Path) -> String {
    format!("{:?}", path.display().to_string())
}
