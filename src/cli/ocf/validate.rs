//! `validate-all`: checks the manifest of this host and the fencing of the cluster.

use std::io;
use std::process::{Command, Stdio};

use super::asked::{Asked, is_true};
use super::{Bad, Code, Done};
use crate::cli::plan;
use tenantd_core::manifest::engine::Engine;

/// Checks what can be checked without starting the tenant.
pub(super) fn all(asked: &Asked) -> Done {
    let shown = asked.config.display();
    let (plan, _) = plan::read(&asked.config)
        .map_err(|error| bad(Code::NotInstalled, format!("{shown}: {error:#}")))?;
    if plan.app != asked.app {
        let why = format!(
            "{shown}: it is the manifest of {}, not of {}",
            plan.app, asked.app
        );
        return Err(bad(Code::NotInstalled, why));
    }
    let tenant = plan.tenants.iter().find(|it| it.name == asked.tenant);
    let Some(tenant) = tenant else {
        let why = format!("{shown}: it has no tenant {}", asked.tenant);
        return Err(bad(Code::NotInstalled, why));
    };
    if tenant.policy.engine != Engine::Pacemaker {
        let why = format!(
            "{shown}: {} needs `engine = \"pacemaker\"`, else tenantd starts it too",
            asked.tenant
        );
        return Err(bad(Code::BadConfiguration, why));
    }
    if asked.is_shared && !asked.is_unsafe {
        fencing().map_err(|why| bad(Code::BadConfiguration, why))?;
    }
    Ok(Code::Success)
}

/// Refuses a cluster that does not fence: two hosts would write to the same data.
fn fencing() -> Result<(), String> {
    let query = [
        "--type",
        "crm_config",
        "--name",
        "stonith-enabled",
        "--query",
        "--quiet",
    ];
    let asked = Command::new("crm_attribute")
        .args(query)
        .stdin(Stdio::null())
        .output();
    let answer = match asked {
        // Checked before the cluster is made.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(format!("cannot run crm_attribute: {error}")),
        Ok(answer) => answer,
    };
    let text = String::from_utf8_lossy(&answer.stdout);
    match text.trim() {
        // Not set: the cluster fences by default. Without a cluster there is no answer either.
        "" => Ok(()),
        value if is_true(value) => Ok(()),
        value => Err(format!(
            "stonith-enabled is {value}, and the storage is shared: after the loss of a host two could write \
             to the data. Set up fencing, or set the parameter unsafe=1"
        )),
    }
}

fn bad(code: Code, why: String) -> Bad {
    Bad { code, why }
}
