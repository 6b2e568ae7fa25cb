//! The target of a move whose source is lost: an operator says so, with a takeover.

use rustix::io::Errno;

use super::{Mark, is_stub, mark_of, staging, take};
use crate::datastore;
use crate::relocation::MoveError;
use tenantd_core::plan::model::DatastorePlan;
use tenantd_core::stage::{Failure, Stage};

/// Puts a complete copy in its place, which the source has not told to do. Returns the host that it is from; `None` if
/// there is none, or a datastore has its place.
///
/// # Errors
/// A [`Failure`] of stage datastore.
pub fn take_over(plan: &DatastorePlan, label: &str) -> Result<Option<String>, Failure> {
    let object = || plan.source.display().to_string();
    take_complete(plan, label).map_err(|error| match error {
        MoveError::Stage(failure) => failure,
        error => Failure::detail(Stage::Datastore, object(), error.to_string()),
    })
}

fn take_complete(plan: &DatastorePlan, label: &str) -> Result<Option<String>, MoveError> {
    let mark = mark_of(&staging(&plan.source))?.filter(|it| it.label == label);
    let complete = mark.and_then(|it| Some((it.sealed?, it.other)));
    let Some((generation, from)) = complete else {
        return Ok(None);
    };
    let is_free = match datastore::open(&plan.source) {
        Err(Errno::NOENT) => true,
        Err(errno) => return Err(super::mark::file(&plan.source)(errno)),
        Ok(_) => is_stub(&plan.source)?,
    };
    if !is_free {
        return Ok(None);
    }
    take(plan, &from, label, generation)?;
    Ok(Some(from.host))
}

/// What an operator can do about a copy on this host.
pub(super) fn advice(mark: Option<&Mark>, staging: &str) -> String {
    let Some(Mark {
        other,
        label,
        sealed,
        ..
    }) = mark
    else {
        return "a move from another host brings its data here: finish or undo it there".to_owned();
    };
    let (app, tenant) = label.split_once('/').unwrap_or(("", label));
    let lost = match sealed {
        Some(_) => format!(
            "its copy is complete: `tenantd start {tenant} --app {app} --takeover` takes it"
        ),
        None => format!(
            "its copy is not complete: remove the folder {staging}, and restore a backup with `tenantd import`"
        ),
    };
    format!(
        "a move from {} brings its data here: finish it there with the same `tenantd move`, or undo it with \
         `tenantd move --undo`; or, if that host is switched off and will never use the data again, {lost}",
        other.host
    )
}
