//! What `check` finds in the list of `learn` that is kept beside a manifest.

use std::io::{self, ErrorKind};
use std::path::Path;

use tenantd_core::learn::Learned;
use tenantd_core::plan::model::{HostAccess, Plan};
use tenantd_host::doctor::{Finding, Grade};
use tenantd_host::regular::{self, MANIFEST_MAX};

/// The name of what is compared.
const SUBJECT: &str = "learned";

/// Compares a manifest with the list beside it. No list, no finding.
pub(super) fn examine(plan: &Plan, manifest: &Path) -> Option<Finding> {
    let path = Learned::beside(manifest);
    let weak = |found: String| {
        Some(Finding {
            grade: Grade::Weak,
            subject: SUBJECT,
            found: format!("{}: {found}", path.display()),
        })
    };
    let read = regular::read(&path, MANIFEST_MAX);
    let text = match read.and_then(|text| String::from_utf8(text).map_err(io::Error::other)) {
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
    let missing: Vec<String> = match tenant.launch.view.host {
        HostAccess::ReadOnly => learned
            .missing(tenant)
            .iter()
            .map(|it| quoted(it))
            .collect(),
        // Said elsewhere.
        HostAccess::Writable => Vec::new(),
    };
    if missing.is_empty() {
        return Some(Finding {
            grade: Grade::Good,
            subject: SUBJECT,
            found: "each folder that `tenantd learn` saw is the tenant's own".to_owned(),
        });
    }
    let missing = missing.join(", ");
    weak(format!(
        "the program writes to {missing}, which no tenant has for itself, so these writes fail: add \
         {missing} to `folders` in [app.datastore]"
    ))
}

fn quoted(path: &Path) -> String {
    format!("{:?}", path.display().to_string())
}
