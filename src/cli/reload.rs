//! `reload` and `diff`: applies the differences between the manifest and the running plan, or only
//! shows them.

mod applied;

use std::io::Write;
use std::path::Path;

use anyhow::Context;

use super::args::Wait;
use super::progress::Doing;
use super::wrap::wrapped;
use super::{BadManifest, End, overlays, set};
use tenantd_api::client::{ClientError, Connection};
use tenantd_api::wire::TenantStatus;
use tenantd_core::name::AppName;
use tenantd_core::plan::changes;
use tenantd_core::plan::diff::Changes;
use tenantd_core::plan::model::Plan;
use tenantd_daemon::manifest::ManifestFile;
use tenantd_host::datastore::survey;

/// How many folders `diff` names to which a program could not write.
const NAMED: usize = 10;

/// Has the supervisor read the manifest again and apply the differences; with `expect`, only those
/// of this hash.
pub(super) fn reload(app: &AppName, expect: Option<&str>, wait: Wait) -> anyhow::Result<End> {
    super::converse(async {
        let mut connection = Connection::open(app).await?;
        apply(app, &mut connection, expect, (Doing::Reload, wait)).await
    })
}

/// Has a supervisor reload, and prints what becomes of each changed tenant until all have settled.
pub(super) async fn apply(
    app: &AppName,
    connection: &mut Connection,
    expect: Option<&str>,
    (doing, wait): (Doing, Wait),
) -> anyhow::Result<End> {
    let begun = jiff::Timestamp::now();
    let changes = understood(connection.reload(expect).await)?;
    applied::report(app, connection, (&changes, begun), doing, wait).await
}

/// Shows what a reload would do, or why it would be refused.
pub(super) fn diff(app: &AppName, json: bool) -> anyhow::Result<End> {
    let (changes, manifest, running) = super::converse(async {
        let mut connection = Connection::open(app).await?;
        let changes = understood(connection.diff().await)?;
        let manifest = connection.manifest().await?;
        Ok((changes, manifest, connection.status(&[]).await?.tenants))
    })?;
    let text = if json {
        serde_json::to_string_pretty(&changes::json(&changes))
            .context("cannot write the changes as JSON")?
            + "\n"
    } else {
        let text = changes::text(&changes) + &by_hand(&running) + &beside(&manifest);
        wrapped(&text, &std::io::stdout()).into_owned()
    };
    std::io::stdout().lock().write_all(text.as_bytes())?;
    Ok(
        if !changes.fixed.is_empty() || !changes.unlaunchable.is_empty() {
            End::NotAsWanted
        } else if changes.is_empty() {
            End::Done
        } else {
            End::Differs
        },
    )
}

/// The limits that were set by hand, which a reload leaves as they are.
fn by_hand(tenants: &[TenantStatus]) -> String {
    let each = tenants.iter().flat_map(|tenant| {
        let all = tenant.by_hand.iter();
        all.map(move |one| format!("by hand {}: {}\n", tenant.name, set::in_words(one)))
    });
    each.collect()
}

/// Data to which a program could not write with the manifest as it is now.
fn misfits(plan: &Plan) -> String {
    let each = plan.tenants.iter().flat_map(|tenant| {
        let why = survey::misfits(tenant).into_iter();
        why.map(move |why| format!("{}: {why}\n", tenant.name))
    });
    let mut lines: Vec<String> = each.collect();
    let more = lines.len().saturating_sub(NAMED);
    lines.truncate(NAMED);
    if more > 0 {
        lines.push(format!("and {more} more folders\n"));
    }
    lines.concat()
}

/// What `diff` says of the tenants' data beside the changes: what a program could not write to, and
/// which files of the host are not seen as they are now.
fn beside(manifest: &Path) -> String {
    // It has just been read; if it is another one now, it may have problems.
    match ManifestFile::at(manifest).map(|file| file.plan()) {
        Ok(Ok(plan)) => match misfits(&plan) + &overlays::brief(manifest, &plan) {
            said if said.is_empty() => said,
            said => format!("\n{said}"),
        },
        Ok(Err(_)) | Err(_) => String::new(),
    }
}

/// Turns problems of the manifest into [`BadManifest`], which has an exit code of its own.
fn understood(changes: Result<Changes, ClientError>) -> anyhow::Result<Changes> {
    changes.map_err(|error| match error {
        ClientError::BadManifest { problems: rendered } => BadManifest { rendered }.into(),
        other => other.into(),
    })
}
