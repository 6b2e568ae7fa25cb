//! `pause`, `resume` and `hibernate`: freezes the processes of tenants or lets them continue, and prints what
//! became of each.

use super::End;
use super::args::Pause;
use super::outcome::{Became, Outcome};
use super::progress::{Doing, Progress};
use super::select;
use tenantd_api::client::Connection;
use tenantd_api::wire::Frozen;
use tenantd_core::name::AppName;

/// `doing` is one of the three.
pub(super) fn pause(app: &AppName, doing: Doing, what: &Pause) -> anyhow::Result<End> {
    super::converse(async {
        let mut connection = Connection::open(app).await?;
        let typed = &what.which.names;
        let tenants = select::ask(&mut connection, typed).await;
        let tenants = tenants.map_err(|error| select::unchanged(error, typed))?;
        let how = (doing != Doing::Resume, doing == Doing::Hibernate);
        let frozen = connection.freeze(&tenants, how.0, how.1).await?;
        let mut progress = Progress::new(app, doing, frozen.len(), what.show);
        for one in &frozen {
            progress.settled(outcome(one, doing))?;
        }
        Ok(progress.finish(false)?)
    })
}

fn outcome(frozen: &Frozen, doing: Doing) -> Outcome {
    let Frozen {
        tenant,
        unchanged,
        reclaimed,
        cut,
        refused,
    } = frozen;
    if let Some(reason) = refused {
        return Outcome::refused(tenant, reason);
    }
    let text = match (doing, unchanged) {
        (Doing::Resume, true) => "it was not paused".to_owned(),
        (Doing::Resume, false) => "continues".to_owned(),
        (_, true) => "it was paused already".to_owned(),
        (_, false) => "paused".to_owned(),
    };
    let text = match reclaimed {
        Some(bytes) if *cut => format!(
            "{text}, its memory shrank by {}; there was more when 10 s had passed: type it again",
            size(*bytes)
        ),
        Some(bytes) => format!("{text}, its memory shrank by {}", size(*bytes)),
        None => text,
    };
    let became = match unchanged {
        true if reclaimed.is_none() => Became::NoChange,
        _ => Became::Done,
    };
    Outcome::without_state(tenant, became, text)
}

fn size(bytes: u64) -> String {
    match bytes >> 20 {
        0 => format!("{} KiB", bytes >> 10),
        mebibytes => format!("{mebibytes} MiB"),
    }
}
