//! `chown`: gives the datastores of tenants to their users.

use std::io::Write;
use std::path::Path;

use serde_json::json;

use super::args::Chown;
use super::plain::plain;
use super::{End, plan};
use tenantd_core::plan::model::{Identity, TenantPlan};
use tenantd_host::datastore::chown::{self, Given};

/// Gives everything in the datastores of these tenants to the users that the manifest gives them. Continues with the
/// next tenant after a failure.
pub(super) fn chown(config: &Path, asked: &Chown) -> anyhow::Result<End> {
    let (plan, _) = match asked.dry_run {
        true => plan::read(config)?,
        // Nobody else may get the number meanwhile.
        false => plan::read_to_run(config)?,
    };
    plan::check_known(config, &plan, &asked.names)?;
    let tenants = plan.tenants.iter();
    let tenants = tenants.filter(|tenant| asked.names.contains(&tenant.name));
    let mut is_done = true;
    let mut out = anstream::stdout().lock();
    for tenant in tenants {
        let given = chown::give(&plan.app, tenant, asked.dry_run);
        is_done &= given.as_ref().is_ok_and(|given| given.left == 0);
        let text = match (&given, asked.json) {
            (Ok(given), true) => as_json(tenant, Ok(given)),
            (Err(why), true) => as_json(tenant, Err(&why.to_string())),
            (Ok(given), false) => said(tenant, given, asked.dry_run),
            (Err(why), false) => format!("{}: {}\n", tenant.name, shown(&why.to_string())),
        };
        out.write_all(text.as_bytes())?;
    }
    match is_done {
        true => Ok(End::Done),
        false => Ok(End::NotAsWanted),
    }
}

fn as_json(tenant: &TenantPlan, given: Result<&Given, &str>) -> String {
    let Identity { user, uid, gid, .. } = &*tenant.launch.identity;
    let mut whole = json!({
        "tenant": tenant.name,
        "datastore": tenant.datastore.source,
        "user": user,
        "uid": uid,
        "gid": gid,
        "error": given.err(),
    });
    if let Ok(given) = given {
        whole["changed"] = json!(given.changed);
        whole["unchanged"] = json!(given.unchanged);
        whole["left"] = json!(given.left);
        whole["reasons"] = json!(given.reasons);
    }
    format!("{whole}\n")
}

/// A tenant may have chosen the names of its files.
fn shown(text: &str) -> String {
    plain(text, usize::MAX)
}

fn said(tenant: &TenantPlan, given: &Given, dry_run: bool) -> String {
    let Identity { user, uid, gid, .. } = &*tenant.launch.identity;
    let Given {
        changed,
        unchanged,
        left,
        reasons,
    } = given;
    let verb = match dry_run {
        true => "would get",
        false => "got",
    };
    let name = &tenant.name;
    let mut text = format!(
        "{name}: {changed} files and folders {verb} the owner {user} ({uid}:{gid}), {unchanged} had it\n"
    );
    for one in reasons {
        text += &format!(
            "{name}: left {}: {}\n",
            shown(&one.path.display().to_string()),
            one.reason
        );
    }
    let more = usize::try_from(*left).map_or(0, |left| left.saturating_sub(reasons.len()));
    if more > 0 {
        text += &format!("{name}: left {more} more\n");
    }
    text
}
