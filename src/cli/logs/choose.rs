//! Which tenants' logs are shown, and where they are: as the supervisor says. If none runs, by what is
//! there: log files, or else the journal.

use std::io;
use std::path::Path;

use super::typed::Logged;
use super::{FOLDER, journal, unread};
use crate::cli::{converse, select, unmatched};
use tenantd_api::client::pattern::{self, Pattern, Unmatched};
use tenantd_api::client::{ClientError, Connection};
use tenantd_api::wire::LogPlace;
use tenantd_core::name::{AppName, TenantName};

/// Exists if a journal runs, see systemd-journald.service(8).
const JOURNAL: &str = "/run/systemd/journal/socket";

/// The tenants whose logs are shown.
pub(super) struct Chosen {
    pub(super) tenants: Vec<TenantName>,
    pub(super) place: LogPlace,
    /// Patterns of the tenants that are shown too if they are added while the logs are followed.
    pub(super) later: Vec<Pattern>,
    /// Whether a supervisor has said so.
    pub(super) is_served: bool,
}

pub(super) fn choose(app: &AppName, logged: &Logged) -> anyhow::Result<Chosen> {
    let asked = converse(async {
        Ok(match Connection::open(app).await {
            Ok(mut connection) => {
                let names = if logged.all { &[] } else { &logged.names[..] };
                select::status(names, async |names| connection.status(names).await).await
            }
            Err(error) => Err(error),
        })
    })?;
    match asked {
        Ok(status) => {
            let names: Vec<TenantName> = status.tenants.into_iter().map(|t| t.name).collect();
            let tenants = meant(&names, logged).map_err(|none| unmatched(app, &none))?;
            let place = status.logs;
            Ok(Chosen {
                is_served: true,
                ..chosen(tenants, place, logged)
            })
        }
        Err(
            error @ (ClientError::NotRunning { .. }
            | ClientError::Dead { .. }
            | ClientError::Detached { .. }
            | ClientError::NotAllowed { .. }),
        ) => alone(app, logged, error),
        Err(error) => Err(error.into()),
    }
}

fn chosen(tenants: Vec<TenantName>, place: LogPlace, logged: &Logged) -> Chosen {
    let is_pattern = |typed: &&Pattern| typed.name().is_none();
    let mut later: Vec<Pattern> = logged.names.iter().filter(is_pattern).cloned().collect();
    if logged.all {
        later.push(Pattern::any());
    }
    Chosen {
        tenants,
        place,
        later,
        is_served: false,
    }
}

fn meant(names: &[TenantName], logged: &Logged) -> Result<Vec<TenantName>, Unmatched> {
    match logged.all {
        true => Ok(names.to_vec()),
        false => pattern::resolve(names, &logged.names),
    }
}

/// Chooses without a supervisor; `error` says why there is none.
fn alone(app: &AppName, logged: &Logged, error: ClientError) -> anyhow::Result<Chosen> {
    let folder = Path::new(FOLDER).join(app.as_str());
    let found = with_file(&folder);
    let has_journal = Path::new(JOURNAL).exists();
    let names = match found {
        Ok(names) if !names.is_empty() || !has_journal => names,
        Ok(_) => return in_journal(app, logged),
        Err(_) if has_journal => return in_journal(app, logged),
        Err(error) => return Err(unread(app, &folder, "show", error)),
    };
    let place = LogPlace::Files;
    match meant(&names, logged) {
        Ok(tenants) if !names.is_empty() => Ok(chosen(tenants, place, logged)),
        Ok(_) => {
            let text = format!("no log file in {}", folder.display());
            Err(anyhow::Error::new(error).context(text))
        }
        Err(Unmatched(unmatched)) => {
            let said = unmatched.iter().map(|(typed, near)| {
                let near = near
                    .as_ref()
                    .map(|near| format!(", did you mean `{near}`?"));
                let near = near.unwrap_or_default();
                format!(
                    "{typed}: no log file {}{near}",
                    folder.join(format!("{typed}.log")).display()
                )
            });
            let text = said.collect::<Vec<_>>().join("\n");
            Err(anyhow::Error::new(error).context(text))
        }
    }
}

/// A name is taken as it is: the journal of another boot may have it.
fn in_journal(app: &AppName, logged: &Logged) -> anyhow::Result<Chosen> {
    let place = LogPlace::Journal;
    let exact: Option<Vec<TenantName>> = logged.names.iter().map(Pattern::name).collect();
    if let Some(tenants) = exact.filter(|_| !logged.all) {
        return Ok(chosen(tenants, place, logged));
    }
    let tenants = meant(&journal::tenants()?, logged).map_err(|none| unmatched(app, &none))?;
    Ok(chosen(tenants, place, logged))
}

/// The tenants that have a log file, sorted by name.
fn with_file(folder: &Path) -> io::Result<Vec<TenantName>> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut names: Vec<TenantName> = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        let name = name.to_str().and_then(|name| name.strip_suffix(".log"));
        names.extend(name.and_then(|name| name.parse().ok()));
    }
    names.sort();
    Ok(names)
}
